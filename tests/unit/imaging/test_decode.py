from __future__ import annotations

import time
import warnings
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
import simplejpeg
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms

from cutout_core.contract import CutoutError, ErrorCode, Limits, ResultWarning
from cutout_core.imaging.decode import decode, decode_reduced

from .images import (
    LIMITS,
    PILLOW_FORMATS,
    animated,
    exif,
    grey_profile,
    linear_rgb_profile,
    png_chunk,
    save,
    smooth,
    space_profile,
    upright,
)

pytestmark = pytest.mark.usefixtures("each_path")


def code_of(data: bytes) -> ErrorCode | None:
    """The code with which a file is refused; the same at full and at reduced size. None where it decodes."""
    codes = []
    for read in (decode, lambda data, limits: decode_reduced(data, limits, 16)):
        try:
            read(data, LIMITS)
            codes.append(None)
        except CutoutError as error:
            codes.append(error.code)
    assert codes[0] == codes[1]
    return codes[0]


def difference(first: Any, second: Any) -> float:
    """Mean absolute difference in levels."""
    return float(np.abs(np.asarray(first, np.float64) - np.asarray(second, np.float64)).mean())


@pytest.mark.parametrize("name", PILLOW_FORMATS)
def test_every_format_decodes_to_its_pixels(name: str) -> None:
    pillow_format, tolerance = PILLOW_FORMATS[name]
    data = save(smooth(), pillow_format)
    decoded = decode(data, LIMITS)
    with Image.open(BytesIO(data)) as image:
        reference = np.asarray(image.convert("RGB"))
    assert decoded.rgb.dtype == np.uint8
    assert decoded.rgb.flags.c_contiguous
    assert np.array_equal(decoded.rgb, reference)
    assert difference(decoded.rgb, smooth()) <= tolerance
    assert (decoded.alpha, decoded.icc, decoded.warnings) == (None, None, [])


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff", "avif", "heic"])
def test_orientation_is_applied_once(name: str, orientation: int) -> None:
    pillow_format, tolerance = PILLOW_FORMATS[name]
    decoded = decode(save(smooth(), pillow_format, exif=exif(orientation)), LIMITS)
    expected = upright(smooth(), orientation)
    assert decoded.rgb.shape == expected.shape
    assert difference(decoded.rgb, expected) <= tolerance
    assert decoded.rgb.shape[:2] == (decoded.header.height, decoded.header.width)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_transparency_turns_with_the_colours(orientation: int) -> None:
    rgba = smooth(channels=4)
    decoded = decode(save(rgba, "PNG", exif=exif(orientation)), LIMITS)
    assert np.array_equal(decoded.alpha, upright(rgba, orientation)[..., 3])


@pytest.mark.parametrize("options", [{"subsampling": 0}, {"subsampling": 2}, {"progressive": True}, {"quality": 30}])
@pytest.mark.parametrize("size", [(96, 64), (97, 63), (1, 1), (17, 1)])
def test_jpeg_equals_pillow_bit_for_bit(options: dict[str, Any], size: tuple[int, int]) -> None:
    data = save(smooth(*size), "JPEG", **options)
    with Image.open(BytesIO(data)) as image:
        assert np.array_equal(decode(data, LIMITS).rgb, np.asarray(image))


def test_grey_jpeg() -> None:
    data = save(smooth()[..., 0], "JPEG")
    with Image.open(BytesIO(data)) as image:
        assert np.array_equal(decode(data, LIMITS).rgb, np.asarray(image.convert("RGB")))


@pytest.mark.parametrize("pillow_format", ["JPEG", "TIFF"])
def test_cmyk_looks_as_its_colours(pillow_format: str) -> None:
    data = save(Image.fromarray(smooth()).convert("CMYK"), pillow_format)
    assert difference(decode(data, LIMITS).rgb, smooth()) < 5


def test_cmyk_without_adobes_marker_is_not_inverted() -> None:
    levels = 255 - np.asarray(Image.fromarray(smooth()).convert("CMYK"))
    data = simplejpeg.encode_jpeg(np.ascontiguousarray(levels), 95, colorspace="CMYK", colorsubsampling="444")
    with Image.open(BytesIO(data)) as image:
        assert np.array_equal(decode(data, LIMITS).rgb, np.asarray(image.convert("RGB")))


