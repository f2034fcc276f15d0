"""One Chromium and one gateway before a fake Triton for the tests of the page."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageDraw

from cutout_build.errors import BuildError
from tests.browser.devtools import Browser, Page
from tests.integration.fake_triton import FakeTriton
from tests.integration.gateway_process import GatewayProcess, start_gateway


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    try:
        started = Browser()
    except BuildError as error:
        pytest.skip(f"no Chromium on this machine, and none could be fetched: {error}")
    with started:
        yield started


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.page()
    opened.look()
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def _fake() -> Iterator[FakeTriton]:
    server = FakeTriton()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def gateway(_fake: FakeTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    flags = ["--triton-url", f"127.0.0.1:{_fake.port}", "--max-bytes", "2000000", "--max-in-flight", "2"]
    started = start_gateway(tmp_path_factory.mktemp("gateway"), *flags)
    yield started
    assert started.stop() == 0


@pytest.fixture
def triton(_fake: FakeTriton) -> FakeTriton:
    """The fake; it answers a red disc on nothing, 96×64 pixels as its META says."""
    _fake.reset()
    cutout = Image.new("RGBA", (96, 64))
    ImageDraw.Draw(cutout).ellipse((24, 8, 72, 56), fill="red")
    stream = io.BytesIO()
    cutout.save(stream, "PNG")
    _fake.result = stream.getvalue()
    return _fake


@pytest.fixture
def photos(tmp_path: Path) -> list[Path]:
    """Six photos of 96×64 pixels, each of a colour of its own."""
    paths = []
    for name in ("green", "blue", "navy", "teal", "olive", "gray"):
        paths.append(tmp_path / f"{name}.jpg")
        Image.new("RGB", (96, 64), name).save(paths[-1])
    return paths
