"""Regions are OpenCV's connected components, compiled or not."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from numpy.typing import NDArray

from cutout_core.imaging import native
from cutout_core.imaging.regions import Regions, find_regions
from tests.compiler import needs_compiler

UInt8 = NDArray[np.uint8]


def grid(rows: int, columns: int) -> UInt8:
    """As many regions as there can be: every other cell of every other row."""
    mask = np.zeros((rows, columns), np.uint8)
    mask[::2, ::2] = 255
    return mask


def spiral() -> UInt8:
    """One region whose runs meet late, and its ground."""
    mask = np.zeros((41, 41), np.uint8)
    for inset in range(0, 20, 4):
        cv2.rectangle(mask, (inset, inset), (40 - inset, 40 - inset), 255, 1)
        mask[inset + 1, inset] = 0
        mask[inset + 2, max(0, inset - 4) : inset + 1] = 255
    return mask


def assert_as_opencv(found: Regions, mask: UInt8) -> None:
    count, labels, stats, _ = cv2.connectedComponentsWithStats(mask)
    assert len(found.area) == count
    assert found.labels.dtype == np.int32
    pairs = np.unique(np.stack([found.labels.ravel(), labels.ravel()]), axis=1)
    assert pairs.shape[1] == len(set(pairs[0])) == len(set(pairs[1]))  # one of ours for each of theirs
    ours, theirs = pairs[:, pairs[0] > 0]
    assert np.array_equal(np.stack(found[1:], axis=1)[ours], stats[theirs])


MASKS = hnp.arrays(np.uint8, hnp.array_shapes(min_dims=2, max_dims=2, max_side=40), elements=st.sampled_from([0, 255]))


@needs_compiler
@given(MASKS)
@example(grid(40, 40))
@example(grid(41, 39))
@example(grid(1, 1))
@example(spiral())
@example(255 - spiral())
@example(np.zeros((3, 70), np.uint8))
@example(np.full((70, 3), 255, np.uint8))
@settings(max_examples=300, deadline=None)
def test_any_mask_has_opencvs_regions(mask: UInt8) -> None:
    assert_as_opencv(find_regions(mask), mask)


@needs_compiler
@pytest.mark.parametrize("smoothness", [0.5, 2.0, 8.0])
def test_blobs_of_a_whole_grid(smoothness: float) -> None:
    noise = np.random.default_rng(0).integers(0, 256, (512, 512), dtype=np.uint8)
    mask = cv2.compare(cv2.GaussianBlur(noise, (0, 0), smoothness), 127, cv2.CMP_GT)
    assert_as_opencv(find_regions(mask), mask)


@needs_compiler
def test_most_regions_of_a_grid() -> None:
    assert len(find_regions(grid(512, 512)).area) == 1 + 256 * 256


def test_without_kernels_it_is_opencv_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(native, "KERNELS", None)
    assert_as_opencv(find_regions(spiral()), spiral())


@needs_compiler
def test_regions_are_numbered_by_their_first_cells() -> None:
    found = find_regions(grid(3, 5))
    assert found.labels.tolist() == [[1, 0, 2, 0, 3], [0] * 5, [4, 0, 5, 0, 6]]
    assert found.area[1:].tolist() == [1] * 6


@needs_compiler
@pytest.mark.parametrize(
    "mask", [np.zeros((4, 8), np.uint8)[:, ::2], np.zeros((4, 4), bool), np.zeros((4, 4), np.int32)]
)
def test_the_kernel_refuses_what_it_would_have_to_trust(mask: UInt8) -> None:
    assert native.KERNELS is not None
    with pytest.raises(ValueError, match="wanted"):
        native.KERNELS.regions(mask)
