"""Mends what is plainly wrong in an alpha: loose specks, pinholes, and edges in steps of whole pixels.

Each fault is told from detail by its surroundings: a speck lies far from every subject, a pinhole has nothing but
opaque cells around it, and a jagged edge divides its neighbourhood into halves without a mixed pixel, which strands of
hair and corners do not.
"""

from __future__ import annotations

import cv2
import numpy as np

from cutout_core.imaging.band import GRID, UInt8, set_cells, shrink_to_grid
from cutout_core.imaging.regions import find_regions

#: Mean alpha of a cell, levels, from which something is visible in it, and from which it is opaque.
VISIBLE, OPAQUE = 5, 250
#: A region with less than this share of the largest region's alpha is a speck ...
SPECK_SHARE = 0.01
#: ... where it is farther than this from all larger ones, cells: wisps beside a head belong to it.
SPECK_DISTANCE = 8
#: Longest side of a pinhole, and width of the opaque frame around it, cells.
PINHOLE_SIDE, PINHOLE_FRAME = 4, 3
#: Rise between two neighbouring pixels, levels, that no anti-aliased edge has.
STEP = 250
#: Side of the neighbourhood that a jagged edge halves, pixels, and how far from one half its mean may be, levels.
HALF_WINDOW, HALF_MARGIN = 9, 16
#: Levels that count as mixed, and their largest share of that neighbourhood: an edge drawn with care has more.
MIXED, MIXED_SHARE = (8, 247), 0.05
#: Standard deviation of the smoothing along an edge, pixels, and the slope that makes the edge sharp again: with it a
#: straight edge along a row or a column stays exactly as it is.
SMOOTH_SIGMA, SHARPEN = 2.0, 5.8

_STRIP = 256


def clean_alpha(alpha: UInt8) -> UInt8:
    """A uint8 [H, W] alpha without specks, pinholes and steps; `alpha` itself where it has none."""
    rows, columns = min(alpha.shape[0], GRID), min(alpha.shape[1], GRID)
    grid = shrink_to_grid(alpha, rows, columns)
    specks, pinholes = _specks(grid), _pinholes(grid)
    if specks.any() or pinholes.any():
        alpha = alpha.copy()
        _fill(alpha, specks, 0)
        _fill(alpha, pinholes, 255)
    return _without_steps(alpha)


def _specks(grid: UInt8) -> UInt8:
    """255 at the cells of regions to clear, and at their neighbours."""
    nothing = np.zeros_like(grid)
    visible = cv2.inRange(grid, VISIBLE, 255)
    regions = find_regions(visible)
    labels, count = regions.labels, len(regions.area)
    if count <= 2:
        return nothing
    main = 1 + int(regions.area[1:].argmax())  # what is counted cell by cell are the others
    others = set_cells(cv2.bitwise_and(visible, cv2.compare(labels, main, cv2.CMP_NE)))
    labels_there = labels.take(others)
    mass = np.bincount(labels_there, weights=grid.take(others), minlength=count)
    mass[main] = cv2.sumElems(cv2.bitwise_and(grid, visible))[0] - mass.sum()
    small = mass < SPECK_SHARE * mass.max()
    small[0] = False
    specks = others[small.take(labels_there)]
    if not len(specks):
        return nothing
    kept = visible
    kept.reshape(-1)[specks] = 0
    reach = 2 * SPECK_DISTANCE + 1
    near = cv2.dilate(kept, np.ones((reach, reach), np.uint8)).reshape(-1).take(specks) > 0
    speck_labels = labels.take(specks)
    beside = np.bincount(speck_labels[near], minlength=count) > 0
    nothing.reshape(-1)[specks[~beside.take(speck_labels)]] = 255
    return _grown(nothing)


