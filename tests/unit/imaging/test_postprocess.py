from __future__ import annotations

import json
import logging
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cutout_core.contract import Box, CutoutError, ErrorCode, Limits, RowError, RowMeta
from cutout_core.imaging import result as result_half
from cutout_core.imaging.normalize import NetworkInput
from cutout_core.imaging.postprocess import PostprocessSettings, RowInput, postprocess_row
from cutout_core.imaging.preprocess import PreprocessSettings, preprocess_row

from .images import PILLOW_FORMATS, Array, exif, linear_rgb_profile, save, smooth

PREPROCESS = PreprocessSettings(Limits(), NetworkInput(64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), False))
PRECISION = {"segmentation": "bf16", "matting": "fp32", "segmentation_high": "fp16"}
SETTINGS = PostprocessSettings(Limits(), precision=PRECISION)
FAST, STANDARD = ("SEGMENTATION_IMAGE",), ("SEGMENTATION_IMAGE", "MATTING_IMAGE", "MODE")


def fast_meta() -> bytes:
    """META as preprocess leaves it for the ensemble of quality `fast`."""
    return RowMeta(quality="fast").to_json()


def finish(  # the arguments in the order of RowInput
    image: bytes, options: bytes, meta: bytes, mask: Array, alpha: Array | None = None
) -> tuple[bytes, RowMeta]:
    return postprocess_row(RowInput(image, options, meta, mask, alpha), SETTINGS)


def disc() -> Array:
    """A soft disc in the middle, float32 [1, 512, 512]."""
    y, x = np.mgrid[:512, :512]
    return np.clip((150 - np.hypot(x - 255.5, y - 255.5)) / 20 + 0.5, 0, 1).astype(np.float32)[None]


def cut(
    image: bytes, mask: Array | None = None, alpha: Array | None = None, **options: Any
) -> tuple[Array, RowMeta, str]:
    """Pixels, META and Pillow's format of a whole row through both steps; with `alpha`, of quality `standard`."""
    raw = json.dumps(options).encode() if options else b""
    _, before = preprocess_row(image, raw, PREPROCESS, FAST if alpha is None else STANDARD)
    result, meta = finish(image, raw, before.to_json(), disc() if mask is None else mask, alpha)
    assert meta.error is None, meta.error
    with Image.open(BytesIO(result)) as file:
        return np.asarray(file), meta, file.format or ""


def failed(image: bytes, mask: Array | None = None, options: bytes = b"") -> RowError:
    result, meta = finish(image, options, fast_meta(), disc() if mask is None else mask)
    assert result == b""
    assert meta.error is not None
    return meta.error


@pytest.mark.parametrize("name", PILLOW_FORMATS)
def test_a_row(name: str) -> None:
    pixels, meta, kind = cut(save(smooth(), PILLOW_FORMATS[name][0]))
    assert kind == "PNG"
    assert pixels.shape == (64, 96, 4)
    opaque = pixels[..., 3] == 255
    assert opaque.any()
    assert np.abs(pixels[opaque][:, :3].astype(int) - smooth()[opaque]).mean() <= PILLOW_FORMATS[name][1]
    assert not pixels[pixels[..., 3] == 0].any()
    assert (meta.width, meta.height, meta.quality, meta.precision) == (96, 64, "fast", {"segmentation": "bf16"})
    assert meta.coverage == pytest.approx(pixels[..., 3].mean() / 255)
    rows, columns = np.nonzero(pixels[..., 3] >= 128)
    box = Box(int(columns.min()), int(rows.min()), int(np.ptp(columns)) + 1, int(np.ptp(rows)) + 1)
    assert meta.subject == box
    assert meta.confidence is not None
    assert 0 <= meta.confidence <= 1
    assert set(meta.warnings) <= {"low_contrast_edge"}  # a gradient has little contrast anywhere


