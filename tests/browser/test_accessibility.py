"""The page for those who use a keyboard or a screen reader: axe-core's rules (WCAG 2.2 A and AA), and focus."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cutout_build.errors import BuildError
from tests.browser.chromium import axe_source
from tests.browser.devtools import Page
from tests.browser.test_page import IDLE, until_ready
from tests.integration.fake_triton import FakeTriton
from tests.integration.gateway_process import GatewayProcess

RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
FINDINGS = f"""
axe.run(document, {json.dumps(RULES)}).then(found =>
    found.violations.flatMap(rule => rule.nodes.map(node => rule.id + ': ' + node.failureSummary + ' ' + node.html)))
"""


@pytest.fixture(scope="module")
def axe() -> str:
    try:
        return axe_source()
    except BuildError as error:
        pytest.skip(str(error))


@pytest.fixture
def ready(page: Page, gateway: GatewayProcess, triton: FakeTriton) -> Page:
    until_ready(gateway, {"fast", "standard", "high"})
    page.open(gateway.http)
    page.wait("document.querySelector('[name=quality]')")
    return page


@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
@pytest.mark.parametrize("mobile", [False, True], ids=["desktop", "mobile"])
def test_no_rule_is_broken(ready: Page, photos: list[Path], axe: str, *, dark: bool, mobile: bool) -> None:
    page = ready
    page.look(390 if mobile else 1280, 844, dark=dark, mobile=mobile)
    page.run(axe + "; undefined")
    assert page.run(FINDINGS) == []
    text = photos[0].with_name("notes.txt")
    text.write_text("no picture")
    page.choose_files(photos[0], photos[1], text)
    page.wait(IDLE)
    page.click("[name=background][value=color]")
    page.click("[name=quality][value=fast]")
    assert page.run(FINDINGS) == []
    page.click("#list li:nth-child(3) .pick")
    assert page.run(FINDINGS) == []
    assert page.run("document.documentElement.scrollWidth <= innerWidth"), "nothing is wider than the view"


def test_every_control_has_a_name_and_a_role(ready: Page, photos: list[Path]) -> None:
    page = ready
    page.choose_files(photos[0], photos[1])
    page.wait(IDLE)
    page.wait("!document.querySelector('.waiting')")
    page.wait("[...document.querySelectorAll('input[type=range]')].some(slider => slider.checkVisibility())")
    tree = page.send("Accessibility.getFullAXTree")["nodes"]
    controls = {"button", "radio", "slider", "combobox", "link", "textbox", "progressbar"}
    seen = [
        (node["role"]["value"], node["name"]["value"])
        for node in tree
        if not node["ignored"] and node["role"]["value"] in controls
    ]
    assert all(name for _, name in seen), seen
    for expected in (
        ("slider", "How much of the photo before is shown"),
        ("radio", "White"),
        ("radio", "Standard"),
        ("combobox", "Subject"),
        ("button", "Download"),
        ("button", "green.jpg Done"),
        ("button", "Remove blue.jpg"),
    ):
        assert expected in seen, seen


def test_the_whole_page_is_reached_with_the_tab_key_and_focus_is_seen(ready: Page, photos: list[Path]) -> None:
    page = ready
    page.choose_files(photos[0])
    page.wait(IDLE)
    page.wait("!document.querySelector('.waiting')")
    page.run("document.activeElement.blur()")
    reached = []
    for _ in range(14):
        page.press("Tab")
        name, ring = page.run(
            "(e => [e.id || e.name || e.className || e.tagName, [e, e.nextElementSibling].filter(Boolean).some(x =>"
            "getComputedStyle(x).outlineStyle !== 'none') || getComputedStyle(e.parentElement.querySelector('.line')"
            " ?? e, '::after').outlineStyle !== 'none'])(document.activeElement)"
        )
        if name != "BODY":
            assert ring, f"no ring is drawn around {name}"
        reached.append(name)
    for expected in ("slider", "download", "pick", "remove", "add", "background", "quality", "mode", "output"):
        assert expected in reached, reached


def test_motion_stops_where_the_user_prefers_so(ready: Page) -> None:
    page = ready
    script = "(bar => { document.querySelector('#list').append(bar); return getComputedStyle(bar).animationName; })"
    script += "(document.createElement('progress'))"
    page.run("document.querySelector('#list-card').hidden = false")
    assert page.run(script) == "pulse"
    page.send("Emulation.setEmulatedMedia", features=[{"name": "prefers-reduced-motion", "value": "reduce"}])
    assert page.run(script) == "none"
