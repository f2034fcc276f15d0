"""The page in a real browser, before a gateway with a fake Triton."""

from __future__ import annotations

import base64
import io
import json
import time
import zipfile
from pathlib import Path

import httpx
import pytest

from cutout_core.contract import RowError
from cutout_core.contract.errors import ErrorCode
from tests.browser.devtools import Page
from tests.integration.fake_triton import FakeTriton
from tests.integration.gateway_process import GatewayProcess

STATES = "[...document.querySelectorAll('.state')].map(state => state.textContent)"
IDLE = f"{STATES}.length && {STATES}.every(state => !/^(Wait|Upload|Cutting|The server is busy)/.test(state))"
#: Keeps what would be downloaded, since a headless browser has no place for it.
CATCH_DOWNLOADS = """
window.kept = [];
URL.createObjectURL = (real => blob => (kept.push({blob}), real.call(URL, blob)))(URL.createObjectURL);
HTMLAnchorElement.prototype.click = function () { kept.at(-1).name = this.download; };
"""
KEPT = """
Promise.all(kept.map(async ({blob, name}) => [name, blob.type,
    btoa(String.fromCharCode(...new Uint8Array(await blob.arrayBuffer())))]))
"""


@pytest.fixture
def opened(page: Page, gateway: GatewayProcess, triton: FakeTriton) -> Page:
    until_ready(gateway, {"fast", "standard", "high"})
    page.open(gateway.http)
    page.wait("document.querySelector('[name=quality]:checked') && document.querySelector('#limits').textContent")
    return page


def pixel(page: Page, canvas: str, x: float, y: float) -> list[int]:
    """RGBA of a canvas at a share of its width and height."""
    return page.run(
        f"(c => [...c.getContext('2d').getImageData(c.width * {x}, c.height * {y}, 1, 1).data])"
        f"(document.querySelector('{canvas}'))"
    )


def until_ready(gateway: GatewayProcess, wanted: set[str], timeout_s: float = 20.0) -> None:
    """Returns once the gateway has noticed that exactly the `wanted` qualities are ready. Raises TimeoutError."""
    end = time.monotonic() + timeout_s
    while time.monotonic() < end:
        qualities = httpx.get(f"{gateway.http}/readyz", trust_env=False).json()["qualities"]
        if {name for name, ready in qualities.items() if ready} == wanted:
            return
        time.sleep(0.05)
    raise TimeoutError(f"the gateway did not come to {wanted or 'no'} qualities")


def split(page: Page) -> str:
    return str(page.run("document.querySelector('#frame').style.getPropertyValue('--split')"))


def kept(page: Page) -> list[tuple[str, str, bytes]]:
    return [(name, kind, base64.b64decode(text)) for name, kind, text in page.run(KEPT)]


def test_a_photo_is_cut_out_and_compared(opened: Page, photos: list[Path]) -> None:
    opened.choose_files(photos[0])
    opened.wait(IDLE)
    opened.wait("document.querySelector('#after').width === 96 && !document.querySelector('.waiting')")
    assert opened.text(".state") == "Done"
    assert pixel(opened, "#before", 0.5, 0.5)[1] > 100
    assert pixel(opened, "#after", 0.5, 0.5) == [255, 0, 0, 255]
    assert pixel(opened, "#after", 0.02, 0.02)[3] == 0
    assert "96 × 64 pixels · quality standard · treated as a person" in opened.text("#facts")
    assert opened.text("#trust") == "Almost certainly right (94 %)."
    assert opened.text("#live") == "green.jpg: done."


def test_the_slider_moves_by_keyboard_and_mouse(opened: Page, photos: list[Path]) -> None:
    opened.choose_files(photos[0])
    opened.wait("document.querySelector('#after').width === 96 && !document.querySelector('.waiting')")
    assert split(opened) == "50%"
    opened.run("document.querySelector('#slider').focus()")
    opened.press("ArrowLeft", 5)
    assert split(opened) == "45%"
    assert opened.run("document.querySelector('#slider').getAttribute('aria-valuetext')") == "45 % before, 55 % after"
    opened.press("End")
    assert split(opened) == "100%"
    left, middle, width = opened.run(
        "(box => [box.left, box.top + box.height / 2, box.width])(document.querySelector('#frame')"
        ".getBoundingClientRect())"
    )
    opened.drag((left + 0.9 * width, middle), (left + 0.25 * width, middle))
    assert 15 <= float(split(opened).rstrip("%")) <= 35