@pytest.mark.parametrize(("engine", "warned"), [("segmentation", True), ("matting", False)])
def test_a_row_is_warned_of_an_engine_of_its_own_that_is_not_certified(engine: str, warned: bool) -> None:
    settings = PostprocessSettings(Limits(), uncertified=frozenset({engine}))
    _, before = preprocess_row(save(smooth(), "PNG"), b"", PREPROCESS, FAST)
    _, meta = postprocess_row(RowInput(save(smooth(), "PNG"), b"", before.to_json(), disc(), None), settings)
    assert ("uncertified_precision" in meta.warnings) is warned


def test_quality_standard_takes_the_matting_networks_alpha_as_it_is() -> None:
    """A faint alpha stays faint, where a mask would be stretched; and the mask decides whether anything is there."""
    faint = disc() * np.float32(0.4)
    pixels, meta, _ = cut(save(smooth(512, 512), "PNG"), disc(), faint, cleanup=False)
    assert pixels[256, 256, 3] == 102
    assert (meta.quality, meta.mode != "") == ("standard", True)
    assert meta.precision == {"segmentation": "bf16", "matting": "fp32"}
    pixels, meta, _ = cut(save(smooth(512, 512), "PNG"), faint, disc())
    assert not pixels.any()
    assert meta.warnings == ["no_subject"]


def test_decontamination_changes_colours_of_the_band_only_and_may_be_left_out() -> None:
    rng = np.random.default_rng(1)
    image = save(rng.integers(0, 256, (300, 400, 3), dtype=np.uint8), "PNG")
    on, off = cut(image)[0], cut(image, decontaminate="off")[0]
    assert np.array_equal(on[..., 3], off[..., 3])
    mixed = (off[..., 3] > 0) & (off[..., 3] < 255)
    changed = (on != off).any(axis=-1)
    assert changed.any()
    assert not (changed & ~mixed).any()
    with Image.open(BytesIO(image)) as source:
        assert np.array_equal(off[mixed][:, :3], np.asarray(source)[mixed])
    flat_on, flat_off = (cut(image, decontaminate=flag, background="#00ff00")[0] for flag in (True, False))
    assert not (flat_on != flat_off).any(axis=-1)[~mixed].any()


def test_a_files_own_soft_pixels_keep_their_colour() -> None:
    rgba = np.random.default_rng(2).integers(0, 256, (300, 400, 4), dtype=np.uint8)
    rgba[..., 3] = np.where(rgba[..., 3] < 128, 128, 255)
    on = cut(save(rgba, "PNG"))[0]
    soft = (rgba[..., 3] == 128) & (on[..., 3] > 0)
    assert np.array_equal(on[soft][:, :3], rgba[soft][:, :3])


def test_cleanup_may_be_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(result_half, "clean_alpha", lambda alpha: np.full_like(alpha, 255))
    image = save(smooth(), "PNG")
    assert (cut(image)[0][..., 3] == 255).all()
    pixels, meta, _ = cut(image, cleanup="off")
    assert pixels[0, 0, 3] == 0
    assert "cleanup" not in meta.timings_ms


def test_timings_tell_every_stage() -> None:
    meta = cut(save(smooth(), "JPEG"))[1]
    parts = ("decode", "refine", "cleanup", "decontaminate", "compose", "encode")
    assert set(meta.timings_ms) == {"decode_reduced", "preprocess", "engines", "postprocess", *parts}
    assert min(meta.timings_ms.values()) >= 0
    assert sum(meta.timings_ms[name] for name in parts) <= meta.timings_ms["postprocess"]
    assert meta.stamps["preprocess_end"] <= meta.stamps["postprocess_start"] <= meta.stamps["postprocess_end"]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_result_is_upright(orientation: int) -> None:
    pixels = cut(save(smooth(), "JPEG", exif=exif(orientation)))[0]
    assert pixels.shape[:2] == ((64, 96) if orientation < 5 else (96, 64))


def test_existing_transparency_bounds_the_result() -> None:
    rgba = smooth(channels=4)
    rgba[..., 3] = 128
    rgba[:, :48, 3] = 0
    pixels = cut(save(rgba, "PNG"))[0]
    opaque = cut(save(smooth(), "PNG"))[0][..., 3].astype(int)
    assert not pixels[:, :48].any()
    assert np.array_equal(pixels[:, 48:, 3], np.minimum(opaque[:, 48:], 128))
    assert np.array_equal(cut(save(rgba, "PNG"), output="mask")[0], pixels[..., 3])


