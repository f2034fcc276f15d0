"""The pixel path's hot loops in C, where they were compiled.

Each kernel does what a function in Python of this package does, within the bounds that its tests hold, several times
faster. `hatch_build.py` compiles them when the package is installed; where there was no compiler, or a source has
changed since, KERNELS is None, which is logged once, and callers take their path in Python.
"""

from __future__ import annotations

import ctypes
import logging
from pathlib import Path

import numpy as np
import numpy.typing as npt

from cutout_core.imaging.native.source_hash import source_hash

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]

#: Longest side of a picture for `Kernels.cascade`, pixels, as in cascade.c.
CASCADE_LONGEST = 128

FOLDER = Path(__file__).parent
LIBRARY_FILE = FOLDER / "kernels.so"

_log = logging.getLogger("cutout.imaging")
_WRONG_FILTER = -2
_SIZE, _POINTER, _FLOAT, _DOUBLE = ctypes.c_ssize_t, ctypes.c_void_p, ctypes.c_float, ctypes.c_double
_SIGNATURES = {
    "cutout_cascade": (_SIZE, [_POINTER, _SIZE, _SIZE, _SIZE, _POINTER, _SIZE, _POINTER, _POINTER, _POINTER]),
    "cutout_flatten": (ctypes.c_int, [_POINTER, _POINTER, _SIZE, _POINTER, _SIZE]),
    "cutout_lanczos": (ctypes.c_int, [_POINTER, _SIZE, _SIZE, *[_DOUBLE] * 4, _SIZE, _POINTER]),
    "cutout_measure": (ctypes.c_int, [_POINTER, _SIZE, _SIZE, ctypes.c_uint8, _POINTER]),
    "cutout_pack_rows": (_SIZE, [_POINTER, _POINTER, _SIZE, _SIZE, _SIZE, _POINTER, _POINTER]),
    "cutout_regions": (_SIZE, [_POINTER, _SIZE, _SIZE, _POINTER, _POINTER]),
    "cutout_fit_alpha": (
        ctypes.c_int,
        [_POINTER, _POINTER, _SIZE, _SIZE, _SIZE, _FLOAT, _FLOAT, _FLOAT, _POINTER],
    ),
    "cutout_apply_models": (ctypes.c_int, [_POINTER, _POINTER, _SIZE, _SIZE, _POINTER, _SIZE, _SIZE]),
    "cutout_fit_colors": (ctypes.c_int, [_POINTER, _SIZE, _SIZE, _POINTER, _SIZE, _SIZE, _FLOAT, _POINTER]),
    "cutout_unfilter": (ctypes.c_int, [_POINTER, _SIZE, _SIZE, _SIZE, _POINTER, _POINTER]),
    "cutout_unmix": (ctypes.c_int, [_POINTER, _POINTER, _SIZE, _SIZE, _POINTER, _SIZE, _SIZE, _FLOAT]),
}


