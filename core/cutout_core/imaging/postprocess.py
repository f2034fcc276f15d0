"""One row of `postprocess`: the encoded file again, the networks' mask and alpha to the encoded result.

A row is worked on in two halves, `begin_row` and `finish_row`, so that `tile_pass` can look at the edges of many rows
at once in between. `postprocess_row` is both.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import cv2
import numpy as np
import numpy.typing as npt

from cutout_core.contract import Limits, Options, ResultWarning, RowMeta
from cutout_core.contract.tensors import MODES, QUALITY_ENGINES
from cutout_core.imaging.band import photo_grid
from cutout_core.imaging.cleanup import clean_alpha
from cutout_core.imaging.color_profile import to_srgb
from cutout_core.imaging.compose import clear_hidden, flatten, multiply_alpha, over
from cutout_core.imaging.confidence import judge
from cutout_core.imaging.decode import decode
from cutout_core.imaging.decontaminate import decontaminate
from cutout_core.imaging.encode import check_size, encode
from cutout_core.imaging.header import read_header
from cutout_core.imaging.levels import mask_to_alpha
from cutout_core.imaging.preprocess import BACKDROP
from cutout_core.imaging.refine import refine_alpha
from cutout_core.imaging.resize import downscale, result_size
from cutout_core.imaging.row import Stopwatch, read_options, row_error
from cutout_core.imaging.subject import coverage, has_subject, subject_box
from cutout_core.imaging.tiles import TilePlan, plan_tiles

_WHITE = (255, 255, 255, 255)
#: Side of the square thumbnail whose colours are judged, pixels.
_THUMBNAIL = 256

_logger = logging.getLogger("cutout.postprocess")

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PostprocessSettings:
    """Limits, and each engine's arithmetic for META (`{"segmentation": "bf16"}`).

    tiles: whether rows are prepared for the second look of quality `high` (`tile_pass`).
    """

    limits: Limits
    precision: Mapping[str, str] = field(default_factory=dict)
    tiles: bool = False


@dataclass(frozen=True, slots=True)
class RowInput:
    """image, options: as `preprocess` got them. meta: what it wrote, with the quality. mask: the segmentation's, alpha:
    the matting network's or None without one; float32 [1, S, S] or [S, S] in 0..1."""

    image: bytes
    options: bytes
    meta: bytes
    mask: Float32
    alpha: Float32 | None = None


@dataclass(slots=True, eq=False)
class Photo:
    """The photo at the result's size. rgb: uint8 [H, W, 3]. existing: its own transparency, uint8 [H, W], or None.
    seen: `rgb` as the networks saw it, on the backdrop where it is transparent. grid: `seen`, shrunk by `photo_grid`.
    icc: the profile of the colours."""

    rgb: UInt8
    existing: UInt8 | None
    seen: UInt8
    grid: UInt8
    icc: bytes | None


@dataclass(slots=True, eq=False)
class Draft:
    """A row between its two halves. One that has failed has `meta.error` and nothing else of use.

    alpha: uint8 [H, W] at the result's size. plan: where a second look is due.
    """

    meta: RowMeta
    watch: Stopwatch
    options: Options = field(default_factory=Options)
    photo: Photo | None = None
    alpha: UInt8 | None = None
    plan: TilePlan | None = None


def postprocess_row(row: RowInput, settings: PostprocessSettings) -> tuple[bytes, RowMeta]:
    """The encoded result and the completed META, without a second look.

    Never raises: a row that fails, here or before, has `meta.error` and an empty result.
    """
    return finish_row(begin_row(row, settings))


def begin_row(row: RowInput, settings: PostprocessSettings) -> Draft:
    """Decodes the file and brings the alpha to full size. Never raises, like `postprocess_row`."""
    meta = RowMeta()
    draft = Draft(meta, Stopwatch(meta))
    try:
        start = draft.watch.start
        meta = _parse_meta(row.meta)
        draft = Draft(meta, Stopwatch(meta, start))
        if meta.error is not None:
            return draft
        meta.stamps["postprocess_start"] = start
        if "preprocess_end" in meta.stamps:
            meta.timings_ms["engines"] = max(0.0, (start - meta.stamps["preprocess_end"]) * 1000)
        meta.precision = {
            engine: settings.precision[engine]
            for engine in QUALITY_ENGINES[meta.quality]
            if engine in settings.precision
        }
        draft.options = read_options(row.options, meta.quality)
        draft.photo = _photo(row.image, draft.options, settings.limits, meta)
        draft.watch.lap("decode")
        _first_look(draft, draft.photo, row, settings)
        draft.watch.lap("refine")
    except Exception as error:  # one bad row never fails its batch
        fail_row(draft, error)
    return draft


def finish_row(draft: Draft) -> tuple[bytes, RowMeta]:
    """The second half of a row; its alpha may have been improved in between. Never raises, like `postprocess_row`."""
    meta, result = draft.meta, b""
    if draft.photo is not None and draft.alpha is not None and meta.error is None:
        try:
            result = _result(draft.photo, draft.alpha, draft)
        except Exception as error:  # one bad row never fails its batch
            fail_row(draft, error)
    if "postprocess_start" in meta.stamps:
        meta.stamps["postprocess_end"] = draft.watch.total("postprocess")
    return result, meta


