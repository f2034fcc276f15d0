"""How well confidence keeps its word: bins, and the figures of one number."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cutout_build.quality.calibration import Outcome
from cutout_build.quality.reliability_plot import Bin

Float64 = NDArray[np.float64]

#: Half width of a 95 % interval in standard deviations.
_Z = 1.96


@dataclass(frozen=True, slots=True)
class Reliability:
    """expected_error: mean |confidence - share good| over the bins, weighted by their size. brier: mean squared error
    of confidence against 0 or 1; brier_constant: that of the best constant. auc: chance that a good result has the
    higher confidence of a random pair. rank_iou, rank_mae: Spearman's correlation of confidence with IoU and MAE."""

    count: int
    good: float
    expected_error: float
    brier: float
    brier_constant: float
    auc: float
    rank_iou: float
    rank_mae: float
    bins: tuple[Bin, ...]


def reliability(rows: Sequence[Outcome], groups: int) -> Reliability:
    """All figures of `rows` in bins of about equal size, by rising confidence."""
    ordered = sorted(rows, key=lambda row: row.confidence)
    bins = tuple(_bin(ordered[part[0] : part[-1] + 1]) for part in np.array_split(np.arange(len(ordered)), groups))
    confidence = np.array([row.confidence for row in ordered])
    good = np.array([row.good for row in ordered], np.float64)
    return Reliability(
        len(ordered),
        float(good.mean()),
        sum(group.count * abs(group.confidence - group.good) for group in bins) / len(ordered),
        float(np.square(confidence - good).mean()),
        float(good.mean() * (1 - good.mean())),
        _auc(confidence, good),
        spearman(confidence, np.array([row.iou for row in ordered])),
        spearman(confidence, np.array([row.mae for row in ordered])),
        bins,
    )


def spearman(first: Float64, second: Float64) -> float:
    """Correlation of ranks, -1..1; equal values share their mean rank."""
    return float(np.corrcoef(_ranks(first), _ranks(second))[0, 1])


def _bin(rows: Sequence[Outcome]) -> Bin:
    good = float(np.mean([row.good for row in rows]))
    low, high = wilson(good, len(rows))
    return Bin(
        len(rows),
        float(np.mean([row.confidence for row in rows])),
        good,
        low,
        high,
        float(np.mean([row.iou for row in rows])),
        float(np.mean([row.mae for row in rows])),
    )


def wilson(share: float, count: int) -> tuple[float, float]:
    """The 95 % interval of a share of `count` (E. B. Wilson, JASA 22, 1927)."""
    spread = _Z**2 / count
    center = (share + spread / 2) / (1 + spread)
    half = _Z * (share * (1 - share) / count + spread / (4 * count)) ** 0.5 / (1 + spread)
    return max(0.0, center - half), min(1.0, center + half)


def _auc(confidence: Float64, good: Float64) -> float:
    ranks, hits = _ranks(confidence), good > 0.5
    pairs = hits.sum() * (~hits).sum()
    return float((ranks[hits].sum() - hits.sum() * (hits.sum() + 1) / 2) / pairs) if pairs else float("nan")


def _ranks(values: Float64) -> Float64:
    """1 for the smallest; the mean rank for equal ones."""
    _, inverse, counts = np.unique(values, return_inverse=True, return_counts=True)
    last = np.cumsum(counts)
    ranks: Float64 = (last - (counts - 1) / 2)[inverse]
    return ranks