def test_sixteen_bit_grey_is_scaled_and_not_clipped() -> None:
    levels = np.linspace(0, 65535, 64 * 96).astype(np.uint16).reshape(64, 96)
    for data in (save(levels, "PNG"), save(levels, "TIFF"), save(levels, "TIFF", compression="tiff_lzw")):
        assert np.abs(decode(data, LIMITS).rgb[..., 1] - levels / 257).max() <= 0.5


@pytest.mark.parametrize("suffix", [".png", ".tiff"])
@pytest.mark.parametrize("channels", [3, 4])
def test_sixteen_bit_colour_is_scaled(suffix: str, channels: int) -> None:
    levels = np.random.default_rng(0).integers(0, 65536, (20, 30, channels)).astype(np.uint16)
    done, file = cv2.imencode(suffix, levels)
    assert done
    decoded = decode(file.tobytes(), LIMITS)
    assert np.abs(decoded.rgb - levels[..., 2::-1] / 257).max() < 1
    if channels == 4:
        assert np.abs(decoded.alpha - levels[..., 3] / 257).max() < 1


def test_sixteen_bit_tiff_with_white_as_zero() -> None:
    levels = np.full((8, 8), 65535, np.uint16)
    levels[:4] = 0
    data = save(levels, "TIFF", tiffinfo={262: 0})
    assert decode(data, LIMITS).rgb[[0, 7], 0, 0].tolist() == [255, 0]


def test_transparent_level_of_a_sixteen_bit_png() -> None:
    levels = np.array([[1000, 1001], [1002, 65535]], np.uint16)
    plain = save(levels, "PNG")
    data = plain[:33] + png_chunk(b"tRNS", (1001).to_bytes(2, "big")) + plain[33:]
    decoded = decode(data, LIMITS)
    assert decoded.alpha is not None
    assert decoded.alpha.tolist() == [[255, 0], [255, 255]]


@pytest.mark.parametrize("scale", [1, 255])
def test_floating_point_in_a_known_range(scale: int) -> None:
    levels = np.linspace(0, scale, 600, dtype=np.float32).reshape(20, 30)
    assert np.abs(decode(save(levels, "TIFF"), LIMITS).rgb[..., 0] - levels * 255 / scale).max() <= 0.51


@pytest.mark.parametrize(
    "levels", [np.full((4, 4), 1e6, np.float32), np.full((4, 4), np.nan, np.float32), np.ones((4, 4), np.int32)]
)
def test_samples_without_a_known_scale_are_not_read(levels: Any) -> None:
    assert code_of(save(levels, "TIFF")) is ErrorCode.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("name", ["png", "webp", "tiff", "avif", "heic"])
def test_rgba(name: str) -> None:
    rgba = smooth(channels=4)
    decoded = decode(save(rgba, PILLOW_FORMATS[name][0]), LIMITS)
    assert decoded.alpha is not None
    assert difference(decoded.alpha, rgba[..., 3]) <= PILLOW_FORMATS[name][1]


def test_opaque_alpha_is_no_alpha() -> None:
    assert decode(save(Image.fromarray(smooth()).convert("RGBA"), "PNG"), LIMITS).alpha is None


def test_grey_with_alpha() -> None:
    la = np.ascontiguousarray(smooth(channels=2))
    decoded = decode(
        save(Image.merge("LA", [Image.fromarray(la[..., 0].copy()), Image.fromarray(la[..., 1].copy())]), "PNG"), LIMITS
    )
    assert np.array_equal(decoded.rgb, np.repeat(la[..., :1], 3, axis=2))
    assert np.array_equal(decoded.alpha, la[..., 1])


@pytest.mark.parametrize("pillow_format", ["PNG", "TIFF", "BMP"])
def test_one_bit(pillow_format: str) -> None:
    bits = smooth()[..., 0] > 127
    decoded = decode(save(Image.fromarray(bits), pillow_format), LIMITS)
    assert np.array_equal(decoded.rgb[..., 2] == 255, bits)
    assert set(np.unique(decoded.rgb)) == {0, 255}


