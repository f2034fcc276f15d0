"""The metrics of image matting, at the ground truth's resolution.

`alpha` and `truth` are [H, W] float32 in 0..1 everywhere.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Alpha = NDArray[np.float32]

#: Ground-truth alpha strictly between these is an edge by itself.
SOFT_EDGE = (0.02, 0.98)
#: Radius of the edge band, pixels.
BAND_RADIUS = 8
#: Standard deviation of the gradient's Gaussian, pixels.
GRAD_SIGMA = 1.4


@dataclass(frozen=True, slots=True)
class Scores:
    """sad: Σ|Δ|/1000. mse, mae, band: means × 10³ (band: 0 where the truth has no edge). grad: Σ(Δ|∇|)²/1000.

    iou: intersection over union at 0.5.
    """

    sad: float
    mse: float
    mae: float
    grad: float
    band: float
    iou: float

    @classmethod
    def mean(cls, scores: list[Scores]) -> Scores:
        """The plain mean over images. Raises ValueError where there are none."""
        if not scores:
            raise ValueError("no scores to average")
        rows = [asdict(score) for score in scores]
        return cls(**{name: float(np.mean([row[name] for row in rows])) for name in rows[0]})


def score(alpha: Alpha, truth: Alpha) -> Scores:
    """All metrics of one image. Raises ValueError where the shapes differ."""
    if alpha.shape != truth.shape:
        raise ValueError(f"the alpha is {alpha.shape}, the ground truth {truth.shape}")
    return Scores(
        sad(alpha, truth),
        mse(alpha, truth),
        mae(alpha, truth),
        grad(alpha, truth),
        band(alpha, truth),
        iou(alpha, truth),
    )


def sad(alpha: Alpha, truth: Alpha) -> float:
    """Sum of absolute differences, in thousands."""
    return float(np.abs(alpha - truth).sum(dtype=np.float64)) / 1000


def mse(alpha: Alpha, truth: Alpha) -> float:
    """Mean squared error × 10³."""
    return float(np.square(alpha - truth).mean(dtype=np.float64)) * 1000


def mae(alpha: Alpha, truth: Alpha) -> float:
    """Mean absolute error × 10³."""
    return float(np.abs(alpha - truth).mean(dtype=np.float64)) * 1000


def grad(alpha: Alpha, truth: Alpha) -> float:
    """Gradient error of Rhemann et al., "A Perceptually Motivated Online Benchmark for Image Matting", CVPR 2009.

    Σ(|∇alpha| − |∇truth|)² in thousands, where ∇ are derivatives of a Gaussian of σ 1.4 with unit sum, in alpha per
    pixel. (The paper's own code scales its filters to unit L2 norm; its figures are about 96 times these.)
    """
    difference = _gradient_magnitude(alpha) - _gradient_magnitude(truth)
    return float(np.square(difference).sum(dtype=np.float64)) / 1000


def band(alpha: Alpha, truth: Alpha) -> float:
    """Mean absolute error × 10³ inside `edge_band(truth)`; 0 where the band is empty."""
    inside = edge_band(truth)
    return float(np.abs(alpha - truth)[inside].mean(dtype=np.float64)) * 1000 if inside.any() else 0.0


def iou(alpha: Alpha, truth: Alpha) -> float:
    """Intersection over union of alpha > 0.5 and truth > 0.5; 1 where both are empty."""
    found, real = alpha > 0.5, truth > 0.5
    union = np.count_nonzero(found | real)
    return np.count_nonzero(found & real) / union if union else 1.0


def edge_band(truth: Alpha) -> NDArray[np.bool_]:
    """Pixels within 8 px of soft alpha (0.02..0.98) or of a hard edge, which is a change of side of 0.5 between
    neighbours in a row or a column."""
    edge = (truth > SOFT_EDGE[0]) & (truth < SOFT_EDGE[1])
    inside = truth > 0.5
    across, down = inside[:, 1:] != inside[:, :-1], inside[1:] != inside[:-1]
    edge[:, 1:] |= across
    edge[:, :-1] |= across
    edge[1:] |= down
    edge[:-1] |= down
    size = 2 * BAND_RADIUS + 1
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (size, size))
    dilated: NDArray[np.bool_] = cv2.dilate(edge.astype(np.uint8), disc) > 0
    return dilated


def _gradient_magnitude(alpha: Alpha) -> Alpha:
    reach = round(4 * GRAD_SIGMA)
    offsets = np.arange(-reach, reach + 1, dtype=np.float64)
    smooth = np.exp(-(offsets**2) / (2 * GRAD_SIGMA**2))
    smooth /= smooth.sum()
    slope = offsets / GRAD_SIGMA**2 * smooth
    border = cv2.BORDER_REPLICATE
    across = cv2.sepFilter2D(alpha, cv2.CV_32F, slope, smooth, borderType=border)
    down = cv2.sepFilter2D(alpha, cv2.CV_32F, smooth, slope, borderType=border)
    magnitude: Alpha = np.hypot(across, down)
    return magnitude