def test_the_cut_out_is_shown_on_every_background(opened: Page, photos: list[Path]) -> None:
    opened.choose_files(photos[0])
    opened.wait(IDLE)
    color = "getComputedStyle(document.querySelector('#after')).backgroundColor"
    checkers = "getComputedStyle(document.querySelector('#after')).backgroundImage.includes('conic-gradient')"
    assert opened.run(checkers)
    opened.click("[name=background][value=white]")
    assert opened.run(color) == "rgb(255, 255, 255)"
    assert not opened.run(checkers)
    opened.click("[name=background][value=color]")
    opened.run(
        "(input => { input.value = '#3366cc'; input.dispatchEvent(new Event('input', {bubbles: true})); })"
        "(document.querySelector('#color'))"
    )
    assert opened.run(color) == "rgb(51, 102, 204)"
    opened.click("[name=background][value=transparent]")
    opened.click("[name=output][value=jpeg]")
    assert opened.run(color) == "rgb(255, 255, 255)"
    assert "becomes white" in opened.text("#output-hint")


def test_the_file_is_what_is_shown(opened: Page, triton: FakeTriton, photos: list[Path]) -> None:
    opened.run(CATCH_DOWNLOADS)
    opened.choose_files(photos[0])
    opened.wait(IDLE)
    opened.click("#download")
    opened.wait("kept.length === 1 && kept[0].name")
    assert len(triton.options) == 1, "a transparent PNG is there already"
    opened.click("[name=background][value=color]")
    opened.click("[name=output][value=jpeg]")
    opened.click("#download")
    opened.wait("kept.length === 2 && kept[1].name")
    assert json.loads(triton.options[-1]) == {"output": "jpeg", "background": "#f2b705ff"}
    assert [(name, kind) for name, kind, _ in kept(opened)] == [
        ("green-cutout.png", "image/png"),
        ("green-cutout.jpg", "image/jpeg"),
    ]
    assert kept(opened)[0][2] == triton.result


def test_several_files_and_one_that_is_no_image(
    opened: Page, triton: FakeTriton, photos: list[Path], tmp_path: Path
) -> None:
    text = tmp_path / "notes.txt"
    text.write_text("no picture at all")
    huge = tmp_path / "huge.bin"
    huge.write_bytes(bytes(2_000_001))
    triton.delay_s = 0.05
    opened.run(CATCH_DOWNLOADS)
    opened.choose_files(*photos, text, huge)
    opened.wait(f"{STATES}.filter(state => state.startsWith('Waits')).length > 0")
    opened.wait(IDLE)
    states = opened.run(STATES)
    assert states[:6] == ["Done"] * 6
    assert states[6].startswith("The bytes are not an image; readable are jpeg, png")
    assert states[7].startswith("This file has 2.0 MB")
    assert opened.text("#list-title") == "8 photos"
    assert max(triton.batches) <= 3
    opened.click("#download-all")
    opened.wait("kept.length === 1 && kept[0].name")
    name, _, content = kept(opened)[0]
    assert name == "cutouts.zip"
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == [f"{photo.stem}-cutout.png" for photo in photos]
        assert archive.read("navy-cutout.png") == triton.result


def test_another_quality_is_asked_for_and_cut_again(opened: Page, triton: FakeTriton, photos: list[Path]) -> None:
    opened.choose_files(photos[0])
    opened.wait(IDLE)
    assert opened.run("document.querySelector('#redo').hidden")
    opened.click("[name=quality][value=fast]")
    assert opened.text("#redo") == "Cut 1 photo out again with this"
    assert opened.run("document.querySelector('#mode').disabled")
    opened.click("#redo")
    opened.wait("document.querySelector('#facts').innerText.includes('quality fast')")
    assert triton.ensembles == ["cutout", "cutout_fast"]
    opened.click("[name=quality][value=standard]")
    opened.run(
        "(select => { select.value = 'product'; select.dispatchEvent(new Event('input', {bubbles: true})); })"
        "(document.querySelector('#mode'))"
    )
    opened.click("#redo")
    opened.wait("document.querySelector('#facts').innerText.includes('quality standard')")
    assert json.loads(triton.options[-1])["mode"] == "product"


def test_errors_of_the_service_are_told_and_can_be_tried_again(
    opened: Page, triton: FakeTriton, photos: list[Path]
) -> None:
    triton.row_error = RowError(ErrorCode.CORRUPT_IMAGE, "The image file is damaged.")
    opened.choose_files(photos[0])
    opened.wait(IDLE)
    assert opened.text("#stage-note") == "The image file is damaged."
    assert opened.text("#live") == "green.jpg: The image file is damaged."
    triton.row_error = None
    opened.click("#again")
    opened.wait(f"{STATES}[0] === 'Done'")


