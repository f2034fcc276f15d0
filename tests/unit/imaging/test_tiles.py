"""Tiles: they cover the band, are bounded in number, and change nothing but what the network changed."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cutout_core.imaging.tiles import (
    MARGIN,
    MAX_TILES,
    TilePlan,
    blend_tiles,
    cut_tile,
    edge_band,
    plan_tiles,
)

from .images import Array


def blobs(seed: int, softness: float = 4.0) -> Array:
    """An alpha of soft ellipses, float32 [512, 512]."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[:512, :512]
    alpha = np.zeros((512, 512))
    for _ in range(int(rng.integers(1, 5))):
        cy, cx, ry, rx = *rng.integers(40, 470, 2), *rng.integers(10, 200, 2)
        distance = (1 - np.hypot((y - cy) / ry, (x - cx) / rx)) * min(ry, rx)
        alpha = np.maximum(alpha, np.clip(distance / softness + 0.5, 0, 1))
    return alpha.astype(np.float32)


def full(alpha: Array, width: int, height: int) -> Array:
    return np.rint(cv2.resize(alpha, (width, height)) * 255).astype(np.uint8).reshape(height, width)


def zeros(plan: TilePlan) -> list[Array]:
    return [np.zeros((512, 512), np.float32) for _ in plan.tiles]


SIZES = st.tuples(st.integers(1, 2600), st.integers(1, 2600))


@settings(max_examples=40, deadline=None)
@given(SIZES, st.integers(0, 1000))
def test_tiles_cover_the_band_with_context_around_and_are_bounded(size: tuple[int, int], seed: int) -> None:
    width, height = size
    plan = plan_tiles(blobs(seed), width, height)
    assert len(plan.tiles) <= MAX_TILES
    if not plan.tiles:
        assert max(size) < 1.25 * 512 or min(size) < 512  # nothing to gain, or too long for tiles that gain anything
        return
    (side,) = {tile.side for tile in plan.tiles}
    assert side >= 512
    rows, columns = np.nonzero(plan.band)
    covered = np.zeros(len(rows), bool)
    for tile in plan.tiles:
        assert 0 <= tile.left <= max(0, width - side)
        assert 0 <= tile.top <= max(0, height - side)
        inside = np.ones(len(rows), bool)
        for start, cells, limit in ((tile.left, columns, width), (tile.top, rows, height)):
            first, last = cells * limit / 512, (cells + 1) * limit / 512
            context = round(side * MARGIN) - limit / 512 - 1  # a cell counts by where it begins
            inside &= (first >= start + context) | (start == 0)
            inside &= (last <= start + side - context) | (start + side >= limit)
        covered |= inside
    assert covered.all()


@settings(max_examples=25, deadline=None)
@given(SIZES, st.integers(0, 1000))
def test_tiles_that_give_their_mask_back_change_no_bit(size: tuple[int, int], seed: int) -> None:
    plan = plan_tiles(blobs(seed), *size)
    alpha = full(blobs(seed + 1), *size)
    assert np.array_equal(blend_tiles(alpha, plan, zeros(plan)), alpha)


def test_away_from_the_band_the_alpha_stays_and_inside_it_is_the_tiles() -> None:
    alpha = blobs(3)
    plan = plan_tiles(alpha, 1500, 1100)
    before = full(alpha, 1500, 1100)
    rgb = np.zeros((1100, 1500, 3), np.uint8)
    wanted = np.float32(0.25)  # every tile's network says 0.25 everywhere
    changes = [wanted - cut_tile(tile, rgb, before)[1][0] for tile in plan.tiles]
    after = blend_tiles(before, plan, changes)
    reach = cv2.resize(cv2.dilate(plan.band, np.ones((5, 5))), (1500, 1100), interpolation=cv2.INTER_NEAREST)
    core = cv2.resize(cv2.erode(plan.band, np.ones((5, 5))), (1500, 1100), interpolation=cv2.INTER_NEAREST)
    assert np.array_equal(after[reach == 0], before[reach == 0])
    assert (reach == 0).mean() > 0.3
    assert (np.abs(after[core > 0].astype(int) - 64) <= 1).all()
    assert (core > 0).any()


def test_where_tiles_overlap_there_is_no_seam() -> None:
    """Neighbours that disagree by a constant are blended without a step."""
    alpha = np.full((512, 512), 0.5, np.float32)
    plan = plan_tiles(alpha, 1400, 1400)
    assert len(plan.tiles) > 4
    changes = [np.full((512, 512), (-1) ** index * 0.2, np.float32) for index in range(len(plan.tiles))]
    after = blend_tiles(np.full((1400, 1400), 128, np.uint8), plan, changes).astype(int)
    assert after.max() - after.min() > 90
    assert np.abs(np.diff(after, axis=0)).max() <= 5
    assert np.abs(np.diff(after, axis=1)).max() <= 5


def test_a_large_photo_gets_coarser_tiles() -> None:
    alpha = np.full((512, 512), 0.5, np.float32)
    native, coarse = plan_tiles(alpha, 1500, 1500), plan_tiles(alpha, 6000, 4000)
    assert {tile.side for tile in native.tiles} == {512}
    assert 4 <= len(coarse.tiles) <= MAX_TILES
    assert coarse.tiles[0].side > 1000
    bright = np.full((4000, 6000, 3), 77, np.uint8)
    image, mask = cut_tile(coarse.tiles[0], bright, np.full((4000, 6000), 51, np.uint8))
    assert (image.shape, image.dtype, image.flags.c_contiguous) == ((3, 512, 512), np.uint8, True)
    assert (mask.shape, mask.dtype) == ((1, 512, 512), np.float32)
    assert (image == 77).all()
    assert np.allclose(mask, 0.2)


@pytest.mark.parametrize("size", [(512, 512), (300, 200), (639, 400), (1, 1)])
def test_a_photo_that_a_tile_would_show_no_better_has_none(size: tuple[int, int]) -> None:
    assert plan_tiles(blobs(1), *size).tiles == ()


def test_nothing_uncertain_no_tiles_but_a_hard_edge_is_uncertain() -> None:
    assert plan_tiles(np.zeros((512, 512), np.float32), 3000, 3000).tiles == ()
    hard = np.zeros((512, 512), np.float32)
    hard[100:400, 100:400] = 1
    assert edge_band(hard)[100, 200] == 1
    assert edge_band(hard)[250, 250] == edge_band(hard)[20, 20] == 0
    assert plan_tiles(hard, 3000, 3000).tiles


def test_a_tile_larger_than_the_photo_repeats_its_border() -> None:
    alpha = np.full((512, 512), 0.5, np.float32)
    plan = plan_tiles(alpha, 1200, 100)
    rgb = np.zeros((100, 1200, 3), np.uint8)
    rgb[-1] = 9
    image, _ = cut_tile(plan.tiles[0], rgb, np.zeros((100, 1200), np.uint8))
    assert (image[:, 99:] == 9).all()
    assert (image[:, :99] == 0).all()


def test_a_tile_is_the_photos_own_pixels() -> None:
    rgb = np.random.default_rng(0).integers(0, 256, (900, 1300, 3), dtype=np.uint8)
    alpha = rgb[..., 0].copy()
    for tile in plan_tiles(blobs(5), 1300, 900).tiles:
        image, mask = cut_tile(tile, rgb, alpha)
        part = np.s_[tile.top : tile.top + 512, tile.left : tile.left + 512]
        assert np.array_equal(image.transpose(1, 2, 0), rgb[part])
        assert np.array_equal(mask[0], alpha[part] / np.float32(255))
