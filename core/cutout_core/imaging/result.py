"""The second half of a row of `postprocess`: the photo and its final alpha to the encoded result."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from cutout_core.contract import Box, Options, ResultWarning, RowMeta
from cutout_core.imaging.background import Backdrop, read_background
from cutout_core.imaging.band import photo_grid
from cutout_core.imaging.cleanup import clean_alpha
from cutout_core.imaging.color_profile import to_srgb
from cutout_core.imaging.compose import clear_hidden, flatten, flatten_on, over, premultiply
from cutout_core.imaging.decontaminate import decontaminate
from cutout_core.imaging.draft import Draft, Photo
from cutout_core.imaging.encode import check_size
from cutout_core.imaging.frame import SOFT, Frame, SubjectBoxes, plan_frame
from cutout_core.imaging.marketplace import Finished, check
from cutout_core.imaging.place import place, visible_box
from cutout_core.imaging.preprocess import BACKDROP
from cutout_core.imaging.result_file import write_alpha, write_archive, write_image
from cutout_core.imaging.semitransparency import opaque_inside
from cutout_core.imaging.shadow import soft_shadow, with_shadow
from cutout_core.imaging.subject import HALF_ENLARGED, measure, subject_box

_WHITE = (255, 255, 255, 255)

UInt8 = npt.NDArray[np.uint8]


def finish(photo: Photo, alpha: UInt8, draft: Draft) -> bytes:
    """The encoded result; completes the draft's META. alpha: uint8 [H, W] at the photo's size.

    Raises `CutoutError`, of INVALID_OPTION where the result cannot be as asked.
    """
    options, meta, watch = draft.options, draft.meta, draft.watch
    if options.cleanup:
        alpha = clean_alpha(alpha)
        watch.lap("cleanup")
    # the lesser of both, not their product: a cut-out that is cut out again keeps its soft edge as it is
    final = alpha if photo.existing is None else cv2.min(alpha, photo.existing)
    shown = None
    if options.reframes or not options.semitransparency:
        shown = visible_box(final)
    if shown is not None and not options.semitransparency:
        final = opaque_inside(final, shown)
    rgb, icc, cleared = photo.rgb, None, False
    if not options.only_alpha:
        rgb, icc = _colors(photo, options, meta)
        if options.decontaminate:
            rgb = _foreground(rgb, alpha, photo)
            cleared = photo.existing is None
            watch.lap("decontaminate")
    enlarged = 1.0
    if options.framed:
        frame = _frame(photo, final, shown, draft)
        rgb, final = place(rgb, final, frame, (photo.region.left, photo.region.top))
        meta.width, meta.height, enlarged, cleared = frame.width, frame.height, frame.enlarged, False
        watch.lap("frame")
    meta.subject, meta.coverage = measure(final)
    if meta.coverage == 0:
        meta.warn(ResultWarning.NO_SUBJECT)
    elif enlarged >= SOFT:
        meta.warn(ResultWarning.ENLARGED)
    encoded = _encoded(rgb, final, icc, draft, cleared)
    if options.preset is not None:
        meta.violations = check(options, _finished(len(encoded), enlarged, meta))
    return encoded


def _frame(photo: Photo, alpha: UInt8, shown: Box | None, draft: Draft) -> Frame:
    """The result's geometry. shown: the visible box of `alpha`, both of the searched region."""
    options, meta = draft.options, draft.meta
    subject = None
    if shown is not None:
        boxes = (subject_box(alpha, HALF_ENLARGED) or shown, shown)
        left, top = photo.region.left, photo.region.top
        subject = SubjectBoxes(*(Box(b.left + left, b.top + top, b.width, b.height) for b in boxes))
    frame = plan_frame(options, photo.full_width, photo.full_height, subject, draft.limits)
    check_size(frame.width, frame.height, options.output)
    meta.width, meta.height = frame.width, frame.height
    return frame