@pytest.mark.parametrize("pillow_format", ["PNG", "GIF"])
def test_palette_with_a_transparent_entry(pillow_format: str) -> None:
    palette = Image.new("P", (4, 4), 1)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((2, 1), 0)
    decoded = decode(save(palette, pillow_format, transparency=0), LIMITS)
    assert decoded.alpha is not None
    assert decoded.alpha[1, 2] == 0
    assert decoded.alpha.sum() == 15 * 255
    assert decoded.rgb[0, 0].tolist() == [0, 255, 0]


def test_palette_with_half_transparent_entries() -> None:
    palette = Image.new("P", (2, 1), 1)
    palette.putpalette([255, 0, 0, 0, 255, 0])
    palette.putpixel((0, 0), 0)
    decoded = decode(save(palette, "PNG", transparency=bytes((10, 200))), LIMITS)
    assert decoded.alpha is not None
    assert decoded.alpha.tolist() == [[10, 200]]


def test_transparent_colour_of_an_rgb_png() -> None:
    rgb = smooth()
    rgb[5, 7] = (1, 2, 3)
    decoded = decode(save(rgb, "PNG", transparency=(1, 2, 3)), LIMITS)
    assert decoded.alpha is not None
    assert np.flatnonzero(decoded.alpha == 0).tolist() == [5 * 96 + 7]


def test_lab_tiff() -> None:
    to_lab = ImageCms.profileToProfile(
        Image.fromarray(smooth()), ImageCms.createProfile("sRGB"), ImageCms.createProfile("LAB"), outputMode="LAB"
    )
    assert difference(decode(save(to_lab, "TIFF"), LIMITS).rgb, smooth()) < 2


@pytest.mark.parametrize("name", PILLOW_FORMATS)
def test_one_pixel(name: str) -> None:
    decoded = decode(save(np.full((1, 1, 3), 200, np.uint8), PILLOW_FORMATS[name][0]), LIMITS)
    assert decoded.rgb.shape == (1, 1, 3)
    assert difference(decoded.rgb, 200) <= 6


@pytest.mark.parametrize("size", [(1, 4000), (4000, 1)])
@pytest.mark.parametrize("name", ["jpeg", "png", "webp", "tiff", "gif"])
def test_extreme_aspect(name: str, size: tuple[int, int]) -> None:
    data = save(smooth(*size), PILLOW_FORMATS[name][0])
    assert decode(data, LIMITS).rgb.shape == (size[1], size[0], 3)
    assert min(decode_reduced(data, LIMITS, 320).rgb.shape[:2]) == 1


@pytest.mark.parametrize("name", ["gif", "png", "webp", "avif"])
def test_first_frame_of_an_animation_with_a_warning(name: str) -> None:
    pillow_format, tolerance = PILLOW_FORMATS[name]
    decoded = decode(animated(pillow_format), LIMITS)
    assert decoded.warnings == [ResultWarning.ANIMATED_FIRST_FRAME]
    assert difference(decoded.rgb, smooth()) <= tolerance + 1


@pytest.mark.parametrize("name", PILLOW_FORMATS)
@pytest.mark.parametrize("share", [0.5, 0.9])
def test_a_file_without_much_of_its_pixels_is_truncated(name: str, share: float) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (128, 128, 3), np.uint8)
    data = save(pixels, PILLOW_FORMATS[name][0])
    assert code_of(data[: int(len(data) * share)]) is ErrorCode.TRUNCATED_IMAGE


