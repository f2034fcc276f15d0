"""Pixels into a frame: exact copies, no fringes, nothing invented."""

from __future__ import annotations

import cv2
import numpy as np
import pytest

from cutout_core.contract import Box
from cutout_core.imaging.frame import Frame
from cutout_core.imaging.place import place, visible_box
from cutout_core.imaging.subject import subject_box

from .images import Array, smooth

RED = (220, 30, 20)


def red_disc(side: int = 200) -> tuple[Array, Array]:
    """A red disc with a soft edge whose hidden surroundings are black, the worst for a fringe."""
    big = np.zeros((4 * side, 4 * side), np.uint8)
    cv2.circle(big, (2 * side, 2 * side), round(1.2 * side), 255, -1)
    alpha = cv2.resize(big, (side, side), interpolation=cv2.INTER_AREA)
    rgb = np.zeros((side, side, 3), np.uint8)
    rgb[alpha > 0] = RED
    return rgb, alpha


def test_a_scale_of_one_copies() -> None:
    rgb, alpha = smooth(60, 40), smooth(60, 40, 1)[..., 0]
    placed, placed_alpha = place(rgb, alpha, Frame(100, 90, 1.0, 1.0, 7.0, 11.0))
    assert np.array_equal(placed_alpha[11:51, 7:67], alpha)
    assert np.array_equal(placed[11:51, 7:67], np.where(alpha[..., None] > 0, rgb, 0))
    assert placed_alpha.sum() == alpha.sum(dtype=np.uint64)


def test_what_lies_outside_the_frame_is_cut() -> None:
    rgb, alpha = smooth(60, 40), np.full((40, 60), 255, np.uint8)
    placed, placed_alpha = place(rgb, alpha, Frame(20, 10, 1.0, 1.0, -30.0, -25.0))
    assert np.array_equal(placed, rgb[25:35, 30:50])
    assert (placed_alpha == 255).all()
    nothing = place(rgb, alpha, Frame(20, 10, 1.0, 1.0, 100.0, 0.0))
    assert not nothing[0].any()
    assert not nothing[1].any()


@pytest.mark.parametrize("scale", [0.1, 0.37, 0.5, 0.99, 1.01, 1.5, 4.0])
def test_colours_have_no_fringe(scale: float) -> None:
    """On any background a pixel's colour is at most a level off the disc's: none of the hidden black is mixed in."""
    rgb, alpha = red_disc()
    side = round(200 * scale)
    placed, placed_alpha = place(rgb, alpha, Frame(side, side, scale, scale, 0.0, 0.0))
    shown = placed_alpha > 0
    assert shown.any()
    seen = np.abs(placed[shown].astype(int) - RED) * (placed_alpha[shown, None] / 255)
    assert seen.max() <= 1
    assert not placed[~shown].any()
    # the area is kept but for the corners, which are moved to whole pixels
    assert placed_alpha.mean() == pytest.approx(alpha.mean(), rel=2 / (120 * scale))


@pytest.mark.parametrize("scale", [0.25, 0.5, 2.0, 3.0])
def test_a_box_lands_where_the_frame_says(scale: float) -> None:
    alpha = np.zeros((120, 160), np.uint8)
    alpha[20:100, 40:120] = 255
    placed, placed_alpha = place(smooth(160, 120), alpha, Frame(500, 400, scale, scale, 10.0, 30.0))
    expected = Box(round(10 + 40 * scale), round(30 + 20 * scale), round(80 * scale), round(80 * scale))
    assert subject_box(placed_alpha) == expected
    assert placed.shape == (400, 500, 3)


def test_a_subject_at_the_photos_border_does_not_fade_when_it_grows() -> None:
    alpha = np.full((50, 50), 255, np.uint8)
    _, placed = place(smooth(50, 50), alpha, Frame(200, 200, 4.0, 4.0, 0.0, 0.0))
    assert (placed == 255).all()


def test_a_part_of_the_photo_lands_as_in_the_whole() -> None:
    rgb, alpha = smooth(90, 70), np.zeros((70, 90), np.uint8)
    alpha[20:40, 30:60] = 255
    frame = Frame(45, 35, 0.5, 0.5, 0.0, 0.0)
    whole = place(rgb, alpha, frame)
    part = place(rgb[10:60, 20:80], alpha[10:60, 20:80], frame, (20, 10))
    assert np.array_equal(whole[0], part[0])
    assert np.array_equal(whole[1], part[1])


def test_a_huge_scale_costs_no_more_than_the_frame() -> None:
    alpha = np.full((400, 400), 3, np.uint8)
    alpha[200, 200] = 255
    placed, placed_alpha = place(smooth(400, 400), alpha, Frame(300, 300, 3000.0, 3000.0, -600000.0, -600000.0))
    assert placed_alpha.shape == (300, 300)
    assert placed.any()


def test_the_visible_box() -> None:
    alpha = np.zeros((20, 30), np.uint8)
    assert visible_box(alpha) is None
    alpha[3, 4], alpha[10, 20], alpha[19, 29] = 13, 255, 12
    assert visible_box(alpha) == Box(4, 3, 17, 8)
