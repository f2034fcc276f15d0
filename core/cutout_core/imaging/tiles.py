"""The second look of quality `high`: square tiles along the uncertain edge, at the photo's own resolution.

The matting network's first look is at the whole photo squeezed to 512², so one of its pixels stands for many of a large
photo. A tile shows it 512² pixels of the photo as they are, with the first look's alpha as the coarse mask. What it
changes is blended into that alpha, with weights that fall towards a tile's margins, and only within the edge band:
everywhere else the alpha stays what it was, to the last bit.

Where more than MAX_TILES tiles would be needed, each covers more of the photo and is shrunk: coarser, but bounded.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from cutout_core.contract.tensors import ALPHA_SIZE

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

#: Most tiles of one photo.
MAX_TILES = 16
#: Share of a tile's side that is margin, at each end: seen by the network for context, and blended with neighbours.
MARGIN = 0.125
#: A tile is worth its time only where the photo's longer side is at least this many times the tile's.
MIN_GAIN = 1.25
#: Alphas in between are uncertain; the band reaches REACH pixels of the first look beyond them.
UNCERTAIN = (0.02, 0.98)
REACH = 3
#: Growth of the tiles' side from one try to the next, while there are too many.
_STEP = 1.12

_DISC = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * REACH + 1, 2 * REACH + 1))
_CROSS = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))


@dataclass(frozen=True, slots=True)
class Tile:
    """A square of the photo, in its pixels; where the photo is smaller it hangs over the right or bottom border."""

    left: int
    top: int
    side: int


@dataclass(frozen=True, slots=True, eq=False)
class TilePlan:
    """tiles: at most MAX_TILES. band: float32 [S, S] of 0 and 1, the photo squeezed: where tiles may change it."""

    tiles: tuple[Tile, ...]
    band: Float32


def plan_tiles(alpha: Float32, width: int, height: int) -> TilePlan:
    """The tiles of a `width` × `height` photo whose first look gave `alpha`, float32 [S, S] in 0..1.

    Each pixel of the band lies in some tile, MARGIN of a side or more from the tile's edges, or by the photo's border.
    There are no tiles where nothing is uncertain, or where they would show hardly more than the first look.
    """
    band = edge_band(alpha)
    side = float(ALPHA_SIZE)
    # A shrunk tile must not be coarser than the first look, along the photo's shorter side either.
    while side * MIN_GAIN <= max(width, height) and side <= max(ALPHA_SIZE, min(width, height)):
        tiles = _cover(band > 0, width, height, round(side))
        if len(tiles) <= MAX_TILES:
            return TilePlan(tuple(tiles), band)
        side *= _STEP
    return TilePlan((), band)


def edge_band(alpha: Float32) -> Float32:
    """1 in and around what is uncertain in float32 [S, S], its hard edges among it, else 0."""
    uncertain = ((alpha > UNCERTAIN[0]) & (alpha < UNCERTAIN[1])).astype(np.uint8)
    hard = cv2.morphologyEx((alpha > 0.5).astype(np.uint8), cv2.MORPH_GRADIENT, _CROSS)
    band: Float32 = cv2.dilate(uncertain | hard, _DISC).astype(np.float32)
    return band


def cut_tile(tile: Tile, rgb: UInt8, alpha: UInt8) -> tuple[UInt8, Float32]:
    """What the network sees of a tile: uint8 [3, 512, 512], and its mask float32 [1, 512, 512] in 0..1.

    rgb, alpha: uint8 [H, W, 3] and [H, W]. What hangs over repeats the photo's border.
    """
    image, mask = _square(tile, rgb), _square(tile, alpha)
    return np.ascontiguousarray(image.transpose(2, 0, 1)), (mask.astype(np.float32) / 255)[None]


def blend_tiles(alpha: UInt8, plan: TilePlan, changes: Sequence[Float32]) -> UInt8:
    """uint8 [H, W] with each tile's change, float32 [512, 512] (the network's alpha minus the tile's mask), blended in.

    Where tiles overlap their changes are averaged, a tile counting less towards its edges. The band's limit fades over
    one pixel of the first look.
    """
    if not plan.tiles:
        return alpha
    height, width = alpha.shape
    gated = [change * _gate(tile, plan.band, width, height) for tile, change in zip(plan.tiles, changes, strict=True)]
    blended = alpha.copy()
    rows = plan.tiles[0].side  # in stripes, which bounds the memory whatever the photo's size
    ramp = _ramp(rows)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        total, weight = (np.zeros((bottom - top, width), np.float32) for _ in range(2))
        for tile, change in zip(plan.tiles, gated, strict=True):
            above, below = max(tile.top, top), min(tile.top + tile.side, bottom)
            right = min(tile.left + tile.side, width)
            if above < below:
                part = np.s_[above - top : below - top, tile.left : right]
                window = np.outer(ramp[above - tile.top : below - tile.top], ramp[: right - tile.left])
                total[part] += window * _enlarge(change, tile, (above, below), right)
                weight[part] += window
        stripe = blended[top:bottom]
        total *= 255 / np.maximum(weight, 1e-6)
        total += stripe
        np.rint(np.clip(total, 0, 255, out=total), out=total)
        stripe[:] = total
    return blended


def _cover(band: npt.NDArray[np.bool_], width: int, height: int, side: int) -> list[Tile]:
    """Tiles whose middle parts cover the band, row after row from its first pixel on; stops soon after MAX_TILES."""
    margin = round(side * MARGIN)
    middle = side - 2 * margin
    across, down = width / band.shape[1], height / band.shape[0]
    tops = np.arange(band.shape[0]) * down
    tiles: list[Tile] = []
    for top in _starts(band.any(axis=1), down, middle):
        row = band[(tops >= top) & (tops < top + middle)].any(axis=0)
        for left in _starts(row, across, middle):
            tiles.append(Tile(_shift(left - margin, side, width), _shift(top - margin, side, height), side))
        if len(tiles) > MAX_TILES:
            break
    return tiles


def _starts(occupied: npt.NDArray[np.bool_], pixel: float, length: int) -> list[float]:
    """Where intervals of `length` begin that together cover the occupied cells of `pixel` each."""
    cells = np.flatnonzero(occupied) * pixel
    starts: list[float] = []
    while len(cells):
        starts.append(float(cells[0]))
        cells = cells[cells >= cells[0] + length]
    return starts


def _shift(start: float, side: int, limit: int) -> int:
    """`start` moved so that `side` pixels from it lie within 0..limit, as far as they fit."""
    return max(0, min(int(start), limit - side))


def _square(tile: Tile, pixels: UInt8) -> UInt8:
    part = pixels[tile.top : tile.top + tile.side, tile.left : tile.left + tile.side]
    missing = tile.side - part.shape[0], tile.side - part.shape[1]
    if any(missing):
        part = cv2.copyMakeBorder(part, 0, missing[0], 0, missing[1], cv2.BORDER_REPLICATE)
    if tile.side == ALPHA_SIZE:
        return part
    square: UInt8 = cv2.resize(part, (ALPHA_SIZE, ALPHA_SIZE), interpolation=cv2.INTER_AREA)
    return square


def _ramp(side: int) -> Float32:
    """Weights along a tile's side, float32 [side]: 1 in the middle, falling to nearly 0 over the margins."""
    distance = np.minimum(np.arange(side), np.arange(side)[::-1]) + 0.5
    ramp: Float32 = np.minimum(distance / (MARGIN * side), 1).astype(np.float32)
    return ramp


