"""Every fast pixel path is faster than the library's way, on real photos.

The bounds are a half or less of what a quiet machine shows, so that they fail for a path that was lost and not for a
busy neighbour. What was measured stands beside each.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from io import BytesIO

import cv2
import numpy as np
import numpy.typing as npt
import pytest
from PIL import Image

from cutout_build.photos import demo_folder
from cutout_core.contract import Limits
from cutout_core.imaging import native
from cutout_core.imaging.compose import clear_hidden
from cutout_core.imaging.decode import decode, decode_reduced
from cutout_core.imaging.decontaminate import decontaminate
from cutout_core.imaging.encode import encode
from cutout_core.imaging.refine import refine_alpha
from cutout_core.imaging.resize import shrink
from cutout_loadtest.mix import photo_file
from tests.benchmarks.cpu_time import speedup
from tests.benchmarks.full_image import blur_fusion, guided_alpha
from tests.compiler import needs_compiler

UInt8 = npt.NDArray[np.uint8]
LIMITS = Limits()


@cache
def photo(megapixels: float) -> bytes:
    """The astronaut as a JPEG of q90 with a camera's noise."""
    return photo_file(demo_folder() / "astronaut.png", megapixels, "jpeg")


@cache
def pixels(megapixels: float) -> UInt8:
    return decode(photo(megapixels), LIMITS).rgb


@cache
def soft_alpha(side: int) -> UInt8:
    """An ellipse on 55 % of a square, with an edge a few pixels soft at 512."""
    alpha = np.zeros((side, side), np.uint8)
    cv2.ellipse(alpha, (side // 2,) * 2, (int(side * 0.38), int(side * 0.46)), 0, 0, 360, 255, -1)
    return cv2.GaussianBlur(alpha, (0, 0), side / 512)


@cache
def cut_out() -> tuple[UInt8, UInt8]:
    """4 megapixels with their alpha, black where nothing shows."""
    rgb = pixels(4)
    alpha = soft_alpha(rgb.shape[0])
    return clear_hidden(rgb, alpha), alpha


def pillow_file(image: Image.Image, pillow_format: str, **settings: object) -> bytes:
    file = BytesIO()
    image.save(file, pillow_format, **settings)
    return file.getvalue()


def without_kernels(work: Callable[[], object]) -> Callable[[], None]:
    """The same work by the functions in Python."""

    def slow() -> None:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(native, "KERNELS", None)
            work()

    return slow


def png_beside_pillow(way: Callable[[Callable[[], object]], Callable[[], object]]) -> tuple[float, float]:
    """How many times less time and how many times as many bytes as Pillow's level 6 a cut-out takes by `way`."""
    rgb, alpha = cut_out()
    image = Image.fromarray(np.dstack((rgb, alpha)))
    files = {}

    def ours() -> None:
        files["ours"] = encode(rgb, alpha, "png", None)

    def pillow() -> None:
        files["pillow"] = pillow_file(image, "PNG", compress_level=6)

    ratio = speedup(way(ours), pillow)
    return ratio, len(files["ours"]) / len(files["pillow"])


def test_png_by_isal_beside_pillow() -> None:
    """19 to 26 times at 10 to 14 % more bytes than level 6, on cut-outs of the demo photos at 4 megapixels."""
    ratio, size = png_beside_pillow(without_kernels)
    assert ratio >= 8, ratio
    assert size <= 1.2


@needs_compiler
def test_png_beside_pillow() -> None:
    """43 to 47 times at 6 to 8 % more bytes, on the same."""
    ratio, size = png_beside_pillow(lambda work: work)
    assert ratio >= 15, ratio
    assert size <= 1.15


@needs_compiler
def test_compiled_png_beside_isal() -> None:
    """1.8 times, at 3 to 6 % fewer bytes."""
    rgb, alpha = cut_out()

    def write() -> bytes:
        return encode(rgb, alpha, "png", None)

    ratio = speedup(write, without_kernels(write))
    assert ratio >= 1.3, ratio


@needs_compiler
def test_compiled_refinement_beside_python() -> None:
    """2.9 times at 4 megapixels, both steps together."""
    rgb = pixels(4)
    grid = soft_alpha(512).astype(np.float32) / 255

    def refine() -> UInt8:
        return decontaminate(rgb, refine_alpha(rgb, grid))

    ratio = speedup(refine, without_kernels(refine))
    assert ratio >= 1.5, ratio


@needs_compiler
def test_compiled_lanczos_beside_pillow() -> None:
    """1.8 to 2.7 times from a megapixel."""
    rgb = pixels(1)

    def squeeze() -> UInt8:
        return shrink(rgb, 512)

    ratio = speedup(squeeze, without_kernels(squeeze))
    assert ratio >= 1.2, ratio


@needs_compiler
def test_a_png_beside_pillow() -> None:
    """1.8 times at 4 megapixels, with alpha 2.4 times."""
    data = photo_file(demo_folder() / "astronaut.png", 2, "png")

    def read() -> UInt8:
        return decode(data, LIMITS).rgb

    ratio = speedup(read, without_kernels(read))
    assert ratio >= 1.2, ratio


def test_a_scaled_decode_beside_a_full_one() -> None:
    """2.9 times at 12 megapixels."""
    ratio = speedup(lambda: decode_reduced(photo(8), LIMITS, 512), lambda: decode(photo(8), LIMITS))
    assert ratio >= 1.4, ratio


def test_a_full_decode_beside_pillow() -> None:
    """1.3 times, header and checks included."""
    ratio = speedup(lambda: decode(photo(4), LIMITS), lambda: np.asarray(Image.open(BytesIO(photo(4))).convert("RGB")))
    assert ratio >= 0.8, ratio


def test_shrinking_beside_pillow() -> None:
    """12 times at 12 megapixels."""
    rgb = pixels(8)
    image = Image.fromarray(rgb)
    ratio = speedup(lambda: shrink(rgb, 320), lambda: image.resize((320, 320), Image.Resampling.LANCZOS))
    assert ratio >= 4, ratio


def test_refining_the_edge_beside_the_whole_photo() -> None:
    """21 times at 4 megapixels."""
    rgb = pixels(2)
    grid = soft_alpha(512).astype(np.float32) / 255
    ratio = speedup(
        lambda: decontaminate(rgb, refine_alpha(rgb, grid)), lambda: blur_fusion(rgb, guided_alpha(rgb, grid))
    )
    assert ratio >= 4, ratio


def test_webp_beside_pillow() -> None:
    """11 times against Pillow's own defaults for lossless."""
    rgb, alpha = (np.ascontiguousarray(plane[500:1100, 500:1100]) for plane in cut_out())
    image = Image.fromarray(np.dstack((rgb, alpha)))
    ratio = speedup(lambda: encode(rgb, alpha, "webp", None), lambda: pillow_file(image, "WEBP", lossless=True))
    assert ratio >= 3, ratio


def test_jpeg_beside_pillow() -> None:
    """As fast: both are libjpeg-turbo with the same settings."""
    rgb = pixels(4)
    image = Image.fromarray(rgb)
    ratio = speedup(
        lambda: encode(rgb, None, "jpeg", None), lambda: pillow_file(image, "JPEG", quality=90, subsampling="4:4:4")
    )
    assert ratio >= 0.6, ratio
