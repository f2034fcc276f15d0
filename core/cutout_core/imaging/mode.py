"""`mode=auto`: which kind of subject a photo shows, from its thumbnail, before any mask exists.

Two cues with a threshold each, and `object` where neither holds:

portrait  an upright frontal face (Viola and Jones, "Rapid Object Detection using a Boosted Cascade of Simple
          Features", CVPR 2001; the cascade that OpenCV ships) whose middle has the colour of skin, or a face in a photo
          without colour. A face smaller than about a sixth of the photo's longer side, one in profile and one behind
          a veil are not seen.
product   a sweep: along the photo's border one smooth, bright and neutral surface, and on it something that covers a
          plausible share and has a smooth outline. A rough outline (fur, hair, leaves) needs the edges of `object`.

A face beats a sweep, as a person before a studio wall is a portrait. Figures: reports/calibration.md.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import cv2
import cv2.data
import numpy as np
import numpy.typing as npt

from cutout_core.imaging.cascade import find_objects

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

#: Longer side on which faces are sought, and the smallest face that the cascade knows, pixels.
FACE_SIDE, WINDOW = 128, 20
#: Overlapping detections from which a face counts: one alone is mostly a texture.
MIN_DETECTIONS = 2
#: Chroma of skin (ITU-R BT.601, 0..255; ranges of Chai and Ngan, "Face Segmentation Using Skin-Color Map in
#: Videophone Applications", IEEE TCSVT 9(4), 1999) and the least share of a face's middle that has it.
SKIN_CR, SKIN_CB = (133, 173), (77, 127)
MIN_SKIN = 0.35
#: Least share of the photo that has the colour of skin for a face to be sought at all.
MIN_SKIN_ANYWHERE = 0.01
#: Spread of the chroma, 0..255, below which a photo counts as one without colour and its faces as skin.
COLORLESS = 3.0

#: Side of the square on which a sweep's surface is fitted, the border's width there, and the share of the border that
#: decides; the thing on it may touch the rest. Pixels, pixels, 0..1.
SWEEP_SIDE, RING, RING_KEPT = 64, 3, 0.75
#: Largest deviation of the border from a smooth surface, 0..255.
MAX_RIPPLE = 5.0
#: Least brightness of the surface anywhere, and its largest difference between channels, 0..255.
MIN_SWEEP, MAX_TINT = 110.0, 40.0
#: Side of the square on which the thing is sought, pixels, and the difference from the surface that makes it, 0..255.
THING_SIDE, STANDS_OUT = 512, 26
#: Share of the photo that the thing on a sweep covers.
MIN_SHARE, MAX_SHARE = 0.01, 0.85
#: Largest ratio of an outline's length to that of its shape smoothed by a Gaussian of the second's standard deviation,
#: pixels. On the training split's sweeps: 1.02 to 1.2 for most made things, 1.2 and more for fur, plumage and leaves.
MAX_ROUGHNESS, SMOOTHING = 1.15, 2.5


class ModeChoice(NamedTuple):
    """mode: portrait, product or object. certainty: 0.5..1, how far the cues are from the choice's threshold."""

    mode: str
    certainty: float


def choose_mode(rgb: UInt8, aspect: float = 1.0) -> ModeChoice:
    """The mode for a photo's thumbnail, uint8 [h, w, 3] RGB, the whole photo squeezed to any size.

    aspect: width / height of the photo over that of the thumbnail, so that faces are sought unsqueezed.
    """
    face, sweep = face_score(rgb, aspect), 0.0
    if face < 0.5:
        sweep = sweep_score(rgb)
    if max(face, sweep) < 0.5:
        return ModeChoice("object", 1 - max(face, sweep))
    return ModeChoice("portrait", face) if face >= 0.5 else ModeChoice("product", sweep)


