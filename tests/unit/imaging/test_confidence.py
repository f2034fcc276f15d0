"""Confidence and warnings: each rule on drawn masks, and what must hold for any mask."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from cutout_core.contract import ResultWarning
from cutout_core.contract.tensors import QUALITY_ENGINES
from cutout_core.imaging import confidence
from cutout_core.imaging.confidence import EMPTY_CONFIDENCE, WEIGHTS, Judgement, judge
from cutout_core.imaging.levels import mask_to_alpha

Float32 = NDArray[np.float32]
UInt8 = NDArray[np.uint8]

SIDE = 512
RED, GREEN = (200, 40, 40), (40, 160, 60)


def disc(center: tuple[int, int] = (256, 256), radius: int = 120) -> Float32:
    """A disc with an edge as soft as a network's."""
    shape = np.zeros((SIDE, SIDE), np.float32)
    cv2.circle(shape, center, radius, 1, cv2.FILLED)
    return cv2.GaussianBlur(shape, (0, 0), 3)


def painted(alpha: Float32, subject: tuple[int, int, int] = RED, ground: tuple[int, int, int] = GREEN) -> UInt8:
    cover = alpha[..., None]
    return np.rint(cover * subject + (1 - cover) * np.array(ground)).astype(np.uint8)


def judged(mask: Float32, alpha: Float32 | None = None) -> Judgement:
    return judge(mask, mask_to_alpha(mask) if alpha is None else alpha, painted(mask), "standard")


def test_every_quality_has_its_own_constants() -> None:
    assert set(WEIGHTS) == set(QUALITY_ENGINES)
    mask = disc()
    given = {quality: judge(mask, mask, painted(mask), quality).confidence for quality in QUALITY_ENGINES}
    assert len(set(given.values())) == len(QUALITY_ENGINES)
    assert min(given.values()) > 0.9


def test_clear_subject_is_trusted_and_raises_nothing() -> None:
    result = judged(disc())
    assert result.confidence > 0.9
    assert result.warnings == ()


def test_unsure_mask_is_not_trusted() -> None:
    """A part that the network neither takes nor leaves."""
    assert judged(np.maximum(disc(), 0.5 * disc(radius=220))).confidence < 0.5


@pytest.mark.parametrize("weaken", ["part", "spread", "stray"])
def test_confidence_falls_as_the_mask_gets_worse(weaken: str) -> None:
    values = []
    for amount in (0, 0.2, 0.4, 0.6):
        mask, alpha = disc(), None
        if weaken == "part":  # a growing part of the subject is in doubt
            mask[:, 256 : 256 + int(200 * amount)] *= 0.6
        elif weaken == "spread":  # a softer and softer edge
            mask = cv2.GaussianBlur(mask, (0, 0), 1 + 40 * amount)
        else:  # the alpha leaves the mask
            alpha = disc((256 + int(100 * amount), 256))
        values.append(judged(mask, alpha).confidence)
    assert values == sorted(values, reverse=True)
    assert values[0] > values[-1] + 0.2


def test_nothing_found_has_its_own_confidence_and_no_warning() -> None:
    empty = np.zeros((SIDE, SIDE), np.float32)
    assert judged(empty) == Judgement(EMPTY_CONFIDENCE, ())
    assert judged(np.full_like(empty, 0.3)) == Judgement(EMPTY_CONFIDENCE, ())


def test_edge_between_like_colors_is_told() -> None:
    mask = disc()
    alike = judge(mask, mask, painted(mask, RED, (196, 44, 42)), "standard")
    assert alike.warnings == (ResultWarning.LOW_CONTRAST_EDGE,)


def test_half_the_edge_between_like_colors_is_told() -> None:
    mask = disc()
    shot = painted(mask)
    shot[256:] = RED
    share = confidence.weak_edge(mask, shot)
    assert share == pytest.approx(0.5, abs=0.1)
    assert ResultWarning.LOW_CONTRAST_EDGE in judge(mask, mask, shot, "standard").warnings


def test_weak_edge_of_nothing_and_of_everything_is_zero() -> None:
    for value in (0, 1):
        alpha = np.full((SIDE, SIDE), value, np.float32)
        assert confidence.weak_edge(alpha, painted(alpha)) == 0


@pytest.mark.parametrize("center", [(256, 500), (256, 10), (10, 256), (500, 256)])
def test_subject_cut_by_a_border_is_told(center: tuple[int, int]) -> None:
    assert judged(disc(center)).warnings == (ResultWarning.SUBJECT_TOUCHES_BORDER,)


def test_subject_near_the_border_is_not_told() -> None:
    assert judged(disc((256, 380))).warnings == ()


def test_two_subjects_are_told() -> None:
    two = np.maximum(disc((120, 256), 70), disc((390, 256), 60))
    assert judged(two).warnings == (ResultWarning.SEVERAL_SUBJECTS,)


def test_a_crumb_beside_the_subject_is_not_a_second_one() -> None:
    assert judged(np.maximum(disc(), disc((450, 80), 20))).warnings == ()


def test_see_through_inside_is_told() -> None:
    mask = disc()
    glass = mask * (1 - 0.5 * disc(radius=100))
    assert judged(mask, glass).warnings == (ResultWarning.PROBABLY_TRANSPARENT,)


def test_soft_edge_is_not_see_through() -> None:
    mask = disc()
    assert judged(mask, cv2.GaussianBlur(mask, (0, 0), 6)).warnings == ()


def test_alpha_from_the_mask_alone_is_never_see_through() -> None:
    mask = np.maximum(0.85 * disc(radius=200), disc(radius=60))
    assert confidence.see_through(mask, mask_to_alpha(mask)) == 0


def test_warnings_come_together_in_the_order_of_the_enum() -> None:
    mask = np.maximum(disc((120, 10), 70), disc((390, 256), 80))
    raised = judge(mask, mask, painted(mask, RED, RED), "standard").warnings
    assert raised == (
        ResultWarning.LOW_CONTRAST_EDGE,
        ResultWarning.SUBJECT_TOUCHES_BORDER,
        ResultWarning.SEVERAL_SUBJECTS,
    )


def test_thumbnail_and_mask_may_have_other_sizes() -> None:
    mask = disc()
    small = cv2.resize(mask, (256, 256), interpolation=cv2.INTER_AREA)
    shot = cv2.resize(painted(mask), (320, 320), interpolation=cv2.INTER_AREA)
    other, usual = judge(small, mask_to_alpha(small), shot, "standard"), judged(mask)
    assert other.warnings == usual.warnings
    assert other.confidence == pytest.approx(usual.confidence, abs=0.05)


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 60), st.floats(0, 4))
def test_any_mask_is_judged_in_range_and_the_same_twice(seed: int, blur: int, gain: float) -> None:
    rng = np.random.default_rng(seed)
    mask, alpha = (
        np.clip(gain * cv2.GaussianBlur(rng.normal(0.3, 3, (SIDE, SIDE)).astype(np.float32), (0, 0), 1 + blur), 0, 1)
        for _ in range(2)
    )
    rgb = rng.integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
    before = mask.copy(), alpha.copy(), rgb.copy()
    result = judge(mask, alpha, rgb, "standard")
    assert 0 <= result.confidence <= 1
    assert len(set(result.warnings)) == len(result.warnings)
    assert judge(mask, alpha, rgb, "standard") == result
    for now, then in zip((mask, alpha, rgb), before, strict=True):
        np.testing.assert_array_equal(now, then)
