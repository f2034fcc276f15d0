from __future__ import annotations

import json
import logging
import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutout_core.contract import ErrorCode, Limits, RowMeta
from cutout_core.imaging import preprocess
from cutout_core.imaging.mode import ModeChoice
from cutout_core.imaging.normalize import NetworkInput, normalize
from cutout_core.imaging.preprocess import BACKDROP, PreprocessSettings, one_hot, preprocess_row
from cutout_core.imaging.resize import shrink

from .images import PILLOW_FORMATS, Array, animated, exif, png_bomb, save, smooth, upright

SMALL = NetworkInput(64, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225), False)
LARGE = NetworkInput(160, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), False)
SETTINGS = PreprocessSettings(Limits(), SMALL, LARGE)
STANDARD = ("SEGMENTATION_IMAGE", "MATTING_IMAGE", "MODE", "META")
HIGH = ("SEGMENTATION_HIGH_IMAGE", "MATTING_IMAGE", "MODE", "META")


def expected(rgb: Array) -> Array:
    return normalize(shrink(rgb, 64), SMALL.mean, SMALL.std, SMALL.divide_by_max)


def segmentation_image(image: bytes, options: bytes = b"") -> tuple[Array, RowMeta]:
    tensors, meta = preprocess_row(image, options, SETTINGS)
    assert set(tensors) == {"SEGMENTATION_IMAGE"}
    return tensors["SEGMENTATION_IMAGE"], meta


@pytest.mark.parametrize("name", PILLOW_FORMATS)
def test_a_row(name: str) -> None:
    before = time.monotonic()
    tensor, meta = segmentation_image(save(smooth(), PILLOW_FORMATS[name][0]))
    assert meta.error is None
    assert (tensor.shape, tensor.dtype, tensor.flags.c_contiguous) == ((3, 64, 64), np.float32, True)
    assert np.abs(tensor - expected(smooth())).mean() < 0.1
    assert (meta.source_format, meta.source_width, meta.source_height) == (name, 96, 64)
    assert before <= meta.stamps["preprocess_start"] <= meta.stamps["preprocess_end"] <= time.monotonic()
    assert 0 < meta.timings_ms["decode_reduced"] < meta.timings_ms["preprocess"]
    assert RowMeta.from_json(meta.to_json()) == meta


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_network_sees_the_upright_image(orientation: int) -> None:
    tensor, meta = segmentation_image(save(smooth(801, 603), "JPEG", exif=exif(orientation)))
    assert np.abs(tensor - expected(upright(smooth(801, 603), orientation))).mean() < 0.05
    assert (meta.source_width, meta.source_height) == ((801, 603) if orientation < 5 else (603, 801))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_region_of_a_turned_image_is_where_it_was_asked_for(orientation: int) -> None:
    """At sizes that the reduced decoding does not divide, where a shift by a part of a pixel is possible."""
    options = json.dumps({"roi": "100px 80px 420px 360px"}).encode()
    photo = smooth(1001, 1003)
    tensor, meta = segmentation_image(save(photo, "JPEG", exif=exif(orientation)), options)
    assert meta.error is None
    assert np.abs(tensor - expected(upright(photo, orientation)[80:360, 100:420])).mean() < 0.0155


def test_transparent_pixels_are_seen_on_a_neutral_backdrop() -> None:
    rgba = np.full((32, 32, 4), 7, np.uint8)
    rgba[..., 3] = 0
    tensor, _ = segmentation_image(save(rgba, "PNG"))
    assert np.array_equal(tensor, expected(np.full((32, 32, 3), BACKDROP, np.uint8)))


def test_warnings_are_told() -> None:
    assert preprocess_row(animated("GIF"), b"", SETTINGS)[1].warnings == ["animated_first_frame"]
    damaged = save(smooth(), "PNG", icc_profile=b"junk")
    assert preprocess_row(damaged, b"", SETTINGS)[1].warnings == ["color_profile_ignored"]


@pytest.mark.parametrize(
    ("image", "options", "code", "field"),
    [
        (b"", b"", ErrorCode.EMPTY_BODY, None),
        (b"text", b"", ErrorCode.NOT_AN_IMAGE, None),
        (b"8BPS\0\1", b"", ErrorCode.UNSUPPORTED_FORMAT, None),
        (save(smooth(), "PNG")[:2000], b"", ErrorCode.TRUNCATED_IMAGE, None),
        (png_bomb(0, 1), b"", ErrorCode.CORRUPT_IMAGE, None),
        (png_bomb(50_000, 50_000), b"", ErrorCode.TOO_MANY_PIXELS, None),
        (b"\xff\xd8\xff" + bytes(33 * 1024 * 1024), b"", ErrorCode.TOO_MANY_BYTES, None),
        (save(smooth(), "PNG"), b'{"colour":1}', ErrorCode.UNKNOWN_OPTION, "colour"),
        (save(smooth(), "PNG"), b'{"output":"bmp"}', ErrorCode.INVALID_OPTION, "output"),
        (save(smooth(), "PNG"), b"{", ErrorCode.INVALID_OPTION, "OPTIONS"),
    ],
)
def test_a_bad_row_is_data(image: bytes, options: bytes, code: ErrorCode, field: str | None) -> None:
    tensor, meta = segmentation_image(image, options)
    assert meta.error is not None
    assert (meta.error.code, meta.error.field) == (code, field)
    assert tensor.shape == (3, 64, 64)
    assert not tensor.any()
    assert "preprocess_end" in meta.stamps


