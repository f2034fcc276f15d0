from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Callable
from io import BytesIO

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cutout_core.contract import CutoutError, ErrorCode, Limits
from cutout_core.imaging.decode import decode
from cutout_core.imaging.header import ImageHeader, read_header

from .images import LIMITS, PILLOW_FORMATS, animated, exif, png_bomb, png_chunk, save, smooth


def code_of(data: bytes, limits: Limits = LIMITS) -> ErrorCode:
    with pytest.raises(CutoutError) as caught:
        read_header(data, limits)
    return caught.value.code


def status_of(data: bytes) -> int:
    """200 for a header that was read, else the HTTP status of its error."""
    try:
        header = read_header(data, LIMITS)
    except CutoutError as error:
        return error.row.http_status
    assert header.width > 0
    assert header.height > 0
    return 200


@pytest.mark.parametrize("name", PILLOW_FORMATS)
def test_every_format_is_named_and_measured(name: str) -> None:
    header = read_header(save(smooth(), PILLOW_FORMATS[name][0]), LIMITS)
    assert header == ImageHeader(name, 96, 64, 1, animated=False, has_alpha=False)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff", "avif", "heic"])
def test_size_is_that_of_the_upright_image(name: str, orientation: int) -> None:
    header = read_header(save(smooth(), PILLOW_FORMATS[name][0], exif=exif(orientation)), LIMITS)
    assert (header.width, header.height) == ((96, 64) if orientation < 5 else (64, 96))
    assert header.orientation == (1 if name == "heic" else orientation)


@pytest.mark.parametrize("name", ["png", "webp", "tiff", "gif", "avif", "heic"])
def test_transparency_is_seen(name: str) -> None:
    rgba = smooth(channels=4)
    rgba[:32, :, 3] = 0
    assert read_header(save(rgba, PILLOW_FORMATS[name][0]), LIMITS).has_alpha


@pytest.mark.parametrize("name", ["gif", "png", "webp", "avif"])
def test_animation_is_seen(name: str) -> None:
    assert read_header(animated(PILLOW_FORMATS[name][0]), LIMITS).animated


def test_a_jpeg_with_a_second_picture_is_a_still_jpeg() -> None:
    frame = Image.fromarray(smooth())
    mpo = save(frame, "MPO", save_all=True, append_images=[Image.new("RGB", (96, 64))])
    assert read_header(mpo, LIMITS) == ImageHeader("jpeg", 96, 64, 1, animated=False, has_alpha=False)


def test_a_tiff_with_pages_is_a_still_image() -> None:
    pages = save(Image.fromarray(smooth()), "TIFF", save_all=True, append_images=[Image.new("RGB", (8, 8))])
    assert not read_header(pages, LIMITS).animated


def test_no_bytes() -> None:
    assert code_of(b"") is ErrorCode.EMPTY_BODY


def test_byte_limit() -> None:
    data = save(smooth(), "PNG")
    assert code_of(data, Limits(max_bytes=len(data) - 1)) is ErrorCode.TOO_MANY_BYTES
    assert read_header(data, Limits(max_bytes=len(data))).format == "png"


@pytest.mark.parametrize("name", PILLOW_FORMATS)
def test_pixel_limit(name: str) -> None:
    data = save(smooth(), PILLOW_FORMATS[name][0])
    assert code_of(data, Limits(max_pixels=96 * 64 - 1)) is ErrorCode.TOO_MANY_PIXELS
    assert read_header(data, Limits(max_pixels=96 * 64)).width == 96


def _declare_jpeg_size(width: int, height: int) -> bytes:
    data = bytearray(save(smooth(), "JPEG"))
    at = data.index(b"\xff\xc0") + 5
    data[at : at + 4] = height.to_bytes(2, "big") + width.to_bytes(2, "big")
    return bytes(data)


def _declare_webp_size(width: int, height: int) -> bytes:
    data = bytearray(save(smooth(), "WEBP"))
    data[26:30] = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    return bytes(data)