class Kernels:
    """The compiled library.

    Every method raises ValueError for an image of a wrong type or shape, which C would trust, and MemoryError.
    """

    def __init__(self, file: Path = LIBRARY_FILE) -> None:
        """Raises OSError where the file is missing or was compiled from other sources."""
        self._library = ctypes.CDLL(str(file))
        try:
            self._library.cutout_source_hash.restype = ctypes.c_char_p
            compiled = self._library.cutout_source_hash().decode()
        except AttributeError as error:
            raise OSError(f"{file} holds no kernels") from error
        if compiled != source_hash(file.parent):
            raise OSError("their sources have changed since they were compiled; `make setup` does it anew")
        for name, (result, arguments) in _SIGNATURES.items():
            function = getattr(self._library, name)
            function.restype, function.argtypes = result, arguments

    def cascade(
        self,
        luma: UInt8,
        step: int,
        stages: npt.NDArray[np.void],
        trees: npt.NDArray[np.void],
        normed: npt.NDArray[np.int32],
    ) -> npt.NDArray[np.int32]:
        """The windows of uint8 [h, w], at most 128 a side, that pass a cascade: left and top, int32 [n, 2].

        step: pixels between two windows, 1 or 2. The tables are those of `cascade.py`, and trusted.
        """
        height, width = luma.shape
        _check(luma, (height, width))
        if max(height, width) > CASCADE_LONGEST or step not in (1, 2):
            raise ValueError(f"at most {CASCADE_LONGEST} pixels a side wanted, not {luma.shape}; step {step}")
        found = np.empty((height * width, 2), np.int32)
        tables = stages.ctypes.data, len(stages), trees.ctypes.data, normed.ctypes.data
        count = self._library.cutout_cascade(luma.ctypes.data, height, width, step, *tables, found.ctypes.data)
        return found[: _checked(count)]

    def lanczos(self, rgb: UInt8, extent: tuple[float, float, float, float], size: int) -> UInt8:
        """`squeeze`: the part `extent` (left, top, right, bottom, pixels) of uint8 [H, W, 3] as [size, size, 3]."""
        height, width = rgb.shape[:2]
        _check(rgb, (height, width, 3))
        left, top, right, bottom = extent
        if not (0 <= left < right <= width and 0 <= top < bottom <= height):
            raise ValueError(f"no part {extent} in an image of {width} × {height}")
        out = np.empty((size, size, 3), np.uint8)
        _checked(self._library.cutout_lanczos(rgb.ctypes.data, height, width, *extent, size, out.ctypes.data))
        return out

    def measure(self, alpha: UInt8, least: int) -> tuple[tuple[int, int, int, int], int]:
        """The box (left, top, right, bottom) of the pixels of uint8 [H, W] that are at least `least`, from 1 on, empty
        where there are none; and the sum of all pixels."""
        _check(alpha, alpha.shape[:2])
        found = (ctypes.c_int64 * 5)()
        _checked(self._library.cutout_measure(alpha.ctypes.data, *alpha.shape, least, ctypes.addressof(found)))
        return (found[0], found[1], found[2], found[3]), found[4]

    def regions(self, mask: UInt8) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32]]:
        """The labels, int32 [h, w], of a mask of 0 and 255, uint8 [h, w], and the other figures of `Regions` in its
        order, int32 [n + 1, 5]."""
        height, width = mask.shape
        _check(mask, (height, width))
        labels = np.empty((height, width), np.int32)
        stats = np.empty((1 + (height + 1) // 2 * ((width + 1) // 2), 5), np.int32)
        stats[0] = 0
        count = self._library.cutout_regions(mask.ctypes.data, height, width, labels.ctypes.data, stats.ctypes.data)
        return labels, stats[: 1 + _checked(count)]

    def pack_rows(self, color: UInt8, alpha: UInt8 | None, top: int, bottom: int) -> tuple[bytes, int]:
        """Rows of an RGB image, uint8 [H, W, 3], or with `alpha`, uint8 [H, W], of an RGBA one, packed for PNG.

        Returns deflate blocks that end on a whole byte, none of them the stream's last, and the Adler-32 of the
        filtered rows in them.
        """
        height, width = color.shape[:2]
        _check(color, (height, width, 3))
        if alpha is not None:
            _check(alpha, (height, width))
        if not 0 <= top <= bottom <= height:
            raise ValueError(f"no rows {top} to {bottom} in an image of {height}")
        out = np.empty(2 * (bottom - top) * (1 + width * (3 if alpha is None else 4)) + 1024, np.uint8)
        adler = ctypes.c_uint32()
        beside = None if alpha is None else alpha.ctypes.data
        count = self._library.cutout_pack_rows(
            color.ctypes.data, beside, width, top, bottom, out.ctypes.data, ctypes.addressof(adler)
        )
        return out[: _checked(count)].tobytes(), adler.value  # not a view: `out` is many times as large

    def unfilter(self, filtered: bytes, height: int, width: int, channels: int) -> tuple[UInt8, UInt8 | None]:
        """RGB, uint8 [H, W, 3], and with 4 channels alpha, uint8 [H, W], of a PNG's rows, each behind its filter type.

        Raises ValueError for a filter that does not exist.
        """
        if len(filtered) != height * (1 + width * channels) or channels not in (3, 4):
            raise ValueError(f"{height} rows of {width} × {channels} wanted, not {len(filtered)} bytes")
        color = np.empty((height, width, 3), np.uint8)
        alpha = np.empty((height, width), np.uint8) if channels == 4 else None
        beside = None if alpha is None else alpha.ctypes.data
        result = self._library.cutout_unfilter(filtered, height, width, channels, color.ctypes.data, beside)
        if result == _WRONG_FILTER:
            raise ValueError("a PNG filter that does not exist")
        _checked(result)
        return color, alpha

    def fit_alpha(
        self, rgb: UInt8, alpha: UInt8, reach: int, share: float, soft_detail: float, noise: float
    ) -> Float32:
        """The linear models of `refine`, float32 [h, w, 4], of photo and alpha on the grid, uint8 [h, w, 3] and [h, w].

        Slopes and an offset in levels; zeros far from the band. The numbers are those of `refine`.
        """
        height, width = alpha.shape
        _check(rgb, (height, width, 3))
        _check(alpha, (height, width))
        models = np.zeros((height, width, 4), np.float32)
        numbers = height, width, reach, share, soft_detail, noise
        _checked(self._library.cutout_fit_alpha(rgb.ctypes.data, alpha.ctypes.data, *numbers, models.ctypes.data))
        return models

    def apply_models(self, rgb: UInt8, alpha: UInt8, models: Float32) -> None:
        """Writes the models' value into the pixels of `alpha`, uint8 [H, W], that are neither 0 nor 255.

        rgb: the photo, uint8 [H, W, 3]. models: of `fit_alpha`, over the whole photo.
        """
        _check(rgb, (*alpha.shape, 3))
        _check(alpha, alpha.shape, written=True)
        _check_grid(models, 4)
        grid = models.ctypes.data, *models.shape[:2]
        _checked(self._library.cutout_apply_models(rgb.ctypes.data, alpha.ctypes.data, *alpha.shape, *grid))

    def fit_colors(self, level: UInt8, coarser: Float32, hold: float) -> Float32:
        """One level of `decontaminate`: foreground and background, float32 [h, w, 8] in 0..255, the fourth and the last
        value unused, of its photo and alpha, uint8 [h, w, 4], and the coarser level's colours."""
        height, width = level.shape[:2]
        _check(level, (height, width, 4))
        _check_grid(coarser, 8)
        colors = np.empty((height, width, 8), np.float32)
        numbers = level.ctypes.data, height, width, coarser.ctypes.data, *coarser.shape[:2], hold
        _checked(self._library.cutout_fit_colors(*numbers, colors.ctypes.data))
        return colors

    def unmix(self, rgb: UInt8, alpha: UInt8, colors: Float32, hold: float) -> None:
        """Overwrites `rgb`, uint8 [H, W, 3], by the subject's colours: zeros where `alpha`, uint8 [H, W], is 0.

        colors: of `fit_colors`, over the whole photo.
        """
        _check(rgb, (*alpha.shape, 3), written=True)
        _check(alpha, alpha.shape)
        _check_grid(colors, 8)
        grid = colors.ctypes.data, *colors.shape[:2], hold
        _checked(self._library.cutout_unmix(rgb.ctypes.data, alpha.ctypes.data, *alpha.shape, *grid))

    def flatten(self, rgb: UInt8, alpha: UInt8, behind: UInt8) -> None:
        """Overwrites `rgb`, uint8 [H, W, 3], by itself with `alpha`, uint8 [H, W], over a colour, uint8 [3], or a
        picture of the same size, exactly as `compose.flatten`."""
        _check(rgb, (*alpha.shape, 3), written=True)
        _check(alpha, alpha.shape)
        _check(behind, (3,) if behind.ndim == 1 else rgb.shape)
        step = 0 if behind.ndim == 1 else 3
        _checked(self._library.cutout_flatten(rgb.ctypes.data, alpha.ctypes.data, alpha.size, behind.ctypes.data, step))


def load(file: Path = LIBRARY_FILE) -> Kernels | None:
    """The compiled kernels; None, with a line in the log, where there are none that fit."""
    try:
        return Kernels(file)
    except OSError as error:
        _log.warning("no compiled kernels (%s): refinement and PNG files take about twice as long", error)
        return None


KERNELS = load()


def _check(image: UInt8, shape: tuple[int, ...], *, written: bool = False) -> None:
    """C trusts its sizes: raises ValueError for an image that is not uint8, contiguous and of that shape.

    written: nor for one that may not be written to.
    """
    if image.dtype != np.uint8 or image.shape != shape or not image.flags.c_contiguous:
        raise ValueError(f"contiguous uint8 {list(shape)} wanted, not {image.dtype} {list(image.shape)}")
    if written and not image.flags.writeable:
        raise ValueError("an image wanted that may be written to")


def _check_grid(grid: Float32, channels: int) -> None:
    if grid.dtype != np.float32 or grid.ndim != 3 or grid.shape[2] != channels or not grid.flags.c_contiguous:
        raise ValueError(f"contiguous float32 [h, w, {channels}] wanted, not {grid.dtype} {list(grid.shape)}")


def _checked(result: int) -> int:
    if result < 0:
        raise MemoryError("no memory for a row's work")
    return result
