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
from cutout_core.imaging.normalize import normalize
from cutout_core.imaging.preprocess import BACKDROP, PreprocessSettings, preprocess_row
from cutout_core.imaging.resize import shrink

from .images import PILLOW_FORMATS, Array, animated, exif, png_bomb, save, smooth, upright

SETTINGS = PreprocessSettings(
    limits=Limits(), input_size=64, mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225), divide_by_max=False
)


def expected(rgb: Array) -> Array:
    return normalize(shrink(rgb, 64), SETTINGS.mean, SETTINGS.std, SETTINGS.divide_by_max)


@pytest.mark.parametrize("name", PILLOW_FORMATS)
def test_a_row(name: str) -> None:
    before = time.monotonic()
    tensor, meta = preprocess_row(save(smooth(), PILLOW_FORMATS[name][0]), b"", SETTINGS)
    assert meta.error is None
    assert (tensor.shape, tensor.dtype, tensor.flags.c_contiguous) == ((3, 64, 64), np.float32, True)
    assert np.abs(tensor - expected(smooth())).mean() < 0.1
    assert (meta.source_format, meta.source_width, meta.source_height) == (name, 96, 64)
    assert before <= meta.stamps["preprocess_start"] <= meta.stamps["preprocess_end"] <= time.monotonic()
    assert 0 < meta.timings_ms["decode_reduced"] < meta.timings_ms["preprocess"]
    assert RowMeta.from_json(meta.to_json()) == meta


@pytest.mark.parametrize("orientation", range(1, 9))
def test_the_network_sees_the_upright_image(orientation: int) -> None:
    tensor, meta = preprocess_row(save(smooth(801, 603), "JPEG", exif=exif(orientation)), b"", SETTINGS)
    assert np.abs(tensor - expected(upright(smooth(801, 603), orientation))).mean() < 0.05
    assert (meta.source_width, meta.source_height) == ((801, 603) if orientation < 5 else (603, 801))


def test_transparent_pixels_are_seen_on_a_neutral_backdrop() -> None:
    rgba = np.full((32, 32, 4), 7, np.uint8)
    rgba[..., 3] = 0
    tensor, _ = preprocess_row(save(rgba, "PNG"), b"", SETTINGS)
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
    tensor, meta = preprocess_row(image, options, SETTINGS)
    assert meta.error is not None
    assert (meta.error.code, meta.error.field) == (code, field)
    assert tensor.shape == (3, 64, 64)
    assert not tensor.any()
    assert "preprocess_end" in meta.stamps


def test_a_quality_that_contradicts_the_ensemble_is_refused() -> None:
    image = save(smooth(), "PNG")
    other = PreprocessSettings(SETTINGS.limits, 64, SETTINGS.mean, SETTINGS.std, False, quality="high")
    meta = preprocess_row(image, json.dumps({"quality": "fast"}).encode(), other)[1]
    assert meta.error is not None
    assert (meta.error.code, meta.error.field) == (ErrorCode.INVALID_OPTION, "quality")
    assert preprocess_row(image, b'{"quality":"fast"}', SETTINGS)[1].error is None


def test_a_defect_is_logged_and_not_told(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("secret detail")

    monkeypatch.setattr(preprocess, "shrink", fail)
    with caplog.at_level(logging.ERROR, "cutout.preprocess"):
        tensor, meta = preprocess_row(save(smooth(), "PNG"), b"", SETTINGS)
    assert meta.error is not None
    assert meta.error.code is ErrorCode.INTERNAL
    assert "secret" not in meta.error.message
    assert "secret detail" in caplog.text
    assert not tensor.any()


@settings(max_examples=60)
@given(st.binary(max_size=300), st.binary(max_size=40))
def test_never_raises(image: bytes, options: bytes) -> None:
    tensor, meta = preprocess_row(image, options, SETTINGS)
    assert tensor.shape == (3, 64, 64)
    assert meta.error is not None
    assert meta.error.code is not ErrorCode.INTERNAL
