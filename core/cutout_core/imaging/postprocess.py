"""One row of `postprocess`: the encoded file again and the network's alpha to the encoded result."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cutout_core.contract import Limits, Options, ResultWarning, RowMeta
from cutout_core.imaging.color_profile import to_srgb
from cutout_core.imaging.compose import clear_hidden, flatten, multiply_alpha, over
from cutout_core.imaging.decode import DecodedImage, decode
from cutout_core.imaging.encode import check_size, encode
from cutout_core.imaging.header import read_header
from cutout_core.imaging.levels import mask_to_alpha
from cutout_core.imaging.png import write_png
from cutout_core.imaging.resize import downscale, result_size
from cutout_core.imaging.row import Stopwatch, read_options, row_error
from cutout_core.imaging.subject import coverage, has_subject, subject_box
from cutout_core.imaging.upscale import upscale

_WHITE = (255, 255, 255, 255)

_logger = logging.getLogger("cutout.postprocess")

UInt8 = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class PostprocessSettings:
    """Limits, the ensemble's quality, and each engine's arithmetic for META (`{"segmentation": "bf16"}`)."""

    limits: Limits
    quality: str = "fast"
    precision: Mapping[str, str] = field(default_factory=dict)


def postprocess_row(
    image: bytes, options: bytes, meta: bytes, alpha: npt.NDArray[np.float32], settings: PostprocessSettings
) -> tuple[bytes, RowMeta]:
    """The encoded result and the completed META.

    image, options: as `preprocess` got them. meta: what it wrote. alpha: float32 [1, S, S] or [S, S] in 0..1.
    Never raises: a row that fails, here or before, has `meta.error` and an empty result.
    """
    row = RowMeta()
    watch = Stopwatch(row)
    try:
        row = _parse_meta(meta)
        watch = Stopwatch(row, watch.start)
        if row.error is not None:
            return b"", row
        row.stamps["postprocess_start"] = watch.start
        if "preprocess_end" in row.stamps:
            row.timings_ms["engines"] = max(0.0, (watch.start - row.stamps["preprocess_end"]) * 1000)
        row.quality, row.precision = settings.quality, dict(settings.precision)
        result = _result(image, read_options(options, settings.quality), alpha, settings, row, watch)
    except Exception as error:  # one bad row never fails its batch
        row.error = row_error(error, _logger)
        result = b""
    row.stamps["postprocess_end"] = watch.total("postprocess")
    return result, row


def _parse_meta(meta: bytes) -> RowMeta:
    """META as `preprocess` wrote it. Raises ValueError for anything else, as a direct caller may send it."""
    row = RowMeta.from_json(meta)
    for table in (row.timings_ms, row.stamps):
        if not isinstance(table, dict) or not all(isinstance(value, int | float) for value in table.values()):
            raise ValueError("META's times are not numbers")
    if not isinstance(row.warnings, list):
        raise ValueError("META's warnings are not a list")
    return row


def _result(
    image: bytes,
    options: Options,
    alpha: npt.NDArray[np.float32],
    settings: PostprocessSettings,
    row: RowMeta,
    watch: Stopwatch,
) -> bytes:
    if not np.isfinite(alpha).all():
        raise ValueError("the network's alpha is not finite")
    header = read_header(image, settings.limits)
    width, height = result_size(header.width, header.height, options.size)
    check_size(width, height, options.output)
    row.width, row.height = width, height
    if options.output == "mask" and not header.has_alpha:  # a mask of an opaque file needs none of its pixels
        return _encode_mask(_full_alpha(alpha, None, row), row, watch)
    decoded = decode(image, settings.limits)
    for warning in decoded.warnings:
        row.warn(warning)
    rgb, existing = downscale(decoded.rgb, decoded.alpha, width, height)
    watch.lap("decode")
    mask = _full_alpha(alpha, existing, row)
    if options.output == "mask":
        return _encode_mask(mask, row, watch)
    watch.lap("alpha")
    rgb, icc = _colors(rgb, decoded, options, row)
    rgb, final = _composed(rgb, mask, options)
    watch.lap("compose")
    encoded = encode(rgb, final, options.output, icc)
    watch.lap("encode")
    return encoded


def _encode_mask(mask: UInt8, row: RowMeta, watch: Stopwatch) -> bytes:
    watch.lap("alpha")
    encoded = write_png(mask)
    watch.lap("encode")
    return encoded


def _full_alpha(alpha: npt.NDArray[np.float32], existing: UInt8 | None, row: RowMeta) -> UInt8:
    """uint8 [row.height, row.width], empty where no subject was found, times the transparency that the file brought.

    Fills META's subject and coverage, and its warning.
    """
    square = alpha.reshape(alpha.shape[-2:])
    if has_subject(square):
        mask = upscale(mask_to_alpha(square), row.width, row.height)
    else:
        mask = np.zeros((row.height, row.width), np.uint8)
    if existing is not None:
        mask = multiply_alpha(mask, existing)
    row.subject, row.coverage = subject_box(mask), coverage(mask)
    if row.coverage == 0:
        row.warn(ResultWarning.NO_SUBJECT)
    return mask


def _colors(rgb: UInt8, decoded: DecodedImage, options: Options, row: RowMeta) -> tuple[UInt8, bytes | None]:
    """RGB and the profile to embed, as the option `icc` asks."""
    if decoded.icc is None or options.icc == "keep":
        return rgb, decoded.icc
    converted = to_srgb(rgb, decoded.icc)
    if converted is None:
        row.warn(ResultWarning.COLOR_PROFILE_IGNORED)
        return rgb, None
    return converted, None


def _composed(rgb: UInt8, alpha: UInt8, options: Options) -> tuple[UInt8, UInt8 | None]:
    """RGB and alpha of the result; no alpha where the background is opaque."""
    background = options.background or (_WHITE if options.output == "jpeg" else None)
    if background is None:
        return clear_hidden(rgb, alpha), alpha
    if background[3] == 255:
        return flatten(rgb, alpha, background[:3]), None
    return over(rgb, alpha, background)
