"""remove.bg's interface on real photos: a published client, and what is in the files."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pytest
from PIL import Image

from cutout_build.photos import photo
from tests.integration.foreign_clients import python_with, run_client
from tests.integration.gateway_process import GatewayProcess, start_gateway
from tests.quality.astronaut_polygon import astronaut_alpha
from tests.triton.conftest import RunningTriton

pytestmark = pytest.mark.triton


@pytest.fixture(scope="module")
def service(triton_server: RunningTriton, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    gateway = start_gateway(tmp_path_factory.mktemp("removebg"), "--triton-url", triton_server.url)
    yield gateway
    assert gateway.stop() == 0


def post(service: GatewayProcess, image: bytes, **fields: str) -> httpx.Response:
    return httpx.post(f"{service.http}/v1.0/removebg", files={"image_file": image}, data=fields, timeout=60)


def picture(data: bytes) -> Image.Image:
    image = Image.open(io.BytesIO(data))
    image.load()
    return image


_CLIENT = """
import sys, remove_bg_api as package
package.API_URL = sys.argv[1] + "/v1.0"
client = package.RemoveBg("any")
client.remove_bg_file(sys.argv[2], out_path="preview.png", raw=False)
client.remove_bg_file(sys.argv[2], out_path="full.jpg", raw=False, data={"size": "full", "bg_color": "00ff00"})
"""


def test_a_published_client(service: GatewayProcess, tmp_path: Path) -> None:
    source = tmp_path / "astronaut.png"
    source.write_bytes(photo("astronaut").read_bytes())
    done = run_client([python_with("remove_bg_api"), "-c", _CLIENT, service.http, source], tmp_path)
    assert done.returncode == 0, done.stderr
    preview = picture((tmp_path / "preview.png").read_bytes())
    assert (preview.format, preview.mode, preview.size) == ("PNG", "RGBA", (500, 500))
    truth = np.asarray(Image.fromarray(np.uint8(astronaut_alpha() * 255)).resize((500, 500))) >= 128
    found = np.asarray(preview)[..., 3] >= 128
    assert (found & truth).sum() / (found | truth).sum() > 0.93
    full = picture((tmp_path / "full.jpg").read_bytes())
    assert (full.format, full.size) == ("JPEG", (512, 512))
    red, green, blue = full.getpixel((2, 2))
    assert (red < 10, green > 245, blue < 10) == (True, True, True)


def test_the_zip_holds_two_pictures_of_the_result_s_size(service: GatewayProcess) -> None:
    answer = post(service, photo("coffee").read_bytes(), format="zip", size="full", roi="0 0 100% 100%")
    assert answer.headers["content-type"] == "application/zip"
    size = int(answer.headers["x-width"]), int(answer.headers["x-height"])
    with zipfile.ZipFile(io.BytesIO(answer.content)) as archive:
        assert archive.namelist() == ["color.jpg", "alpha.png"]
        color, alpha = (picture(archive.read(name)) for name in archive.namelist())
    assert (color.mode, alpha.mode, color.size, alpha.size) == ("RGB", "L", size, size)
    assert size == (600, 400)


def test_a_crop_and_its_headers(service: GatewayProcess) -> None:
    answer = post(
        service, photo("coffee").read_bytes(), crop="true", crop_margin="10px 20px", type="product", size="hd"
    )
    alpha = np.asarray(picture(answer.content))[..., 3]
    height, width = alpha.shape
    assert (answer.headers["x-width"], answer.headers["x-height"]) == (str(width), str(height))
    assert (answer.headers["x-max-width"], answer.headers["x-max-height"]) == ("600", "400")
    assert answer.headers["x-type"] == "product"
    assert box(alpha >= 128) == tuple(
        int(answer.headers[f"x-foreground-{name}"]) for name in ("left", "top", "width", "height")
    )
    assert box(alpha >= 13) == (20, 10, width - 40, height - 20)  # what is visible, from 5 %, and the margins


def box(shown: np.ndarray) -> tuple[int, int, int, int]:
    """left, top, width, height."""
    rows, columns = np.nonzero(shown)
    left, top = int(columns.min()), int(rows.min())
    return left, top, int(columns.max()) + 1 - left, int(rows.max()) + 1 - top


def test_an_empty_wall_has_no_foreground(service: GatewayProcess) -> None:
    buffer = io.BytesIO()
    Image.new("RGB", (320, 240), (128, 128, 128)).save(buffer, "PNG")
    answer = post(service, buffer.getvalue())
    assert (answer.status_code, json.loads(answer.content)["errors"][0]["code"]) == (400, "unknown_foreground")
