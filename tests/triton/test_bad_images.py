"""Bad files through the whole service, over both protocols, and their neighbours in the same batch."""

from __future__ import annotations

import io
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from PIL import Image

from cutout_build.photos import photo
from cutout_client import Client, Retry, ServiceError
from cutout_core.contract import ErrorCode
from tests.integration.gateway_process import GatewayProcess, running_gateway

pytestmark = [pytest.mark.triton, pytest.mark.timeout(300)]


def bomb() -> bytes:
    """A PNG of 30000 × 30000 pixels in 70 bytes."""
    ihdr = b"IHDR" + (30000).to_bytes(4, "big") * 2 + bytes([8, 2, 0, 0, 0])
    data = b"IDAT" + zlib.compress(b"")
    chunks = b"".join(
        (len(chunk) - 4).to_bytes(4, "big") + chunk + zlib.crc32(chunk).to_bytes(4, "big") for chunk in (ihdr, data)
    )
    return b"\x89PNG\r\n\x1a\n" + chunks


def jpeg() -> bytes:
    buffer = io.BytesIO()
    with Image.open(photo("coffee")) as image:
        image.convert("RGB").save(buffer, "JPEG", quality=92)
    return buffer.getvalue()


FILES = {
    "empty": (b"", ErrorCode.EMPTY_BODY),
    "text": (b"just some words, no picture at all", ErrorCode.NOT_AN_IMAGE),
    "pdf": (b"%PDF-1.7\n%\xe2\xe3\xcf\xd3\n1 0 obj\n<<>>\nendobj\n", ErrorCode.UNSUPPORTED_FORMAT),
    "truncated jpeg": (jpeg()[:9000], ErrorCode.TRUNCATED_IMAGE),
    "truncated png": (photo("coffee").read_bytes()[:50_000], ErrorCode.TRUNCATED_IMAGE),
    "damaged png": (
        photo("coffee").read_bytes()[:30_000] + b"\xaa" * 200 + photo("coffee").read_bytes()[30_200:],
        ErrorCode.CORRUPT_IMAGE,
    ),
    "decompression bomb": (bomb(), ErrorCode.TOO_MANY_PIXELS),
    "too many bytes": (b"\xff\xd8\xff" + bytes(33 * 1024 * 1024), ErrorCode.TOO_MANY_BYTES),
}


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[GatewayProcess]:
    with running_gateway(tmp_path_factory.mktemp("service")) as gateway:
        yield gateway


@pytest.fixture(params=["http", "grpc"])
def client(request: pytest.FixtureRequest, service: GatewayProcess) -> Iterator[Client]:
    url = service.http if request.param == "http" else f"grpc://{service.grpc}"
    with Client(url, retry=Retry(attempts=1)) as client:
        yield client


@pytest.mark.parametrize("name", FILES)
def test_each_gets_its_code(client: Client, name: str) -> None:
    data, code = FILES[name]
    with pytest.raises(ServiceError) as caught:
        client.remove_background(data)
    assert caught.value.code == code.value
    assert caught.value.request_id


def test_a_bad_row_costs_its_neighbours_nothing(client: Client) -> None:
    good = jpeg()
    mixed = [good, FILES["truncated jpeg"][0]] * 6

    def outcome(data: bytes) -> str:
        try:
            return client.remove_background(data).content_type
        except ServiceError as error:
            return error.code

    with ThreadPoolExecutor(12) as pool:
        assert list(pool.map(outcome, mixed)) == ["image/png", "truncated_image"] * 6


def test_an_animated_file_gives_its_first_frame_and_a_warning(client: Client) -> None:
    with Image.open(photo("coffee")) as image:
        first = image.convert("RGB").resize((150, 100))
    buffer = io.BytesIO()
    first.save(buffer, "WEBP", save_all=True, append_images=[Image.new("RGB", first.size)], lossless=True)
    result = client.remove_background(buffer.getvalue())
    assert "animated_first_frame" in result.warnings
    assert (result.width, result.height) == (150, 100)


def test_a_large_photo_keeps_its_size(client: Client, tmp_path: Path) -> None:
    with Image.open(photo("coffee")) as image:
        image.convert("RGB").resize((4242, 2828)).save(tmp_path / "large.jpg", quality=85)
    result = client.remove_background(tmp_path / "large.jpg", output="webp", size=1.0)
    assert (result.source_width, result.source_height) == (4242, 2828)
    assert result.width * result.height <= 1_000_000
    mask = client.remove_background(tmp_path / "large.jpg", output="mask")
    with Image.open(io.BytesIO(mask.data)) as image:
        assert image.size == (4242, 2828)
