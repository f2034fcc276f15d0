"""Work on few pixels of a large photo: its small copy, and bilinear samples of small grids at chosen pixels.

One to a few per cent of a photo's pixels are mixed, so slow quantities are computed on a grid of at most 512 × 512 over
the whole photo (aspect not kept) and only looked up at the mixed pixels.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

#: Longest side of a grid, cells: that of the network's alpha.
GRID = 512
#: Pixels at once: what is computed for them stays in the processor's cache, and `cv2.remap` takes no longer row.
_CHUNK = 30_000


@dataclass(frozen=True, slots=True, eq=False)
class BandChunk:
    """Some pixels. index: intp [n], flat, ascending; x, y: float32 [1, n], where they lie on the grid."""

    index: npt.NDArray[np.intp]
    x: Float32
    y: Float32

    def sample(self, grid: Float32) -> Float32:
        """Bilinear samples, float32 [n, C], of a grid [h, w, C] with C from 2 to 4, extended beyond its border."""
        samples: Float32 = cv2.remap(grid, self.x, self.y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)[0]
        return samples


def set_cells(cells: UInt8) -> npt.NDArray[np.intp]:
    """Where a uint8 array is not 0: intp [n], flat, ascending. numpy finds booleans ten times faster than integers."""
    return np.flatnonzero(cells != 0)


def mixed_pixels(alpha: UInt8, grid: tuple[int, int]) -> Iterator[BandChunk]:
    """The pixels of a uint8 [H, W] alpha that are neither 0 nor 255, on a grid of `grid` = (rows, columns)."""
    height, width = alpha.shape
    index = np.flatnonzero(alpha - np.uint8(1) < 254)  # 0 wraps round to 255
    starts = np.searchsorted(index, np.arange(height + 1) * width)
    row_y = grid_positions(height, grid[0])
    column_x = grid_positions(width, grid[1])
    for start in range(0, len(index), _CHUNK):
        part = index[start : start + _CHUNK]
        first, last = part[0] // width, part[-1] // width + 1
        counts = np.diff(np.clip(starts[first : last + 1], start, start + len(part)))
        columns = part - np.repeat(np.arange(first, last) * width, counts)
        yield BandChunk(part, column_x.take(columns)[None], np.repeat(row_y[first:last], counts)[None])


def write_pixels(image: UInt8, index: npt.NDArray[np.intp], values: Float32) -> None:
    """Rounds and clips float32 [n] or [n, C] into the pixels at `index` (flat) of a contiguous uint8 image of C values.

    A pixel is written as one item, which is twice as fast as its values one by one.
    """
    levels = cv2.add(values, 0.0, dtype=cv2.CV_8U).reshape(len(index), -1)
    pixel = np.dtype((np.void, levels.shape[1]))
    image.reshape(-1).view(pixel)[index] = levels.reshape(-1).view(pixel)


def grid_positions(size: int, grid_size: int) -> Float32:
    """Where the centres of `size` pixels lie between the centres of `grid_size` grid cells; float32 [size]."""
    return ((np.arange(size) + 0.5) * (grid_size / size) - 0.5).astype(np.float32)


def photo_grid(rgb: UInt8) -> UInt8:
    """The photo, uint8 [H, W, 3], averaged to at most 512 × 512 cells, aspect not kept."""
    return shrink_to_grid(rgb, min(rgb.shape[0], GRID), min(rgb.shape[1], GRID))


def shrink_to_grid(pixels: UInt8, rows: int, columns: int) -> UInt8:
    """uint8 [H, W] or [H, W, 3] averaged over the cells of a grid that is at most as large; itself where it is that.

    Exact halvings while a side stays at least the grid's, then bilinear, which below a factor of 2 is close to the area
    average and many times faster on 8-bit colours. Rows and columns that do not fill the last block take no part.
    """
    height, width = pixels.shape[:2]
    if (height, width) == (rows, columns):
        return pixels
    halvings_y, halvings_x = (height // rows).bit_length() - 1, (width // columns).bit_length() - 1
    scale_y, scale_x = height / (rows << halvings_y), width / (columns << halvings_x)
    small = pixels[: height >> halvings_y << halvings_y, : width >> halvings_x << halvings_x]
    for level in range(max(halvings_y, halvings_x)):
        size = small.shape[1] >> (level < halvings_x), small.shape[0] >> (level < halvings_y)
        small = cv2.resize(
            small, size, interpolation=cv2.INTER_LINEAR
        )  # at 2 : 1 the mean of two, and fast along one axis
    if (small.shape[0] << halvings_y, small.shape[1] << halvings_x) == (height, width):  # nothing was left out
        whole: UInt8 = cv2.resize(small, (columns, rows), interpolation=cv2.INTER_LINEAR)
        return whole
    warp = np.array([[scale_x, 0, scale_x / 2 - 0.5], [0, scale_y, scale_y / 2 - 0.5]])
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    grid: UInt8 = cv2.warpAffine(small, warp, (columns, rows), flags=flags, borderMode=cv2.BORDER_REPLICATE)
    return grid
