"""How far a result can be trusted, and what may be wrong with it: from the mask, the alpha and the photo's thumbnail.

**Confidence** is the probability that the cut-out shows the right thing: that alpha and truth, both cut at 0.5, have an
intersection over union (IoU) of at least GOOD_IOU, or, where nothing was found, that there is nothing to find. Who
sends every result below some bound to a person can read from the bound how many misses remain.

It is a logistic regression on features that need no ground truth, fitted for each quality on the benchmark's training
split and checked on its test split (reports/calibration.md). `python -m cutout_build.quality.calibration fit` prints
its constants, which belong to the default engines and to that split's mixture of one empty scene to two and a half
subjects.

**Warnings** are rules with a threshold each; the same report has their rates of hits and false alarms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from operator import mul

import cv2
import numpy as np
import numpy.typing as npt

from cutout_core.contract import ResultWarning
from cutout_core.imaging.regions import find_regions
from cutout_core.imaging.subject import CERTAIN, POSSIBLE, has_subject

Float32 = npt.NDArray[np.float32]
UInt8 = npt.NDArray[np.uint8]

#: Side of the square on which mask and alpha are judged, and of that for colours, pixels.
SIDE, COLOR_SIDE = 256, 128

#: IoU from which a result counts as good.
GOOD_IOU = 0.9
#: The regression of each quality: a bias, then one weight for each of `features`.
WEIGHTS = {
    "fast": (-6.488, 2.514, -0.971),
    "standard": (-6.073, 2.774, -1.080),
    "high": (-5.001, 2.683, -0.666),
}
#: Probability that a photo in which nothing was found holds nothing; the fit gives the same to every quality.
EMPTY_CONFIDENCE = 0.99

#: `low_contrast_edge`: the edge is weak where subject and background beside it differ by less than the first (ΔE of CIE
#: 1976 in OpenCV's 8-bit L*a*b*); the warning comes from the second on, the weak share of the outline.
WEAK_EDGE, MIN_WEAK = 15.0, 0.15
#: `subject_touches_border`: least share of the photo's outline that the subject covers.
MIN_BORDER = 0.0075
#: `several_subjects`: separate parts of at least this share of the largest one's area count, from two on.
MIN_PART = 0.15
#: `probably_transparent`: alpha between the first two is see-through; the third is the least share of the subject's
#: inside that is. The inside is what lies at least INSIDE pixels (of SIDE) from where the mask is not certain.
SEE_THROUGH, MIN_SEE_THROUGH, INSIDE = (0.2, 0.8), 0.15, 5


@dataclass(frozen=True, slots=True)
class Judgement:
    """confidence: 0..1, see the module. warnings: in the order of ResultWarning."""

    confidence: float
    warnings: tuple[ResultWarning, ...]


def judge(mask: Float32, alpha: Float32, rgb: UInt8, quality: str) -> Judgement:
    """Confidence and warnings of one result, before it is brought to full size.

    mask: float32 [S, S] in 0..1, the segmentation's. alpha: float32 [S, S] in 0..1, the result's. rgb: uint8
    [h, w, 3], the whole photo squeezed to a square. All three may have any side from 128 on. quality: one of
    `contract.tensors.QUALITY_ENGINES`, whose mask and alpha these are. Where the mask shows no subject the warnings are
    empty: `no_subject` is told where the alpha is emptied.
    """
    if not has_subject(mask):
        return Judgement(EMPTY_CONFIDENCE, ())
    small_mask, small_alpha = _small(mask), _small(alpha)
    score = sum(map(mul, WEIGHTS[quality], (1.0, *features(small_mask, small_alpha))))
    rules = (
        (ResultWarning.LOW_CONTRAST_EDGE, weak_edge(small_alpha, rgb) >= MIN_WEAK),
        (ResultWarning.SUBJECT_TOUCHES_BORDER, border_contact(small_alpha) >= MIN_BORDER),
        (ResultWarning.SEVERAL_SUBJECTS, subjects(small_alpha) > 1),
        (ResultWarning.PROBABLY_TRANSPARENT, see_through(small_mask, small_alpha) >= MIN_SEE_THROUGH),
    )
    return Judgement(1 / (1 + math.exp(-score)), tuple(warning for warning, holds in rules if holds))


def features(mask: Float32, alpha: Float32) -> tuple[float, float]:
    """What confidence depends on, of a mask and an alpha, float32 [SIDE, SIDE] in 0..1 each.

    1. The logit of the IoU to expect if the mask's values were independent probabilities and the subject were what the
       alpha has above 0.5: Σ mask over it / (its area + Σ mask outside). It falls with a mask that is unsure anywhere
       and with an alpha that strays from the mask.
    2. The logarithm of the mask's doubt, Σ 1 - |2 mask - 1|, deep inside what may be subject, for each pixel of
       outline: doubt along the edge is normal, inside it says that the network wavers over a part.
    """
    inside = (alpha > 0.5).astype(np.uint8)
    area = float(np.count_nonzero(inside))
    kept = float(cv2.mean(mask, inside)[0]) * area
    expected = min(max(kept / max(area + float(mask.sum()) - kept, 1e-6), 0.01), 0.999)
    deep = cv2.erode((mask > POSSIBLE).astype(np.uint8), _SQUARE, borderValue=0)
    doubt = 1 - np.abs(2 * mask[deep > 0] - 1)
    outline = np.count_nonzero(cv2.morphologyEx(inside, cv2.MORPH_GRADIENT, _CROSS)) / 2
    return math.log(expected / (1 - expected)), math.log(float(doubt.sum()) / max(outline, 1.0) + 0.05)


def weak_edge(alpha: Float32, rgb: UInt8) -> float:
    """Share of the outline, 0..1, whose two sides have like colours; 0 where colours can be seen nowhere.

    alpha: float32 [S, S] in 0..1. rgb: uint8 [h, w, 3]. The colours of a place are the means of certain subject and of
    certain background within 4 pixels of COLOR_SIDE.
    """
    size = (COLOR_SIDE, COLOR_SIDE)
    small = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    lab = cv2.cvtColor(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), cv2.COLOR_RGB2LAB).astype(np.float32)
    edge = cv2.morphologyEx((small > 0.5).astype(np.uint8), cv2.MORPH_GRADIENT, _CROSS) > 0
    subject, subject_share = _local_color(lab, small > CERTAIN, edge)
    ground, ground_share = _local_color(lab, small < 1 - CERTAIN, edge)
    seen = (subject_share > _MIN_SEEN) & (ground_share > _MIN_SEEN)
    if not seen.any():
        return 0.0
    differences = np.linalg.norm(subject[seen] - ground[seen], axis=1)
    return float((differences < WEAK_EDGE).mean())


def border_contact(alpha: Float32) -> float:
    """Share of the photo's outline, 0..1, that is more subject than not; float32 [S, S] in 0..1."""
    border = np.concatenate([alpha[0], alpha[-1], alpha[1:-1, 0], alpha[1:-1, -1]])
    return float((border > 0.5).mean())