def _gate(tile: Tile, band: Float32, width: int, height: int) -> Float32:
    """The band as a tile sees it, float32 [512, 512], linear between the band's pixels."""
    across, down = band.shape[1] / width, band.shape[0] / height
    return _sample(
        band,
        (tile.side / ALPHA_SIZE * across, tile.side / ALPHA_SIZE * down),
        (tile.left * across, tile.top * down),
        (ALPHA_SIZE, ALPHA_SIZE),
    )


def _enlarge(square: Float32, tile: Tile, rows: tuple[int, int], right: int) -> Float32:
    """A tile's float32 [512, 512] at the photo's size: rows from..to, columns from the tile's left to `right`."""
    scale = ALPHA_SIZE / tile.side
    start = (0.0, (rows[0] - tile.top) * scale)
    return _sample(square, (scale, scale), start, (right - tile.left, rows[1] - rows[0]))


def _sample(pixels: Float32, step: tuple[float, float], start: tuple[float, float], size: tuple[int, int]) -> Float32:
    """`pixels` read linearly on a grid of `size` (width, height) cells, `step` (x, y) pixels each, from `start` on."""
    shift = [begin + 0.5 * width - 0.5 for begin, width in zip(start, step, strict=True)]
    matrix = np.array([[step[0], 0, shift[0]], [0, step[1], shift[1]]], np.float64)
    sampled: Float32 = cv2.warpAffine(
        pixels, matrix, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP, borderMode=cv2.BORDER_REPLICATE
    )
    return sampled