def _finished(size: int, enlarged: float, meta: RowMeta) -> Finished:
    cut_off = ResultWarning.SUBJECT_TOUCHES_BORDER.value in meta.warnings
    source = meta.source_width, meta.source_height
    return Finished(meta.width, meta.height, size, meta.subject, enlarged, cut_off, source)


def _encoded(rgb: UInt8, alpha: UInt8, icc: bytes | None, draft: Draft, cleared: bool) -> bytes:
    """cleared: the colours are zeros already where the alpha is 0."""
    options, watch = draft.options, draft.watch
    if options.only_alpha:
        encoded = write_alpha(alpha, options)
    elif options.output == "zip":
        encoded = write_archive(rgb, alpha, options, icc)
    else:
        rgb, visible, icc = _composed(rgb, alpha, icc, draft, cleared)
        watch.lap("compose")
        encoded = write_image(rgb, visible, options, icc)
    watch.lap("encode")
    return encoded


def _colors(photo: Photo, options: Options, meta: RowMeta) -> tuple[UInt8, bytes | None]:
    """RGB and the profile to embed, as the option `icc` asks."""
    if photo.icc is None or options.icc == "keep":
        return photo.rgb, photo.icc
    return _in_srgb(photo.rgb, photo.icc, meta), None


def _in_srgb(rgb: UInt8, icc: bytes | None, meta: RowMeta) -> UInt8:
    converted = rgb if icc is None else to_srgb(rgb, icc)
    if converted is None:
        meta.warn(ResultWarning.COLOR_PROFILE_IGNORED)
        return rgb
    return converted


def _foreground(rgb: UInt8, alpha: UInt8, photo: Photo) -> UInt8:
    """The subject's own colours, in `rgb` itself where the photo has no transparency: nobody needs it any more.

    Where the file says itself that a pixel is mixed, its colour is already the subject's.
    """
    if photo.existing is None:
        return decontaminate(rgb, alpha, photo.grid if rgb is photo.seen else None, in_place=True)
    # what the file hides is no background: its colours may be anything
    small = photo.grid if rgb is photo.rgb else photo_grid(flatten(rgb, photo.existing, BACKDROP))
    pure = decontaminate(rgb, alpha, small)
    kept: UInt8 = np.where((photo.existing == 255)[..., None], pure, rgb)
    return kept


def _composed(
    rgb: UInt8, alpha: UInt8, icc: bytes | None, draft: Draft, cleared: bool
) -> tuple[UInt8, UInt8 | None, bytes | None]:
    """RGB, alpha and profile of the result; no alpha where the background is opaque."""
    options, meta = draft.options, draft.meta
    if options.shadow is not None and meta.subject is not None:
        rgb, alpha = with_shadow(rgb, alpha, soft_shadow(alpha, meta.subject, options.shadow))
        cleared = False
    background = options.background or (_WHITE if options.output == "jpeg" else None)
    if background == "image":
        picture = read_background(draft.background, draft.limits, meta.width, meta.height)
        rgb, icc, behind = _same_profile(rgb, icc, picture, meta)
        return flatten_on(rgb, alpha, behind, in_place=True), None, icc
    if background is None:
        if options.alpha == "premultiplied":
            return premultiply(rgb, alpha), alpha, icc
        return (rgb if cleared else clear_hidden(rgb, alpha, in_place=True)), alpha, icc
    if background[3] == 255:
        return flatten(rgb, alpha, background[:3], in_place=True), None, icc
    rgb, alpha = over(rgb, alpha, background)
    return (premultiply(rgb, alpha) if options.alpha == "premultiplied" else rgb), alpha, icc


def _same_profile(rgb: UInt8, icc: bytes | None, picture: Backdrop, meta: RowMeta) -> tuple[UInt8, bytes | None, UInt8]:
    """Both in one colour space, sRGB where they differ: RGB, its profile, and the picture's RGB."""
    if icc == picture.icc:
        return rgb, icc, picture.rgb
    return _in_srgb(rgb, icc, meta), None, _in_srgb(picture.rgb, picture.icc, meta)