def subjects(alpha: Float32) -> int:
    """Number of separate parts of float32 [S, S] above 0.5 with at least MIN_PART of the largest one's area."""
    areas = find_regions(cv2.compare(alpha, 0.5, cv2.CMP_GT)).area[1:]
    return int(np.count_nonzero(areas >= MIN_PART * areas.max())) if len(areas) else 0


def see_through(mask: Float32, alpha: Float32) -> float:
    """Share of the subject's inside, 0..1, where the alpha is see-through; float32 [S, S] in 0..1 each.

    An alpha that is made from the mask alone has none: only a matting network tells glass from doubt.
    """
    inside = cv2.erode((mask > CERTAIN).astype(np.uint8), _DISC, borderValue=0) > 0
    if not inside.any():
        return 0.0
    values = alpha[inside]
    return float(((values > SEE_THROUGH[0]) & (values < SEE_THROUGH[1])).mean())


#: Least share of a place's surroundings that shows a side's colour.
_MIN_SEEN = 0.05
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
_SQUARE = np.ones((13, 13), np.uint8)
_DISC = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * INSIDE + 1, 2 * INSIDE + 1))


def _small(square: Float32) -> Float32:
    small: Float32 = cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
    return small


def _local_color(lab: Float32, where: npt.NDArray[np.bool_], asked: npt.NDArray[np.bool_]) -> tuple[Float32, Float32]:
    """For each of the n places in `asked`: the mean of float32 [S, S, 3] over the part of its surroundings that is in
    `where`, float32 [n, 3], and that part's share, float32 [n]. All bool [S, S]."""
    chosen = where.astype(np.uint8)
    share = cv2.blur(chosen.astype(np.float32), (9, 9))[asked]
    color: Float32 = cv2.blur(cv2.copyTo(lab, chosen), (9, 9))[asked] / np.maximum(share, 1e-6)[:, None]
    return color, share