def test_every_ensemble_gets_what_it_asks_for_and_nothing_else() -> None:
    image = save(smooth(801, 603), "JPEG")
    standard, meta = preprocess_row(image, b"", SETTINGS, STANDARD)
    assert set(standard) == set(STANDARD) - {"META"}
    assert meta.quality == "standard"
    high, meta = preprocess_row(image, b"", SETTINGS, HIGH)
    assert set(high) == set(HIGH) - {"META"}
    assert meta.quality == "high"
    assert high["SEGMENTATION_HIGH_IMAGE"].shape == (3, 160, 160)
    assert np.array_equal(high["MATTING_IMAGE"], standard["MATTING_IMAGE"])
    square = standard["MATTING_IMAGE"]
    assert (square.shape, square.dtype, square.flags.c_contiguous) == ((3, 512, 512), np.uint8, True)
    assert np.abs(square.transpose(1, 2, 0).astype(int) - shrink(smooth(801, 603), 512)).mean() < 1
    fast, meta = segmentation_image(image)
    assert meta.quality == "fast"
    assert np.abs(fast - standard["SEGMENTATION_IMAGE"]).mean() < 0.02


def test_smaller_inputs_go_on_from_the_larger_ones_halvings_exactly() -> None:
    image = save(smooth(1400, 1100), "PNG")
    tensors, _ = preprocess_row(image, b"", SETTINGS, {*STANDARD, *HIGH})
    assert np.array_equal(tensors["SEGMENTATION_IMAGE"], expected(smooth(1400, 1100)))
    assert np.array_equal(tensors["MATTING_IMAGE"].transpose(1, 2, 0), shrink(smooth(1400, 1100), 512))


@pytest.mark.parametrize(("mode", "hot"), [("product", 0), ("portrait", 1), ("object", 2)])
def test_the_mode_reaches_the_network_and_meta(mode: str, hot: int) -> None:
    options = json.dumps({"mode": mode}).encode()
    tensors, meta = preprocess_row(save(smooth(), "PNG"), options, SETTINGS, STANDARD)
    assert tensors["MODE"].shape == (3, 1, 1)
    assert np.array_equal(tensors["MODE"].ravel(), np.eye(3, dtype=np.float32)[hot])
    assert np.array_equal(tensors["MODE"], one_hot(mode))
    assert (meta.mode, meta.mode_certainty) == (mode, None)


def test_an_automatic_mode_tells_its_choice_and_certainty(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[float] = []

    def choose(rgb: Array, aspect: float) -> ModeChoice:
        assert (rgb.shape, rgb.dtype) == ((512, 512, 3), np.uint8)
        seen.append(aspect)
        return ModeChoice("portrait", 0.875)

    monkeypatch.setattr(preprocess, "choose_mode", choose)
    tensors, meta = preprocess_row(save(smooth(96, 64), "PNG"), b"", SETTINGS, STANDARD)
    assert seen == [1.5]
    assert np.array_equal(tensors["MODE"], one_hot("portrait"))
    assert (meta.mode, meta.mode_certainty) == ("portrait", 0.875)
    assert segmentation_image(save(smooth(), "PNG"))[1].mode == ""


@pytest.mark.parametrize("wanted", [STANDARD, HIGH])
def test_a_bad_row_has_zeros_for_every_input(wanted: tuple[str, ...]) -> None:
    good, _ = preprocess_row(save(smooth(), "PNG"), b"", SETTINGS, wanted)
    tensors, meta = preprocess_row(b"text", b"", SETTINGS, wanted)
    assert meta.error is not None
    assert {name: (t.shape, t.dtype) for name, t in tensors.items()} == {
        name: (t.shape, t.dtype) for name, t in good.items()
    }
    assert not any(tensor.any() for tensor in tensors.values())


def test_an_input_without_a_recipe_is_a_mistake_of_the_caller() -> None:
    with pytest.raises(ValueError, match="no engine takes SEGMENTATION_HIGH_IMAGE"):
        preprocess_row(save(smooth(), "PNG"), b"", PreprocessSettings(Limits(), SMALL), HIGH)


def test_a_quality_may_be_named_or_left_out_but_not_contradicted() -> None:
    image = save(smooth(), "PNG")
    for quality, wanted in (("fast", ("SEGMENTATION_IMAGE",)), ("standard", STANDARD), ("high", HIGH)):
        named = json.dumps({"quality": quality}).encode()
        assert preprocess_row(image, named, SETTINGS, wanted)[1].error is None
        assert preprocess_row(image, b"", SETTINGS, wanted)[1].error is None
    meta = preprocess_row(image, b'{"quality":"fast"}', SETTINGS, STANDARD)[1]
    assert meta.error is not None
    assert (meta.error.code, meta.error.field) == (ErrorCode.INVALID_OPTION, "quality")
    meta = preprocess_row(image, b'{"mode":"portrait"}', SETTINGS)[1]
    assert meta.error is not None
    assert (meta.error.code, meta.error.field) == (ErrorCode.INVALID_OPTION, "mode")


def test_a_defect_is_logged_and_not_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(preprocess, "squeeze", fail)
    with caplog.at_level(logging.ERROR, "cutout.preprocess"):
        tensor, meta = segmentation_image(save(smooth(), "PNG"))
    assert meta.error is not None
    assert meta.error.code is ErrorCode.INTERNAL
    assert "secret" not in meta.error.message
    assert "secret detail" in caplog.text
    assert not tensor.any()


@settings(max_examples=60)
@given(st.binary(max_size=300), st.binary(max_size=40))
def test_never_raises(image: bytes, options: bytes) -> None:
    tensor, meta = segmentation_image(image, options)
    assert tensor.shape == (3, 64, 64)
    assert meta.error is not None
    assert meta.error.code is not ErrorCode.INTERNAL