def _declare_gif_size(width: int, height: int) -> bytes:
    data = bytearray(save(smooth(), "GIF"))
    data[6:10] = width.to_bytes(2, "little") + height.to_bytes(2, "little")
    return bytes(data)


@pytest.mark.parametrize(
    "bomb",
    [
        png_bomb(30_000, 30_000),
        png_bomb(2_000_000_000, 2_000_000_000),
        _declare_jpeg_size(65_000, 65_000),
        _declare_webp_size(16_000, 16_000),
        _declare_gif_size(65_535, 65_535),
    ],
    ids=["png", "png-2^62", "jpeg", "webp", "gif"],
)
def test_a_bomb_is_refused_from_its_header(bomb: bytes) -> None:
    with warnings.catch_warnings(record=True) as seen:
        warnings.simplefilter("always")
        assert code_of(bomb) is ErrorCode.TOO_MANY_PIXELS
    assert seen == []


def test_the_pixel_limit_is_ours_and_not_pillows() -> None:
    header = read_header(png_bomb(30_000, 30_000), Limits(max_pixels=10**9))
    assert (header.width, header.height) == (30_000, 30_000)


@pytest.mark.parametrize(
    "data",
    [
        b"Hello, this is no image.",
        b"{}",
        b"\0" * 100,
        b"BM, that is how this text begins",
        b"RIFF\x24\0\0\0WAVEfmt ",
        b"PK\x03\x04 a zip archive",
        b"<html><body>404</body></html>",
        b"II",
        b"x",
    ],
)
def test_what_is_no_image(data: bytes) -> None:
    assert code_of(data) is ErrorCode.NOT_AN_IMAGE


@pytest.mark.parametrize(
    "data",
    [
        b"8BPS\0\1" + bytes(30),
        b"\0\0\0\x0cjP  \r\n\x87\n" + bytes(30),
        b"\0\0\0\x0cJXL \r\n\x87\n" + bytes(30),
        b"\xff\x0a" + bytes(30),
        save(smooth(16, 16), "ICO"),
        save(smooth(), "PCX"),
        save(smooth(), "PPM"),
        save(smooth(), "TGA") + bytes(8) + b"TRUEVISION-XFILE.\0",
        save(smooth(), "PDF"),
        save(smooth(), "EPS"),
        save(smooth(), "ICNS"),
        b'<?xml version="1.0"?>\n<!-- drawn -->\n<svg xmlns="http://www.w3.org/2000/svg"/>',
        b"\xef\xbb\xbf  <svg/>",
        b"\0\0\0\x18ftypmp42" + bytes(40),
        b"\0\0\0\x18ftypcrx " + bytes(40),
        b"\x1a\x45\xdf\xa3" + bytes(40),
        b"RIFF\x24\0\0\0AVI LIST",
        b"II*\0\x10\0\0\0CR\2\0" + bytes(40),
    ],
)
def test_formats_that_are_recognised_but_not_read(data: bytes) -> None:
    assert code_of(data) is ErrorCode.UNSUPPORTED_FORMAT


def test_refusal_names_the_format_and_what_is_read() -> None:
    with pytest.raises(CutoutError, match=r"Photoshop.*jpeg, png"):
        read_header(b"8BPS\0\1" + bytes(30), LIMITS)


def test_a_twelve_bit_jpeg_is_a_format_that_is_not_read() -> None:
    data = bytearray(save(smooth(), "JPEG"))
    data[data.index(b"\xff\xc0") + 4] = 12
    assert code_of(bytes(data)) is ErrorCode.UNSUPPORTED_FORMAT


def test_camera_raw_inside_tiff_is_not_read_as_its_thumbnail() -> None:
    info = {50706: b"\1\4\0\0"}
    dng = save(smooth(), "TIFF", tiffinfo=info)
    assert code_of(dng) is ErrorCode.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("name", PILLOW_FORMATS)
def test_a_file_cut_inside_its_header_is_truncated(name: str) -> None:
    data = save(smooth(), PILLOW_FORMATS[name][0])
    assert code_of(data[:20]) is ErrorCode.TRUNCATED_IMAGE


