"""Whole rows with the options for shops: sizes, files, backgrounds, shadows, zip, resolution, bytes, presets."""

from __future__ import annotations

import json
import zipfile
from io import BytesIO
from typing import Any

import cv2
import numpy as np
import pytest
from PIL import Image

from cutout_core.contract import Box, ErrorCode, Limits, RowError, RowMeta, Rule
from cutout_core.imaging.normalize import NetworkInput
from cutout_core.imaging.postprocess import PostprocessSettings, RowInput, postprocess_row
from cutout_core.imaging.preprocess import PreprocessSettings, preprocess_row
from cutout_core.imaging.semitransparency import opaque_inside

from .images import Array, linear_rgb_profile, save, smooth

PREPROCESS = PreprocessSettings(Limits(), NetworkInput(64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), False))
#: A photo of 400 × 300 pixels whose subject is a block, of 80 × 160 pixels at (100, 60).
PHOTO = save(smooth(400, 300), "PNG")
BLOCK = Box(100, 60, 80, 160)


def block_mask(region: Box = Box(0, 0, 400, 300)) -> Array:  # noqa: B008 - frozen
    """The block as a perfect network sees it that is shown the region, float32 [512, 512]."""
    alpha = np.zeros((300, 400), np.uint8)
    alpha[BLOCK.top : BLOCK.top + BLOCK.height, BLOCK.left : BLOCK.left + BLOCK.width] = 255
    part = alpha[region.top : region.top + region.height, region.left : region.left + region.width]
    mask: Array = cv2.resize(part, (512, 512), interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    return mask


def run(
    image: bytes = PHOTO,
    picture: bytes = b"",
    mask: Array | None = None,
    limits: Limits | None = None,
    **options: Any,
) -> tuple[bytes, RowMeta]:
    """A row through both steps."""
    raw = json.dumps(options).encode() if options else b""
    _, before = preprocess_row(image, raw, PREPROCESS)
    assert before.error is None, before.error
    row = RowInput(image, raw, before.to_json(), block_mask() if mask is None else mask, None, picture)
    return postprocess_row(row, PostprocessSettings(limits or Limits()))


def made(**options: Any) -> tuple[Array, RowMeta, Image.Image]:
    """Pixels, META and the opened file."""
    result, meta = run(**options)
    assert meta.error is None, meta.error
    image = Image.open(BytesIO(result))
    image.load()
    assert image.size == (meta.width, meta.height)
    return np.asarray(image), meta, image


def failed(**options: Any) -> RowError:
    result, meta = run(**options)
    assert result == b""
    assert meta.error is not None
    return meta.error


def near(box: Box | None, expected: tuple[int, int, int, int], tolerance: int = 1) -> bool:
    """The block's edge is found to a pixel: the mask's grid is not the photo's."""
    assert box is not None
    found = box.left, box.top, box.width, box.height
    return all(abs(a - b) <= tolerance for a, b in zip(found, expected, strict=True))


def test_white_jpeg_of_2000_pixels_in_which_the_subject_fills_85_percent() -> None:
    pixels, meta, image = made(output="jpeg", background="white", canvas="2000x2000", scale="85%")
    assert (image.format, image.mode, image.size) == ("JPEG", "RGB", (2000, 2000))
    assert meta.subject is not None
    assert meta.subject.height == 1700
    assert meta.subject.top == 150
    assert abs(meta.subject.left + meta.subject.width / 2 - 1000) <= 1
    assert (pixels[:100] == 255).all()
    assert (pixels[:, :300] == 255).all()


@pytest.mark.parametrize(
    ("options", "soft"),
    [
        ({"canvas": "800x600"}, True),
        ({"canvas": "796x597"}, False),
        ({"canvas": "800x600", "scale": "30%"}, False),  # the block: 160 of 300 rows, then 180 of 600
        ({"canvas": "800x600", "channels": "alpha"}, True),
        ({"scale": "100%"}, False),
        ({"crop": "on", "canvas": "500x500"}, True),
        ({}, False),
    ],
)
def test_a_subject_that_is_enlarged_at_least_twice_has_a_warning(options: dict[str, str], soft: bool) -> None:
    _, meta, _ = made(**options)
    assert ("enlarged" in meta.warnings) == soft


def test_nothing_is_enlarged_where_there_is_no_subject() -> None:
    _, meta = run(mask=np.zeros((512, 512), np.float32), canvas="1600x1200")
    assert meta.warnings == ["no_subject"]


def test_crop_keeps_the_photos_pixels() -> None:
    pixels, meta, _ = made(crop="on", margin="20px", decontaminate="off")
    assert near(meta.subject, (20, 20, 80, 160), 3)  # the visible edge is a little wider than the subject's
    assert (abs(meta.width - 120) <= 6, abs(meta.height - 200) <= 6) == (True, True)
    subject = meta.subject
    assert subject is not None
    inner = pixels[subject.top + 5 : subject.top + 150, subject.left + 5 : subject.left + 70, :3]
    left, top = BLOCK.left - subject.left, BLOCK.top - subject.top
    source = smooth(400, 300)
    found = [
        (dx, dy)
        for dx in range(-3, 4)
        for dy in range(-3, 4)
        if np.array_equal(
            inner,
            source[
                top + dy + subject.top + 5 : top + dy + subject.top + 150,
                left + dx + subject.left + 5 : left + dx + subject.left + 70,
            ],
        )
    ]
    assert len(found) == 1, "a crop without a scale resamples nothing"


def test_the_region_is_searched_and_what_lies_outside_is_empty() -> None:
    region = Box(40, 0, 200, 300)
    pixels, meta, _ = made(roi="10% 0px 240px 100%", mask=block_mask(region))
    assert (meta.width, meta.height) == (400, 300)
    assert near(meta.subject, (100, 60, 80, 160))
    everything = np.ones((512, 512), np.float32)
    pixels, meta, _ = made(roi="10% 0px 240px 100%", mask=everything)
    assert meta.subject == region
    assert not pixels[:, :40].any()
    assert not pixels[:, 240:].any()
    pixels, meta, _ = made(roi="10% 0px 240px 100%", mask=everything, size=0.03, background="lime")
    assert (meta.width, meta.height) == (200, 150)
    assert (pixels[:, :20] == (0, 255, 0)).all()


def test_the_networks_are_shown_the_region_only() -> None:
    photo = np.zeros((600, 800, 3), np.uint8)
    photo[100:500, 200:600] = (250, 120, 10)
    for kind in ("PNG", "JPEG"):
        tensors, meta = preprocess_row(save(photo, kind), b'{"roi": "200px 100px 600px 500px"}', PREPROCESS)
        assert meta.error is None
        assert (meta.source_width, meta.source_height) == (800, 600)
        seen = tensors["SEGMENTATION_IMAGE"]
        assert np.ptp(seen, axis=(1, 2)).max() < 0.25, "something dark from outside is seen"
    _, meta = preprocess_row(save(photo, "PNG"), b'{"roi": "0px 0px 900px 10px"}', PREPROCESS)
    assert meta.error is not None
    assert meta.error.field == "roi"


def test_zip_holds_color_and_alpha() -> None:
    result, meta = run(output="zip", crop="on", margin="10px", dpi=300)
    with zipfile.ZipFile(BytesIO(result)) as archive:
        assert archive.namelist() == ["color.jpg", "alpha.png"]
        color, alpha = (Image.open(BytesIO(archive.read(name))) for name in archive.namelist())
    assert (color.format, color.mode, color.size) == ("JPEG", "RGB", (meta.width, meta.height))
    assert (alpha.format, alpha.mode, alpha.size) == ("PNG", "L", (meta.width, meta.height))
    assert color.info["dpi"] == (300, 300)
    assert alpha.info["dpi"] == pytest.approx((300, 300), abs=0.01)
    rgba, _, _ = made(crop="on", margin="10px")
    assert np.array_equal(np.asarray(alpha), rgba[..., 3])
    opaque = rgba[..., 3] == 255
    assert np.abs(np.asarray(color)[opaque].astype(int) - rgba[opaque][:, :3]).mean() < 3
    assert run(output="zip", crop="on", margin="10px", dpi=300)[0] == result


def test_what_a_zips_color_shows_around_the_subject_is_the_subject() -> None:
    photo = np.full((300, 400, 3), (0, 0, 255), np.uint8)
    photo[60:220, 100:180] = (255, 40, 0)
    result, _ = run(image=save(photo, "PNG"), output="zip")
    with zipfile.ZipFile(BytesIO(result)) as archive:
        color = np.asarray(Image.open(BytesIO(archive.read("color.jpg"))).convert("RGB")).astype(int)
    far = np.concatenate([color[:, :80].reshape(-1, 3), color[:, 220:].reshape(-1, 3)])
    assert np.abs(far - (255, 40, 0)).max() < 40, "the old background is seen"


@pytest.mark.parametrize("dpi", [72, 300, 9600])
def test_dpi_is_read_back(dpi: int) -> None:
    for output in ("png", "mask", "jpeg"):
        _, _, image = made(output=output, dpi=dpi)
        assert image.info["dpi"] == pytest.approx((dpi, dpi), abs=0.02)
    plain, marked = made(output="png")[0], made(output="png", dpi=dpi)[0]
    assert np.array_equal(plain, marked)
    _, _, image = made(image=save(smooth(400, 300), "JPEG", icc_profile=linear_rgb_profile()), output="jpeg", dpi=dpi)
    assert image.info["dpi"] == (dpi, dpi)
    assert image.info["icc_profile"] == linear_rgb_profile()


def test_max_bytes_searches_the_quality() -> None:
    noise = save(np.random.default_rng(3).integers(0, 256, (300, 400, 3), dtype=np.uint8), "PNG")
    best = len(run(image=noise, output="jpeg")[0])
    for limit in (best, best * 3 // 4, best // 2):
        file = run(image=noise, output="jpeg", max_bytes=limit)[0]
        assert limit * 0.9 <= len(file) <= limit
    archive = run(image=noise, output="zip", max_bytes=len(run(image=noise, output="zip")[0]) // 2)[0]
    with zipfile.ZipFile(BytesIO(archive)) as files:
        assert files.namelist() == ["color.jpg", "alpha.png"]
    lossless = run(image=noise, output="webp")[0]
    assert run(image=noise, output="webp", max_bytes=len(lossless))[0] == lossless
    lossy = run(image=noise, output="webp", max_bytes=len(lossless) // 2)[0]
    assert len(lossy) <= len(lossless) // 2
    assert Image.open(BytesIO(lossy)).mode == "RGBA"


def test_max_bytes_packs_png_harder_and_says_when_that_is_not_enough() -> None:
    fast = run()[0]
    packed = run(max_bytes=len(fast) - 1)[0]
    assert len(packed) < len(fast)
    assert np.array_equal(np.asarray(Image.open(BytesIO(packed))), np.asarray(Image.open(BytesIO(fast))))
    for output in ("png", "jpeg", "webp", "mask", "zip"):
        error = failed(output=output, max_bytes=50)
        assert (error.code, error.field) == (ErrorCode.INVALID_OPTION, "max_bytes")
        assert "50" in error.message
        assert ("jpeg" in error.message) == (output in ("png", "mask")), "jpeg is advice for what is none"


@pytest.mark.parametrize(("output", "mode"), [("png", "L"), ("webp", "RGB"), ("jpeg", "L"), ("mask", "L")])
def test_channels_alpha(output: str, mode: str) -> None:
    alpha, _, image = made(output=output, channels="alpha")
    assert image.mode == mode
    grey = alpha if alpha.ndim == 2 else alpha[..., 0]
    expected = made()[0][..., 3]
    assert np.abs(grey.astype(int) - expected).max() <= (8 if output == "jpeg" else 0)


def test_premultiplied_colours() -> None:
    straight, _, _ = made()
    premultiplied, _, _ = made(alpha="premultiplied")
    assert np.array_equal(straight[..., 3], premultiplied[..., 3])
    expected = np.rint(straight[..., :3].astype(float) * straight[..., 3:] / 255)
    assert np.array_equal(premultiplied[..., :3], expected)


def test_background_image_covers_from_its_centre() -> None:
    picture = np.zeros((100, 300, 3), np.uint8)
    picture[:, 75:225] = (0, 200, 0)  # what a frame of 3 : 2 shows
    pixels, meta, image = made(picture=save(picture, "PNG"), size=0.03)
    assert (image.mode, image.size) == ("RGB", (200, 150))
    outside = np.ones((150, 200), bool)
    outside[28:112, 48:92] = False
    assert np.abs(pixels[outside].astype(int) - (0, 200, 0)).max() <= 1
    assert near(meta.subject, (50, 30, 40, 80))


def test_a_background_image_of_the_results_size_is_taken_as_it_is() -> None:
    picture = smooth(400, 300)[::-1].copy()
    pixels, _, _ = made(picture=save(picture, "PNG"))
    assert np.array_equal(pixels[:50], picture[:50])


def test_background_images_are_checked_like_photos() -> None:
    cases = [
        (b"no image", Limits(), ErrorCode.NOT_AN_IMAGE),
        (save(smooth(500, 500), "PNG"), Limits(max_pixels=130_000), ErrorCode.TOO_MANY_PIXELS),
        (save(smooth(400, 300), "PNG")[:3000], Limits(), ErrorCode.TRUNCATED_IMAGE),
    ]
    for background, limits, code in cases:
        error = failed(picture=background, limits=limits)
        assert (error.code, error.field) == (code, "background_image")


def test_a_wide_gamut_photo_on_another_picture_is_brought_to_srgb() -> None:
    photo = save(smooth(400, 300), "PNG", icc_profile=linear_rgb_profile())
    _, _, plain = made(image=photo)
    assert plain.info["icc_profile"] == linear_rgb_profile()
    picture = save(smooth(400, 300), "PNG")
    pixels, _, mixed = made(image=photo, picture=picture)
    assert "icc_profile" not in mixed.info
    assert np.array_equal(pixels[:50], smooth(400, 300)[:50])


def test_a_soft_shadow_lies_below_the_subject() -> None:
    plain, meta, _ = made(background="white")
    shaded, shaded_meta, _ = made(background="white", shadow="soft 50%")
    assert shaded_meta.subject == meta.subject
    assert shaded_meta.coverage == meta.coverage
    darker = plain.astype(int).min(axis=-1) - shaded.astype(int).min(axis=-1)
    assert darker.min() >= 0
    below, above = darker[222:226, 110:170].mean(), darker[54:58, 110:170].mean()
    assert below > 60 > 30 > above
    assert darker.max() <= 128
    assert darker[100:180, 110:170].max() == 0, "the subject itself is shaded"
    weak = made(background="white", shadow="soft 20%")[0]
    assert (weak.astype(int) >= shaded).all()


def test_a_shadow_on_nothing_is_black_and_transparent() -> None:
    pixels, _, _ = made(shadow="soft")
    below = pixels[224, 140]
    assert 20 < below[3] < 100
    assert below[:3].max() == 0
    assert pixels[0, 0].tolist() == [0, 0, 0, 0]


def test_semitransparency_off_makes_the_inside_opaque_and_leaves_edge_and_holes() -> None:
    alpha = np.zeros((300, 400), np.uint8)
    alpha[60:220, 100:180] = 150
    alpha[120:150, 120:150] = 0  # a hole
    filled = opaque_inside(alpha, Box(100, 60, 80, 160))
    assert (filled[75:110, 110:170] == 255).all()
    assert np.array_equal(filled[alpha == 0], alpha[alpha == 0])
    assert np.array_equal(filled[60:62, 100:180], alpha[60:62, 100:180])
    assert (filled >= alpha).all()
    photo = save(np.dstack([smooth(400, 300), alpha]), "PNG")
    on, off = (made(image=photo, semitransparency=flag)[0][..., 3] for flag in ("on", "off"))
    assert on[90, 140] == 150
    assert off[90, 140] == 255
    touching = np.full((300, 400), 150, np.uint8)
    assert (opaque_inside(touching, Box(0, 0, 400, 300))[:, 0] == 255).all(), "the photo's border is no outline"


def test_presets_expand_and_tell_what_is_violated() -> None:
    _, meta, image = made(preset="amazon")
    assert (image.format, image.size) == ("JPEG", (2000, 2000))
    assert [violation.rule for violation in meta.violations] == [Rule.ENLARGED]
    assert "400 × 300" in meta.violations[0].message
    _, meta, image = made(preset="walmart", canvas="1000x800", background="#fafafa", output="webp", scale="50%")
    assert (image.format, image.size) == ("WEBP", (1000, 800))
    assert [violation.rule for violation in meta.violations] == [
        Rule.BACKGROUND_NOT_WHITE,
        Rule.PICTURE_TOO_SMALL,
        Rule.NOT_SQUARE,
        Rule.ENLARGED,
        Rule.WRONG_FORMAT,
    ]
    _, meta, _ = made(preset="google", scale="50%", shadow="soft")
    assert [violation.rule for violation in meta.violations] == [
        Rule.SUBJECT_TOO_SMALL,
        Rule.BACKGROUND_NOT_WHITE,
        Rule.ENLARGED,
    ]
    _, meta, _ = made(preset="google", output="png", background="transparent", crop="on", canvas="square")
    assert [violation.rule for violation in meta.violations] == [Rule.SUBJECT_TOO_LARGE, Rule.PICTURE_TOO_SMALL]


def test_a_large_photo_violates_nothing() -> None:
    photo = cv2.resize(smooth(400, 300), (4000, 3000), interpolation=cv2.INTER_CUBIC)
    for preset in ("amazon", "ebay", "google", "walmart"):
        _, meta, _ = made(image=save(photo, "JPEG"), preset=preset)
        assert meta.violations == [], preset


def test_without_a_subject_a_preset_says_so() -> None:
    _, meta, _ = made(preset="ebay", mask=np.zeros((512, 512), np.float32))
    assert Rule.NO_SUBJECT in [violation.rule for violation in meta.violations]
    assert meta.warnings == ["no_subject"]


def test_a_result_that_the_format_cannot_hold_or_that_is_too_large_is_refused() -> None:
    error = failed(image=save(np.full((4, 17000, 3), 90, np.uint8), "PNG"), output="webp", roi="0% 0% 99% 100%")
    assert (error.code, error.field) == (ErrorCode.INVALID_OPTION, "output")
    error = failed(canvas="square", limits=Limits(max_pixels=150_000))
    assert (error.code, error.field) == (ErrorCode.INVALID_OPTION, "canvas")