def test_a_cut_out_that_is_cut_out_again_keeps_its_soft_edge() -> None:
    once = cut(save(smooth(512, 512), "PNG"))[0]
    assert ((once[..., 3] > 20) & (once[..., 3] < 235)).sum() > 1000
    alpha = once[None, ..., 3].astype(np.float32) / 255
    again = cut(save(once, "PNG"), alpha=alpha, cleanup="off")[0]
    assert np.array_equal(again, once)


def test_colours_under_hidden_pixels_play_no_part() -> None:
    rgba = smooth(channels=4)
    rgba[..., 3] = 255
    rgba[:, :40, 3] = 0
    other = rgba.copy()
    other[:, :40, :3] = np.random.default_rng(0).integers(0, 256, (64, 40, 3))
    assert np.array_equal(cut(save(rgba, "PNG"))[0], cut(save(other, "PNG"))[0])


@pytest.mark.parametrize(("output", "kind"), [("png", "PNG"), ("webp", "WEBP"), ("jpeg", "JPEG"), ("mask", "PNG")])
def test_outputs(output: str, kind: str) -> None:
    pixels, meta, found = cut(save(smooth(), "PNG"), output=output)
    assert found == kind
    assert pixels.shape[:2] == (64, 96)
    assert pixels.shape[2:] == {"jpeg": (3,), "mask": ()}.get(output, (4,))
    assert meta.subject is not None


def test_mask_is_the_alpha_of_the_cut_out() -> None:
    assert np.array_equal(cut(save(smooth(), "PNG"), output="mask")[0], cut(save(smooth(), "PNG"))[0][..., 3])


def test_jpeg_is_on_white_by_default_and_on_the_colour_asked_for() -> None:
    assert cut(save(smooth(), "PNG"), output="jpeg")[0][0, 0].min() >= 253
    corner = cut(save(smooth(), "PNG"), output="jpeg", background="#102030")[0][0, 0]
    assert np.abs(corner.astype(int) - (0x10, 0x20, 0x30)).max() <= 3


def test_background_colours() -> None:
    opaque = cut(save(smooth(), "PNG"), background="#ff0000")[0]
    assert opaque.shape == (64, 96, 3)
    assert opaque[0, 0].tolist() == [255, 0, 0]
    translucent = cut(save(smooth(), "PNG"), background="#ff000080")[0]
    assert translucent[0, 0].tolist() == [255, 0, 0, 128]
    assert translucent[32, 48].tolist() == [*smooth()[32, 48], 255]


def test_an_empty_scene_is_empty_and_says_so() -> None:
    faint = disc() * np.float32(0.4)
    pixels, meta, _ = cut(save(smooth(), "PNG"), faint)
    assert not pixels.any()
    assert (meta.subject, meta.coverage, meta.warnings) == (None, 0.0, ["no_subject"])
    assert (cut(save(smooth(), "PNG"), faint, background="white")[0] == 255).all()


def test_size_limits_the_result_and_never_enlarges_it() -> None:
    image = save(smooth(800, 600), "PNG")
    pixels, meta, _ = cut(image, size=0.12)
    assert pixels.shape == (300, 400, 4)
    assert (meta.width, meta.height, meta.source_width, meta.source_height) == (400, 300, 800, 600)
    assert meta.subject is not None
    assert meta.subject.left + meta.subject.width <= 400
    assert np.array_equal(cut(image, size=50)[0], cut(image)[0])


def test_profile_is_kept_or_converted() -> None:
    image = save(smooth(), "PNG", icc_profile=linear_rgb_profile())

    def result(icc: str) -> tuple[int, bytes | None]:
        data, _ = finish(image, json.dumps({"icc": icc}).encode(), fast_meta(), disc())
        with Image.open(BytesIO(data)) as file:
            return int(np.asarray(file)[32, 48, 0]), file.info.get("icc_profile")

    level = int(smooth()[32, 48, 0])
    assert result("keep") == (level, linear_rgb_profile())
    converted, profile = result("srgb")
    assert profile is None
    assert converted == pytest.approx(255 * (1.055 * (level / 255) ** (1 / 2.4) - 0.055), abs=2)