def fail_row(draft: Draft, error: Exception) -> None:
    """Ends a row: the error goes into its META, and its pixels are let go."""
    draft.meta.error = row_error(error, _logger)
    draft.photo = draft.alpha = draft.plan = None


def _parse_meta(meta: bytes) -> RowMeta:
    """META as `preprocess` wrote it. Raises ValueError for anything else, as a direct caller may send it."""
    row = RowMeta.from_json(meta)
    for table in (row.timings_ms, row.stamps):
        if not isinstance(table, dict) or not all(isinstance(value, int | float) for value in table.values()):
            raise ValueError("META's times are not numbers")
    if not isinstance(row.warnings, list):
        raise ValueError("META's warnings are not a list")
    if row.error is None and row.quality not in QUALITY_ENGINES:
        raise ValueError("META's quality is unknown")
    return row


def _photo(image: bytes, options: Options, limits: Limits, meta: RowMeta) -> Photo:
    header = read_header(image, limits)
    meta.width, meta.height = result_size(header.width, header.height, options.size)
    check_size(meta.width, meta.height, options.output)
    decoded = decode(image, limits)
    for warning in decoded.warnings:
        meta.warn(warning)
    rgb, existing = downscale(decoded.rgb, decoded.alpha, meta.width, meta.height)
    seen = rgb if existing is None else flatten(rgb, existing, BACKDROP)
    return Photo(rgb, existing, seen, photo_grid(seen), decoded.icc)


def _first_look(draft: Draft, photo: Photo, row: RowInput, settings: PostprocessSettings) -> None:
    """The alpha of the networks' one look at the whole photo: judged, at full size, and empty without a subject."""
    mask = _square(row.mask)
    alpha = mask_to_alpha(mask) if row.alpha is None else _square(row.alpha)
    thumbnail = cv2.resize(photo.seen, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
    judgement = judge(mask, alpha, thumbnail)
    meta = draft.meta
    meta.confidence = judgement.confidence
    for warning in judgement.warnings:
        meta.warn(warning)
    if not has_subject(mask):
        draft.alpha = np.zeros((meta.height, meta.width), np.uint8)
        return
    draft.alpha = refine_alpha(photo.seen, alpha, row.alpha is None, photo.grid)
    if settings.tiles:
        if meta.mode not in MODES:
            raise ValueError("META's mode is unknown")
        draft.plan = plan_tiles(alpha, meta.width, meta.height)


def _square(tensor: Float32) -> Float32:
    """float32 [1, S, S] or [S, S] as [S, S]. Raises ValueError where a value is no number."""
    square: Float32 = tensor.reshape(tensor.shape[-2:])
    if not np.isfinite(square).all():
        raise ValueError("the network's mask or alpha is not finite")
    return square


def _result(photo: Photo, alpha: UInt8, draft: Draft) -> bytes:
    options, meta, watch = draft.options, draft.meta, draft.watch
    if options.cleanup:
        alpha = clean_alpha(alpha)
        watch.lap("cleanup")
    final = alpha if photo.existing is None else multiply_alpha(alpha, photo.existing)
    meta.subject, meta.coverage = subject_box(final), coverage(final)
    if meta.coverage == 0:
        meta.warn(ResultWarning.NO_SUBJECT)
    if options.output == "mask":
        encoded = encode(photo.rgb, final, "mask", None)
        watch.lap("encode")
        return encoded
    rgb, icc = _colors(photo, options, meta)
    if options.decontaminate:
        rgb = _foreground(rgb, alpha, photo)
        watch.lap("decontaminate")
    rgb, visible = _composed(rgb, final, options)
    watch.lap("compose")
    encoded = encode(rgb, visible, options.output, icc)
    watch.lap("encode")
    return encoded


def _colors(photo: Photo, options: Options, meta: RowMeta) -> tuple[UInt8, bytes | None]:
    """RGB and the profile to embed, as the option `icc` asks."""
    if photo.icc is None or options.icc == "keep":
        return photo.rgb, photo.icc
    converted = to_srgb(photo.rgb, photo.icc)
    if converted is None:
        meta.warn(ResultWarning.COLOR_PROFILE_IGNORED)
        return photo.rgb, None
    return converted, None


def _foreground(rgb: UInt8, alpha: UInt8, photo: Photo) -> UInt8:
    """The subject's own colours. Where the file says itself that a pixel is mixed, its colour is already that."""
    pure = decontaminate(rgb, alpha, photo.grid if rgb is photo.seen else None)
    if photo.existing is None:
        return pure
    kept: UInt8 = np.where((photo.existing == 255)[..., None], pure, rgb)
    return kept


def _composed(rgb: UInt8, alpha: UInt8, options: Options) -> tuple[UInt8, UInt8 | None]:
    """RGB and alpha of the result; no alpha where the background is opaque."""
    background = options.background or (_WHITE if options.output == "jpeg" else None)
    if background is None:
        return clear_hidden(rgb, alpha), alpha
    if background[3] == 255:
        return flatten(rgb, alpha, background[:3]), None
    return over(rgb, alpha, background)
