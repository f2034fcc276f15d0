"""One row of `postprocess`: the encoded file again, the networks' mask and alpha to the encoded result.

A row is worked on in two halves, `begin_row` and `finish_row`, so that `tile_pass` can look at the edges of many rows
at once in between. `postprocess_row` is both.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from cutout_core.contract import Limits, Options, ResultWarning, RowMeta
from cutout_core.contract.tensors import MODES, QUALITY_ENGINES
from cutout_core.imaging.band import photo_grid
from cutout_core.imaging.compose import flatten
from cutout_core.imaging.confidence import judge
from cutout_core.imaging.decode import decode
from cutout_core.imaging.draft import Draft, Photo
from cutout_core.imaging.encode import check_size
from cutout_core.imaging.frame import check_frame, region
from cutout_core.imaging.header import read_header
from cutout_core.imaging.levels import mask_to_alpha
from cutout_core.imaging.preprocess import BACKDROP
from cutout_core.imaging.refine import refine_alpha
from cutout_core.imaging.resize import cut, downscale, result_size
from cutout_core.imaging.result import finish
from cutout_core.imaging.row import Stopwatch, read_options, row_error
from cutout_core.imaging.subject import has_subject
from cutout_core.imaging.tiles import plan_tiles

_logger = logging.getLogger("cutout.postprocess")

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PostprocessSettings:
    """Limits, and each engine's arithmetic for META (`{"segmentation": "bf16"}`).

    uncertified: engines that were forced to a precision without a certificate, of which every row is warned.
    tiles: whether rows are prepared for the second look of quality `high` (`tile_pass`).
    """

    limits: Limits
    precision: Mapping[str, str] = field(default_factory=dict)
    uncertified: frozenset[str] = frozenset()
    tiles: bool = False


@dataclass(frozen=True, slots=True)
class RowInput:
    """image, options: as `preprocess` got them. meta: what it wrote, with the quality. mask: the segmentation's, alpha:
    the matting network's or None without one; float32 [1, S, S] or [S, S] in 0..1. background: an encoded
    picture to put behind the subject, empty for none."""

    image: bytes
    options: bytes
    meta: bytes
    mask: Float32
    alpha: Float32 | None = None
    background: bytes = b""


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
        draft = Draft(meta, Stopwatch(meta, start), background=row.background, limits=settings.limits)
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
        if settings.uncertified.intersection(QUALITY_ENGINES[meta.quality]):
            meta.warn(ResultWarning.UNCERTIFIED_PRECISION)
        draft.options = read_options(row.options, meta.quality, background_image=bool(row.background))
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
            result = finish(draft.photo, draft.alpha, draft)
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
    part = region(options, header.width, header.height)
    if options.framed:
        check_frame(options, header.width, header.height, limits)
    else:
        meta.width, meta.height = result_size(header.width, header.height, options.size)
        check_size(meta.width, meta.height, options.output)
    decoded = decode(image, limits)
    for warning in decoded.warnings:
        meta.warn(warning)
    if options.framed:  # the size of the result is known once the subject is
        rgb, existing = cut(decoded.rgb, part), None if decoded.alpha is None else cut(decoded.alpha, part)
    else:
        rgb, existing = downscale(decoded.rgb, decoded.alpha, meta.width, meta.height)
    seen = rgb if existing is None else flatten(rgb, existing, BACKDROP)
    return Photo(rgb, existing, seen, photo_grid(seen), decoded.icc, part, header.width, header.height)


def _first_look(draft: Draft, photo: Photo, row: RowInput, settings: PostprocessSettings) -> None:
    """The alpha of the networks' one look at the whole photo: judged, at full size, and empty without a subject."""
    mask = _square(row.mask)
    alpha = mask_to_alpha(mask) if row.alpha is None else _square(row.alpha)
    meta = draft.meta
    judgement = judge(mask, alpha, photo.grid, meta.quality)
    meta.confidence = judgement.confidence
    for warning in judgement.warnings:
        meta.warn(warning)
    if not has_subject(mask):
        draft.alpha = np.zeros(photo.rgb.shape[:2], np.uint8)
        return
    draft.alpha = refine_alpha(photo.seen, alpha, row.alpha is None, photo.grid)
    if settings.tiles:
        if meta.mode not in MODES:
            raise ValueError("META's mode is unknown")
        height, width = photo.rgb.shape[:2]
        draft.plan = plan_tiles(alpha, width, height)


def _square(tensor: Float32) -> Float32:
    """float32 [1, S, S] or [S, S] as [S, S]. Raises ValueError where a value is no number."""
    square: Float32 = tensor.reshape(tensor.shape[-2:])
    if not np.isfinite(square).all():
        raise ValueError("the network's mask or alpha is not finite")
    return square