def test_only_ready_qualities_are_offered(page: Page, gateway: GatewayProcess, triton: FakeTriton) -> None:
    until_ready(gateway, {"fast", "standard", "high"})
    offered = "[...document.querySelectorAll('[name=quality]')].map(input => input.value).join()"
    page.open(gateway.http)
    page.wait(f"{offered} === 'fast,standard,high'")
    triton.not_ready = {"cutout_high"}
    until_ready(gateway, {"fast", "standard"})
    page.open(gateway.http)
    page.wait(f"{offered} === 'fast,standard'")


def test_photos_wait_until_a_quality_is_ready(
    page: Page, gateway: GatewayProcess, triton: FakeTriton, photos: list[Path]
) -> None:
    triton.models_ready = False
    until_ready(gateway, set())
    page.open(gateway.http)
    page.wait("!document.querySelector('#notice').hidden")
    assert page.text("#notice").startswith("No quality is ready yet; photos wait until one is.")
    page.choose_files(photos[0])
    page.wait(f"{STATES}[0] === 'Waits for the server'")
    triton.models_ready = True
    page.wait(f"{STATES}[0] === 'Done'")
    assert page.run("document.querySelector('#notice').hidden")


def test_a_key_is_asked_for_and_sent(opened: Page, photos: list[Path]) -> None:
    opened.send("Fetch.enable", patterns=[{"urlPattern": "*/v1/cutouts"}])
    opened.choose_files(photos[0])
    body = {"error": {"code": "unauthorized", "message": "Give a key.", "retryable": False}}
    request = opened.next_event("Fetch.requestPaused")
    opened.send(
        "Fetch.fulfillRequest",
        requestId=request["requestId"],
        responseCode=401,
        body=base64.b64encode(json.dumps(body).encode()).decode(),
    )
    opened.wait("!document.querySelector('#key-form').hidden && document.activeElement.id === 'key'")
    assert opened.text(".state") == "Give a key."
    opened.send("Input.insertText", text="secret")
    opened.press("Enter")
    request = opened.next_event("Fetch.requestPaused")
    assert request["request"]["headers"]["X-Api-Key"] == "secret"
    opened.send("Fetch.disable")
    opened.wait(f"{STATES}[0] === 'Done'")


def test_photos_can_be_pasted_and_dropped(opened: Page) -> None:
    make = "const data = new DataTransfer(); data.items.add(new File([await photo], {name}, {{type: 'image/png'}}));"
    photo = (
        "const photo = new Promise(done => Object.assign(document.createElement('canvas'), "
        "{width: 40, height: 30}).toBlob(done));"
    )
    for name, event in (
        ("'pasted.png'", "new ClipboardEvent('paste', {clipboardData: data, bubbles: true})"),
        ("'dropped.png'", "new DragEvent('drop', {dataTransfer: data, bubbles: true, cancelable: true})"),
    ):
        opened.run(f"(async () => {{ {photo} {make.format(name=name)} document.body.dispatchEvent({event}); }})()")
    opened.wait(f"{STATES}.join() === 'Done,Done'")
    names = opened.run("[...document.querySelectorAll('.name')].map(name => name.textContent)")
    assert names == ["pasted.png", "dropped.png"]


def test_removing_leaves_nothing_behind(opened: Page, photos: list[Path]) -> None:
    opened.run(
        "window.urls = 0; for (const [name, step] of [['createObjectURL', 1], ['revokeObjectURL', -1]])"
        "URL[name] = (real => value => (urls += step, real.call(URL, value)))(URL[name]); undefined"
    )
    opened.run("window.setTimeout = (real => (call, ms) => real(call, Math.min(ms, 50)))(window.setTimeout); undefined")
    opened.choose_files(*photos[:3])
    opened.wait(IDLE)
    opened.click("#download")
    opened.click("#list li:nth-child(2) .remove")
    assert opened.run("document.activeElement.innerText").startswith("navy.jpg")
    opened.click("#clear")
    opened.wait("document.querySelectorAll('#list li').length === 0")
    assert opened.run("document.activeElement.id") == "choose"
    assert opened.run("document.querySelector('#stage').hidden && !document.querySelector('#empty').hidden")
    assert opened.run("document.querySelector('#after').width") == 0
    opened.wait("window.urls === 0")


def test_nothing_leaves_the_origin_and_the_console_is_quiet(
    opened: Page, gateway: GatewayProcess, photos: list[Path]
) -> None:
    opened.choose_files(photos[0])
    opened.wait(IDLE)
    opened.click("#download")
    urls = [event["request"]["url"] for event in opened.events("Network.requestWillBeSent")]
    assert len(urls) > 10
    assert all(url.startswith((gateway.http, "blob:")) for url in urls), urls
    assert opened.events("Log.entryAdded") == []
    assert opened.events("Runtime.exceptionThrown") == []
    assert opened.events("Runtime.consoleAPICalled") == []
