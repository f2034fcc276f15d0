"""`semitransparency=off`: the inside of a subject becomes opaque, its edge and its holes stay."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from cutout_core.contract import Box

#: What has less alpha than this is outside or a hole; 5 % as for a visible box.
_OUTSIDE = 13
#: Depth below the outline at which the inside begins, and the width over which it becomes opaque, as shares of the
#: subject's longer side; at least a pixel each.
_DEPTH, _RAMP = 0.015, 0.015

UInt8 = npt.NDArray[np.uint8]


def opaque_inside(alpha: UInt8, subject: Box) -> UInt8:
    """uint8 [H, W] with 255 deep inside of what is visible; never less than `alpha`. subject: its visible box."""
    pad = 1
    top, left = max(0, subject.top - pad), max(0, subject.left - pad)
    part = (
        slice(top, subject.top + subject.height + pad),
        slice(left, subject.left + subject.width + pad),
    )
    side = max(subject.width, subject.height)
    shown = np.pad((alpha[part] >= _OUTSIDE).astype(np.uint8), 1)
    # What touches the photo's border is cut off there, not at its end: the padding must not count as outside.
    height, width = alpha.shape
    _continue_at_border(shown, (top == 0, part[0].stop >= height, left == 0, part[1].stop >= width))
    depth = cv2.distanceTransform(shown, cv2.DIST_L2, cv2.DIST_MASK_5)[1:-1, 1:-1]
    start, ramp = max(1.0, _DEPTH * side), max(1.0, _RAMP * side)
    inside = np.clip((depth - start) / ramp, 0, 1) * 255
    filled = alpha.copy()
    filled[part] = np.maximum(alpha[part], np.rint(inside).astype(np.uint8))
    return filled


def _continue_at_border(shown: UInt8, borders: tuple[bool, bool, bool, bool]) -> None:
    """The padding repeats its neighbours at each side (top, bottom, left, right) that is the photo's border."""
    top, bottom, left, right = borders
    if top:
        shown[0] = shown[1]
    if bottom:
        shown[-1] = shown[-2]
    if left:
        shown[:, 0] = shown[:, 1]
    if right:
        shown[:, -1] = shown[:, -2]