@pytest.mark.parametrize("compression", ["tiff_lzw", "tiff_adobe_deflate", "jpeg", "packbits"])
def test_a_compressed_tiff_cut_short_is_truncated(compression: str, capfd: pytest.CaptureFixture[str]) -> None:
    data = save(smooth(), "TIFF", compression=compression)
    assert code_of(data) is None
    assert code_of(data[:-20]) is ErrorCode.TRUNCATED_IMAGE
    assert code_of(data[: len(data) // 2]) is ErrorCode.TRUNCATED_IMAGE
    assert capfd.readouterr().err == ""


@pytest.mark.parametrize(
    "options", [{}, {"progressive": True}, {"restart_marker_rows": 1}, {"mode": "L"}, {"mode": "CMYK"}], ids=str
)
def test_where_the_line_for_jpeg_is(options: dict[str, Any]) -> None:
    noise = np.random.default_rng(1).integers(0, 256, (1200, 64, 3), np.uint8)
    arguments = {name: value for name, value in options.items() if name != "mode"}
    data = save(Image.fromarray(noise).convert(options.get("mode", "RGB")), "JPEG", **arguments)
    whole = decode(data, LIMITS).rgb
    for harmless in (data[:-2], data[:-1], data + b"trailing garbage", data[:-2] + bytes(40)):
        assert np.array_equal(decode(harmless, LIMITS).rgb, whole)
    nearly = decode(data[: len(data) * 995 // 1000], LIMITS).rgb
    assert np.array_equal(nearly[:1150], whole[:1150])
    limit = 50 if options.get("progressive") else 95
    assert code_of(data[: len(data) * limit // 100]) is ErrorCode.TRUNCATED_IMAGE


def test_a_progressive_jpeg_cut_in_its_last_refinement_still_looks_right() -> None:
    pixels = smooth(256, 256)
    data = save(pixels + np.random.default_rng(0).integers(0, 9, pixels.shape, np.uint8) // 3, "JPEG", progressive=True)
    whole = decode(data, LIMITS).rgb
    assert difference(decode(data[: data.rindex(b"\xff\xda") + 100], LIMITS).rgb, whole) < 3
    assert code_of(data[: data.index(b"\xff\xda") + 100]) is ErrorCode.TRUNCATED_IMAGE


def test_a_jpeg_with_a_hole_and_an_end_marker_is_truncated() -> None:
    noise = np.random.default_rng(1).integers(0, 256, (400, 64, 3), np.uint8)
    data = save(noise, "JPEG")
    assert code_of(data[: len(data) // 2] + b"\xff\xd9") is ErrorCode.TRUNCATED_IMAGE


@pytest.mark.parametrize("progressive", [True, False])
def test_a_jpeg_of_endless_scans_is_refused_at_once(progressive: bool) -> None:
    data = save(smooth(), "JPEG", progressive=progressive)
    last_scan = data[data.rindex(b"\xff\xda") : -2][:20]
    began = time.process_time()
    for scans in (200, 500_000):
        assert code_of(data[:-2] + last_scan * scans + b"\xff\xd9") is ErrorCode.CORRUPT_IMAGE
    assert time.process_time() - began < 0.5


def test_a_jpeg_with_flipped_bits_is_shown_as_viewers_do() -> None:
    data = bytearray(save(np.random.default_rng(1).integers(0, 256, (200, 200, 3), np.uint8), "JPEG"))
    data[len(data) // 2] ^= 0x55
    assert decode(bytes(data), LIMITS).rgb.shape == (200, 200, 3)


@pytest.mark.parametrize("name", PILLOW_FORMATS)
def test_trailing_garbage_is_ignored(name: str) -> None:
    data = save(smooth(), PILLOW_FORMATS[name][0])
    assert np.array_equal(decode(data + b"garbage" * 50, LIMITS).rgb, decode(data, LIMITS).rgb)


def test_png_without_its_end_chunk() -> None:
    data = save(smooth(), "PNG")
    assert np.array_equal(decode(data[:-12], LIMITS).rgb, smooth())


def test_png_with_damaged_or_huge_chunks_that_do_not_matter() -> None:
    data = save(smooth(), "PNG")
    broken = bytearray(png_chunk(b"tEXt", b"Comment\0hello"))
    broken[-1] ^= 1
    huge = png_chunk(b"tEXt", b"Comment\0" + b"x" * 2_000_000)
    for extra in (bytes(broken), huge):
        assert np.array_equal(decode(data[:33] + extra + data[33:], LIMITS).rgb, smooth())


def test_png_with_a_damaged_image_is_corrupt() -> None:
    data = bytearray(save(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8), "PNG"))
    data[len(data) // 2] ^= 1
    assert code_of(bytes(data)) is ErrorCode.CORRUPT_IMAGE


@pytest.mark.parametrize("name", ["jpeg", "png", "tiff", "webp"])
def test_an_rgb_profile_is_carried(name: str) -> None:
    profile = linear_rgb_profile()
    data = save(smooth(), PILLOW_FORMATS[name][0], icc_profile=profile)
    decoded = decode(data, LIMITS)
    assert decoded.icc == profile
    assert difference(decoded.rgb, smooth()) <= PILLOW_FORMATS[name][1]
    assert decoded.warnings == []


@pytest.mark.parametrize("profile", [b"no profile at all", space_profile(b"CMYK"), space_profile(b"GRAY")])
@pytest.mark.parametrize("name", ["jpeg", "png"])
def test_a_profile_that_does_not_fit_is_left_out_with_a_warning(name: str, profile: bytes) -> None:
    data = save(smooth(), PILLOW_FORMATS[name][0], icc_profile=profile)
    decoded = decode(data, LIMITS)
    assert decoded.icc is None
    assert decoded.warnings == [ResultWarning.COLOR_PROFILE_IGNORED]
    assert difference(decoded.rgb, smooth()) <= PILLOW_FORMATS[name][1]


@pytest.mark.parametrize("name", ["jpeg", "png", "tiff"])
def test_a_grey_profile_is_applied_and_not_attached(name: str) -> None:
    grey = np.full((8, 8), 128, np.uint8)
    decoded = decode(save(grey, PILLOW_FORMATS[name][0], icc_profile=grey_profile(1.0)), LIMITS)
    assert decoded.icc is None
    assert decoded.warnings == []
    assert abs(int(decoded.rgb[4, 4, 0]) - 188) <= 2  # half the light is level 188 of sRGB


def test_cmyk_with_a_profile_that_is_not_cmyk_warns() -> None:
    data = save(Image.fromarray(smooth()).convert("CMYK"), "JPEG", icc_profile=linear_rgb_profile())
    decoded = decode(data, LIMITS)
    assert decoded.warnings == [ResultWarning.COLOR_PROFILE_IGNORED]
    assert difference(decoded.rgb, smooth()) < 5


@pytest.mark.parametrize("size", [(800, 600), (801, 603), (640, 2000), (300, 200)])
def test_reduced_jpeg_stays_large_enough_and_shows_the_same(size: tuple[int, int]) -> None:
    pixels = smooth(*size)
    reduced = decode_reduced(save(pixels, "JPEG", quality=95), LIMITS, 160)
    assert min(reduced.rgb.shape[:2]) >= min(160, *size)
    if size == (800, 600):
        assert max(reduced.rgb.shape[:2]) < 800
    left, top, right, bottom = reduced.extent
    assert (left, top) == (0, 0)
    assert right / bottom == pytest.approx(size[0] / size[1], rel=1e-3)
    restored = cv2.resize(reduced.rgb, size, interpolation=cv2.INTER_LINEAR)
    assert difference(restored, pixels) < 4


@pytest.mark.parametrize("orientation", range(1, 9))
def test_extent_of_a_reduced_jpeg_turns_with_it(orientation: int) -> None:
    pixels = smooth(801, 603)
    reduced = decode_reduced(save(pixels, "JPEG", exif=exif(orientation)), LIMITS, 160)
    height, width = reduced.rgb.shape[:2]
    left, top, right, bottom = reduced.extent
    assert left == 0 or right == width
    assert top == 0 or bottom == height
    covered = right - left, bottom - top
    stored = covered if orientation < 5 else covered[::-1]
    assert stored[0] / stored[1] == pytest.approx(801 / 603, rel=1e-9)


def test_limits_hold_when_decoding() -> None:
    data = save(smooth(), "PNG")
    with pytest.raises(CutoutError) as caught:
        decode(data, Limits(max_pixels=100))
    assert caught.value.code is ErrorCode.TOO_MANY_PIXELS


@given(st.data())
@settings(max_examples=60, deadline=None)
def test_damaged_files_give_pixels_or_an_error_of_the_table(data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(PILLOW_FORMATS)))
    file = bytearray(save(smooth(32, 24), PILLOW_FORMATS[name][0]))
    for _ in range(data.draw(st.integers(1, 6))):
        file[data.draw(st.integers(0, len(file) - 1))] = data.draw(st.integers(0, 255))
    keep = data.draw(st.integers(len(file) // 4, len(file)))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            decoded = decode(bytes(file[:keep]), LIMITS)
        except CutoutError as error:
            status = error.row.http_status
        else:
            status = 200
            assert decoded.rgb.shape == (decoded.header.height, decoded.header.width, 3)
    assert status in (200, 413, 415, 422)
