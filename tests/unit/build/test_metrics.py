"""The metrics against cases small enough to work out by hand."""

from __future__ import annotations

import math
from dataclasses import asdict

import numpy as np
import pytest

from cutout_build.quality import metrics
from cutout_build.quality.metrics import Scores


def half_plane(size: int = 40, columns: int = 20) -> metrics.Alpha:
    """1 in the first columns, 0 in the others."""
    alpha = np.zeros((size, size), np.float32)
    alpha[:, :columns] = 1
    return alpha


def test_differences_of_a_two_by_two_image() -> None:
    truth = np.array([[1, 0], [0.5, 0]], np.float32)
    alpha = np.array([[0.5, 0], [0.5, 0.1]], np.float32)
    assert metrics.sad(alpha, truth) == pytest.approx(0.6 / 1000)
    assert metrics.mae(alpha, truth) == pytest.approx(0.6 / 4 * 1000)
    assert metrics.mse(alpha, truth) == pytest.approx((0.25 + 0.01) / 4 * 1000)


def test_iou_counts_pixels_above_a_half() -> None:
    truth = np.array([[1, 1, 0, 0.5]], np.float32)
    alpha = np.array([[1, 0.5, 0.6, 0]], np.float32)
    assert metrics.iou(alpha, truth) == pytest.approx(1 / 3)
    assert metrics.iou(np.zeros_like(truth), np.zeros_like(truth)) == 1


def test_the_band_reaches_eight_pixels_from_a_hard_edge() -> None:
    inside = metrics.edge_band(half_plane())
    # Columns 19 and 20 touch the edge; eight more on either side.
    assert inside.all(axis=0).nonzero()[0].tolist() == list(range(11, 29))
    assert np.array_equal(inside.any(axis=0), inside.all(axis=0))


@pytest.mark.parametrize(
    ("value", "is_edge"), [(0.01, False), (0.02, False), (0.03, True), (0.97, True), (0.99, False)]
)
def test_soft_alpha_is_an_edge_by_itself(value: float, is_edge: bool) -> None:
    truth = np.full((40, 40), np.float32(round(value)), np.float32)
    truth[20, 20] = value
    inside = metrics.edge_band(truth)
    assert inside[20, 20] == is_edge
    assert inside[20, 28] == is_edge
    assert not inside[20, 29]


def test_band_error_ignores_what_is_far_from_the_edge() -> None:
    truth = half_plane()
    wrong_far_away, wrong_at_the_edge = truth.copy(), truth.copy()
    wrong_far_away[:, :11] = 0
    wrong_at_the_edge[:, 19] = 0
    assert metrics.band(wrong_far_away, truth) == 0
    assert metrics.band(wrong_at_the_edge, truth) == pytest.approx(1000 / 18)
    assert metrics.band(np.ones((9, 9), np.float32), np.zeros((9, 9), np.float32)) == 0


def test_grad_of_a_straight_edge_against_nothing() -> None:
    # A step under a Gaussian derivative is the Gaussian itself, whose squares sum to 1 / (2 √π σ) in each row;
    # sampling at whole pixels costs about 2 %.
    truth = half_plane(size=60, columns=30)
    per_row = 1 / (2 * math.sqrt(math.pi) * metrics.GRAD_SIGMA)
    expected = 60 * per_row / 1000
    assert metrics.grad(np.zeros_like(truth), truth) == pytest.approx(expected, rel=0.03)
    assert metrics.grad(truth, truth) == 0


def test_grad_is_the_same_along_both_axes() -> None:
    truth = half_plane()
    alpha = np.zeros_like(truth)
    assert metrics.grad(alpha, truth) == pytest.approx(metrics.grad(alpha, truth.T), rel=1e-5)


def test_score_holds_every_metric_and_refuses_other_shapes() -> None:
    truth = half_plane()
    perfect = metrics.score(truth, truth)
    assert perfect == Scores(sad=0, mse=0, mae=0, grad=0, band=0, iou=1)
    with pytest.raises(ValueError, match="ground truth"):
        metrics.score(truth[:, 1:], truth)


def test_mean_of_scores() -> None:
    mean = Scores.mean([Scores(1, 2, 3, 4, 5, 0.5), Scores(3, 4, 5, 6, 7, 0.7)])
    assert asdict(mean) == pytest.approx({"sad": 2, "mse": 3, "mae": 4, "grad": 5, "band": 6, "iou": 0.6})
    with pytest.raises(ValueError, match="no scores"):
        Scores.mean([])