def test_a_row_that_failed_before_passes_through() -> None:
    error = RowError.from_exception(CutoutError(ErrorCode.NOT_AN_IMAGE, "The bytes are not an image."))
    before = RowMeta(error=error)
    assert finish(b"text", b"", before.to_json(), disc()) == (b"", before)


@pytest.mark.parametrize("field", ["timings_ms", "stamps", "warnings", "quality"])
@pytest.mark.parametrize("value", [3, None, {"preprocess_end": "now"}])
@pytest.mark.usefixtures("caplog")
def test_a_meta_that_preprocess_never_writes_is_a_failed_row(field: str, value: object) -> None:
    meta = json.loads(fast_meta()) | {field: value}
    result, row = finish(save(smooth(), "PNG"), b"", json.dumps(meta).encode(), disc())
    assert result == b""
    assert row.error is not None
    assert row.error.code is ErrorCode.INTERNAL
    assert RowMeta.from_json(row.to_json()) == row


def test_alpha_may_come_without_its_channel_axis() -> None:
    image = save(smooth(), "PNG")
    with_axis = finish(image, b"", fast_meta(), disc(), disc())[0]
    assert finish(image, b"", fast_meta(), disc()[0], disc()[0])[0] == with_axis


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_an_alpha_that_is_no_number_is_a_defect_and_not_a_picture(
    value: float, caplog: pytest.LogCaptureFixture
) -> None:
    alpha = disc()
    alpha[0, 5, 5] = value
    with caplog.at_level(logging.ERROR, "cutout.postprocess"):
        assert failed(save(smooth(), "PNG"), alpha).code is ErrorCode.INTERNAL
    assert "not finite" in caplog.text


def test_limits_hold_here_too() -> None:
    image = save(smooth(), "PNG")
    strict = PostprocessSettings(Limits(max_pixels=100))
    _, meta = postprocess_row(RowInput(image, b"", fast_meta(), disc()), strict)
    assert meta.error is not None
    assert meta.error.code is ErrorCode.TOO_MANY_PIXELS


def test_a_side_that_webp_cannot_hold() -> None:
    wide = save(np.zeros((1, 16384, 3), np.uint8), "PNG")
    error = failed(wide, options=b'{"output":"webp"}')
    assert (error.code, error.field) == (ErrorCode.INVALID_OPTION, "output")


@pytest.mark.parametrize("size", [(1, 1), (1, 4000), (4000, 1)])
def test_odd_shapes(size: tuple[int, int]) -> None:
    for output in ("png", "webp", "jpeg", "mask"):
        pixels = cut(save(smooth(*size), "PNG"), np.ones((1, 512, 512), np.float32), output=output)[0]
        assert pixels.shape[:2] == (size[1], size[0])


def test_every_alpha_gives_its_own_result_whatever_runs_beside_it() -> None:
    image = save(smooth(), "PNG")
    before = fast_meta()
    alphas = [np.roll(disc(), shift, axis=2) for shift in range(0, 200, 25)]
    alone = [finish(image, b"", before, alpha)[0] for alpha in alphas]
    with ThreadPoolExecutor(4) as pool:
        together = list(pool.map(lambda alpha: finish(image, b"", before, alpha)[0], alphas))
    assert together == alone
    assert len(set(alone)) == len(alphas)


@settings(max_examples=40)
@given(st.binary(max_size=200), st.binary(max_size=30), st.binary(max_size=80))
def test_never_raises(image: bytes, options: bytes, meta: bytes) -> None:
    logging.getLogger("cutout.postprocess").disabled = True
    try:
        for raw in (meta, fast_meta()):
            result, row = finish(image, options, raw, disc())
            assert result == b""
            assert row.error is not None
    finally:
        logging.getLogger("cutout.postprocess").disabled = False