def face_score(rgb: UInt8, aspect: float = 1.0) -> float:
    """0..1 for a face in uint8 [h, w, 3], squeezed as in `choose_mode`; 0.5 at the least number of detections that
    counts."""
    aspect *= rgb.shape[1] / rgb.shape[0]
    height = FACE_SIDE / max(aspect, 1.0)
    size = (max(1, round(height * aspect)), max(1, round(height)))
    ycrcb = cv2.cvtColor(cv2.resize(_half(rgb), size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2YCrCb)
    luma, cr, cb = cv2.split(ycrcb)
    skin = cv2.bitwise_and(cv2.inRange(cr, *SKIN_CR), cv2.inRange(cb, *SKIN_CB))
    if cr.std() + cb.std() < COLORLESS:
        skin[:] = 255
    if np.count_nonzero(skin) < MIN_SKIN_ANYWHERE * skin.size:
        return 0.0
    left, top, across, down = cv2.boundingRect(skin)
    part = np.s_[max(0, top - WINDOW) : top + down + WINDOW, max(0, left - WINDOW) : left + across + WINDOW]
    return _best_face(luma[part], skin[part])


def _best_face(luma: UInt8, skin: UInt8) -> float:
    best = 0
    for left, top, side, _, windows in find_objects(_CASCADE, luma):
        quarter = side // 4
        middle = skin[top + quarter : top + side - quarter, left + quarter : left + side - quarter]
        if np.count_nonzero(middle) >= MIN_SKIN * middle.size:
            best = max(best, windows)
    return best / (best + MIN_DETECTIONS)


def sweep_score(rgb: UInt8) -> float:
    """0..1 for a smooth-edged thing on a studio sweep in uint8 [h, w, 3]; 0.5 where the rules are just met."""
    coarse = cv2.resize(_half(rgb), (SWEEP_SIDE, SWEEP_SIDE), interpolation=cv2.INTER_AREA)
    terms, ripple = _border_terms(coarse.astype(np.float32))
    if ripple > MAX_RIPPLE:
        return 0.0
    surface = (_DESIGN @ terms).reshape(SWEEP_SIDE, SWEEP_SIDE, 3)
    tint = float((surface.max(axis=2) - surface.min(axis=2)).max())
    if float(surface.min()) < MIN_SWEEP or tint > MAX_TINT:
        return 0.0
    size = (THING_SIDE, THING_SIDE)
    paper = cv2.resize(np.clip(surface, 0, 255).astype(np.uint8), size, interpolation=cv2.INTER_LINEAR)
    red, green, blue = cv2.split(cv2.absdiff(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), paper))
    _, apart = cv2.threshold(cv2.max(cv2.max(red, green), blue), STANDS_OUT, 1, cv2.THRESH_BINARY)
    thing = largest_shape(apart)
    if not MIN_SHARE <= float(thing.mean()) <= MAX_SHARE:
        return 0.0
    return min(_falling(roughness(thing), MAX_ROUGHNESS), _falling(1 + ripple, 1 + MAX_RIPPLE))


def largest_shape(shapes: UInt8) -> UInt8:
    """The part of a 0/1 uint8 [h, w] with the largest outer outline, its holes filled; zero where there is none."""
    largest = np.zeros_like(shapes)
    outlines, _ = cv2.findContours(shapes, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    if outlines:
        cv2.drawContours(largest, [max(outlines, key=cv2.contourArea)], -1, 1, cv2.FILLED)
    return largest


def roughness(shape: UInt8) -> float:
    """Length of the outline of a 0/1 uint8 [h, w] over that of its smoothed shape; about 1 for a smooth one."""
    smooth = cv2.threshold(cv2.GaussianBlur(shape * 255, (0, 0), SMOOTHING), 127, 1, cv2.THRESH_BINARY)[1]
    return _outline(shape) / max(_outline(smooth), 1.0)


def _outline(shape: UInt8) -> float:
    contours, _ = cv2.findContours(shape, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_NONE)
    return float(sum(cv2.arcLength(contour, True) for contour in contours))


def _half(rgb: UInt8) -> UInt8:
    """A first step on the way to a smaller square: halving 512 pixels is many times faster than other factors."""
    half: UInt8 = cv2.resize(rgb, (256, 256), interpolation=cv2.INTER_AREA)
    return half


def _falling(value: float, limit: float) -> float:
    """For values from 1 on: 1 at 1, 0.5 at the limit, towards 0 beyond."""
    return 1 / (1 + max(0.0, (value - 1) / (limit - 1)) ** 2)


def _border_terms(rgb: Float32) -> tuple[Float32, float]:
    """The quadratic surface through the border of float32 [S, S, 3] as its terms, float32 [6, 3], and its ripple: the
    deviation that RING_KEPT of the border keeps.

    Fitted twice, the second time without what is farthest off, where the thing may touch the border.
    """
    ring = rgb[_RING_MASK]
    kept = np.ones(len(ring), bool)
    for _ in range(2):
        design = _RING_DESIGN[kept]
        terms: Float32 = np.linalg.solve(design.T @ design, design.T @ ring[kept])
        off = np.abs(ring - _RING_DESIGN @ terms).max(axis=1)
        ripple = float(np.quantile(off, RING_KEPT))
        kept = off <= ripple
    return terms, ripple


def _quadratic(side: int) -> Float32:
    """1, x, y, x², xy, y² of a square's pixels, float32 [side², 6], x and y in -1..1."""
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    y, x = (part.ravel() for part in np.meshgrid(axis, axis, indexing="ij"))
    return np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=1)


_DESIGN = _quadratic(SWEEP_SIDE)
_RING_MASK = np.ones((SWEEP_SIDE, SWEEP_SIDE), bool)
_RING_MASK[RING:-RING, RING:-RING] = False
_RING_DESIGN = _DESIGN[_RING_MASK.ravel()]
_CASCADE = Path(cv2.data.haarcascades) / "haarcascade_frontalface_alt2.xml"