@pytest.mark.parametrize("size", [(0, 64), (96, 0)])
def test_zero_dimensions_are_corrupt(size: tuple[int, int]) -> None:
    assert code_of(_declare_jpeg_size(*size)) is ErrorCode.CORRUPT_IMAGE
    assert code_of(_declare_webp_size(*size)) is ErrorCode.CORRUPT_IMAGE
    assert code_of(png_bomb(*size)) is ErrorCode.CORRUPT_IMAGE


def test_damaged_png_headers_are_corrupt() -> None:
    data = bytearray(save(smooth(), "PNG"))
    data[24] = 3  # bit depth, and with it the checksum
    assert code_of(bytes(data)) is ErrorCode.CORRUPT_IMAGE
    no_pixels = data[:8] + save(smooth(), "PNG")[8:33] + png_chunk(b"IEND", b"")
    assert code_of(bytes(no_pixels)) is ErrorCode.CORRUPT_IMAGE


@pytest.mark.parametrize(
    "block", [b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"Exif\0\0MM\0*\0\0\0\x08\xff\xff", b"Exif\0\0junk"]
)
def test_damaged_exif_means_upright(block: bytes) -> None:
    segment = b"\xff\xe1" + (2 + len(block)).to_bytes(2, "big") + block
    data = save(smooth(), "JPEG")
    assert read_header(data[:2] + segment + data[2:], LIMITS).orientation == 1


def test_orientation_outside_the_table_means_upright() -> None:
    assert read_header(save(smooth(), "JPEG", exif=exif(9)), LIMITS).orientation == 1


@pytest.mark.parametrize("name", ["jpeg", "png"])
def test_reading_a_header_is_a_small_part_of_decoding(name: str) -> None:
    photo = np.random.default_rng(0).integers(0, 256, (1000, 1500, 3), np.uint8)
    data = save(photo, PILLOW_FORMATS[name][0])

    def fastest(read: Callable[[bytes, Limits], object]) -> float:
        spans = []
        for _ in range(3):
            started = time.perf_counter()
            read(data, LIMITS)
            spans.append(time.perf_counter() - started)
        return min(spans)

    assert fastest(read_header) < fastest(decode) / 10


def test_header_never_decodes(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise AssertionError("pixels were decoded")

    monkeypatch.setattr("PIL.ImageFile.ImageFile.load", refuse)
    for name in ("tiff", "bmp", "gif", "avif"):
        assert read_header(save(smooth(), PILLOW_FORMATS[name][0]), LIMITS).width == 96


def test_malformed_tiff_metadata_is_quiet(caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(save(smooth(), "TIFF", tiffinfo={270: "a description" * 9}))
    with warnings.catch_warnings(record=True) as seen, caplog.at_level(logging.DEBUG, "cutout"):
        warnings.simplefilter("always")
        for at in range(len(data) - 160, len(data), 3):
            broken = bytearray(data)
            broken[at] ^= 0xFF
            try:
                read_header(bytes(broken), LIMITS)
            except CutoutError:
                continue
    assert (seen, caplog.records, capfd.readouterr().err) == ([], [], "")


@given(
    st.binary(max_size=200),
    st.sampled_from([b"", b"\xff\xd8\xff\xe0", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"II*\0", b"BM"]),
)
def test_nothing_but_errors_of_the_table(data: bytes, magic: bytes) -> None:
    assert status_of(magic + data) in (200, 400, 413, 415, 422)


@pytest.mark.parametrize("name", PILLOW_FORMATS)
def test_flipped_bytes_give_nothing_but_errors_of_the_table(name: str) -> None:
    data = save(smooth(), PILLOW_FORMATS[name][0])
    for at in range(min(len(data), 120)):
        broken = bytearray(data)
        broken[at] ^= 0xA5
        assert status_of(bytes(broken)) in (200, 413, 415, 422)


def test_the_files_are_what_pillow_says_they_are() -> None:
    for name, (pillow_format, _) in PILLOW_FORMATS.items():
        with Image.open(BytesIO(save(smooth(), pillow_format))) as image:
            assert image.format == pillow_format, name