def _pinholes(grid: UInt8) -> UInt8:
    """255 at the cells of small holes in opaque surroundings, and at their neighbours."""
    open_cells = cv2.inRange(grid, 0, OPAQUE - 1)
    labels, left, top, width, height, area = find_regions(open_cells)
    right, bottom = left + width + PINHOLE_FRAME, top + height + PINHOLE_FRAME
    left, top = left - PINHOLE_FRAME, top - PINHOLE_FRAME
    inside = (left >= 0) & (top >= 0) & (right <= grid.shape[1]) & (bottom <= grid.shape[0])
    small = inside & (width <= PINHOLE_SIDE) & (height <= PINHOLE_SIDE)
    small[0] = False
    if not small.any():
        return np.zeros_like(grid)
    total = cv2.integral(open_cells // 255)
    left, top, right, bottom = (side[small] for side in (left, top, right, bottom))
    around = total[bottom, right] - total[top, right] - total[bottom, left] + total[top, left]
    small[small] = around == area[small]
    if not small.any():
        return np.zeros_like(grid)
    levels = np.where(small, 255, 0).astype(np.uint8)
    return _grown(levels.take(labels))


def _grown(cells: UInt8) -> UInt8:
    grown: UInt8 = cv2.dilate(cells, np.ones((3, 3), np.uint8))
    return grown


def _fill(alpha: UInt8, cells: UInt8, level: int) -> None:
    """Writes `level` into the pixels of the grid's cells that are not 0. Row by row of cells, in each between its first
    and its last one: faults are small and may lie far apart.
    """
    rows, columns = (np.arange(size) * count // size for size, count in zip(alpha.shape, cells.shape, strict=True))
    for row in np.flatnonzero(cells.any(axis=1)):
        down = slice(*np.searchsorted(rows, (row, row + 1)))
        filled = set_cells(cells[row])
        across = slice(*np.searchsorted(columns, (filled[0], filled[-1] + 1)))
        np.copyto(alpha[down, across], level, where=cells[row].take(columns[across]) > 0)


def _without_steps(alpha: UInt8) -> UInt8:
    strips = [strip for strip in range(0, alpha.shape[0], _STRIP) if _has_steps(alpha[strip : strip + _STRIP + 1])]
    if not strips:
        return alpha
    smooth = alpha.copy()
    reach = HALF_WINDOW // 2 + 1
    for start in strips:
        above = min(start, reach)
        part = alpha[start - above : start + _STRIP + reach]
        smooth[start : start + _STRIP] = _smoothed(part)[above : above + _STRIP]
    return smooth


def _has_steps(strip: UInt8) -> bool:
    pairs = (strip[:, 1:], strip[:, :-1]), (strip[1:], strip[:-1])
    return any(one.size > 0 and int(cv2.absdiff(one, other).max()) >= STEP for one, other in pairs)


def _smoothed(strip: UInt8) -> UInt8:
    """The strip with the pixels at a step of a halving edge smoothed along it."""
    square, window = np.ones((3, 3), np.uint8), (HALF_WINDOW, HALF_WINDOW)
    mixed = cv2.inRange(strip, *MIXED)
    mixed_share = cv2.blur(mixed, window, borderType=cv2.BORDER_REPLICATE)
    mean = cv2.blur(strip, window, borderType=cv2.BORDER_REPLICATE)
    stepped = cv2.subtract(cv2.dilate(strip, square), cv2.erode(strip, square)) >= STEP
    halving = (mixed_share <= 255 * MIXED_SHARE) & (cv2.absdiff(mean, np.full_like(mean, 128)) <= HALF_MARGIN)
    blurred = cv2.GaussianBlur(strip, window, SMOOTH_SIGMA, borderType=cv2.BORDER_REPLICATE)
    smooth: UInt8 = np.where(stepped & halving & (mixed == 0), _SHARPENED.take(blurred), strip)
    return smooth


def _sharpened() -> UInt8:
    levels = np.rint((np.arange(256) - 127.5) * SHARPEN + 127.5)
    sharpened: UInt8 = np.clip(levels, 0, 255).astype(np.uint8)
    return sharpened


_SHARPENED = _sharpened()
