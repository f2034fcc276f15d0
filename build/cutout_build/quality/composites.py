"""Composites with exact alpha: a stamp over a backdrop, with sensor noise and JPEG, seeded.

The same split, count and seed give the same pictures on every machine with the same package versions and the same
OpenCV.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cutout_build.quality.stamps import Backdrop, backdrops, load_stamp, stamps

#: Canvas, pixels. A smaller floor gives the small stamps a larger share of the picture.
MIN_PIXELS, MAX_PIXELS = 500_000, 4_000_000
#: Part of the canvas that the stamp's box takes, at most and at least where the stamp is large enough.
BOX_SHARE = (0.08, 0.5)
#: A stamp is only ever shrunk, so that no detail is invented, and not below this share of its own size.
MIN_SCALE = 0.8
ASPECTS = (1.0, 4 / 3, 3 / 2, 3 / 4)


@dataclass(frozen=True, slots=True, eq=False)
class Composite:
    """jpeg: the photo as a file. Its ground truth: alpha, [H, W] float32 in 0..1, and foreground, [H, W, 3] uint8, the
    subject's own colour, defined where alpha > 0."""

    name: str
    stamp: str
    backdrop: str
    jpeg: bytes
    alpha: NDArray[np.float32]
    foreground: NDArray[np.uint8]

    def photo(self) -> NDArray[np.uint8]:
        """The decoded photo, RGB, [H, W, 3] uint8."""
        return decode_rgb(self.jpeg)


def composites(split: str, count: int, seed: int = 0, min_pixels: int = MIN_PIXELS) -> Iterator[Composite]:
    """`count` composites from the stamps and backdrops of `split`; every stamp is used before one is used twice.

    Canvases have `min_pixels` to MAX_PIXELS pixels.
    """
    cutouts, scenes = stamps(split), backdrops(split)
    order = np.random.default_rng([seed, 0])
    queue: list[Path] = []
    for index in range(count):
        if not queue:
            queue = [cutouts[i] for i in order.permutation(len(cutouts))]
        rng = np.random.default_rng([seed, 1, index])
        stamp, backdrop = queue.pop(), scenes[rng.integers(len(scenes))]
        rgba = _shrink(load_stamp(stamp), rng.uniform(MIN_SCALE, 1.0))
        if rng.random() < 0.5:
            rgba = rgba[:, ::-1]
        canvas = _canvas_size(rgba.shape[1], rgba.shape[0], min_pixels, rng)
        jpeg, alpha, foreground = compose(rgba, backdrop, canvas, rng)
        yield Composite(f"{split}-{index:03d}", stamp.name, backdrop.name, jpeg, alpha, foreground)


def compose(
    rgba: NDArray[np.uint8], backdrop: Backdrop, canvas: tuple[int, int], rng: np.random.Generator
) -> tuple[bytes, NDArray[np.float32], NDArray[np.uint8]]:
    """A cut-out, [h, w, 4] uint8, somewhere over a part of the backdrop: JPEG, alpha and foreground of a Composite.

    `canvas`: width and height, at least the cut-out's.
    """
    canvas_w, canvas_h = canvas
    height, width = rgba.shape[:2]
    scene = _scene(backdrop, canvas_w, canvas_h, rng)
    left = int(rng.integers(0, canvas_w - width + 1))
    top = int(rng.integers(0, canvas_h - height + 1))
    place = np.s_[top : top + height, left : left + width]
    alpha = np.zeros((canvas_h, canvas_w), np.float32)
    alpha[place] = rgba[..., 3].astype(np.float32) / 255
    foreground = np.zeros((canvas_h, canvas_w, 3), np.uint8)
    foreground[place] = rgba[..., :3]
    cover = rgba[..., 3:].astype(np.float32) / 255
    scene[place] = cover * rgba[..., :3] + (1 - cover) * scene[place]
    scene += rng.normal(0, rng.uniform(0, 4), scene.shape).astype(np.float32)
    jpeg = encode_jpeg(np.clip(scene + 0.5, 0, 255).astype(np.uint8), int(rng.integers(80, 96)))
    return jpeg, alpha, foreground


def _shrink(rgba: NDArray[np.uint8], scale: float) -> NDArray[np.uint8]:
    """Pillow resizes RGBA with premultiplied colour, so hidden colours do not bleed into the edge."""
    size = (max(1, round(rgba.shape[1] * scale)), max(1, round(rgba.shape[0] * scale)))
    return np.asarray(Image.fromarray(rgba).resize(size, Image.Resampling.LANCZOS))


def _canvas_size(width: int, height: int, min_pixels: int, rng: np.random.Generator) -> tuple[int, int]:
    pixels = np.clip(width * height / rng.uniform(*BOX_SHARE), min_pixels, MAX_PIXELS)
    aspect = float(rng.choice(ASPECTS))
    canvas_w, canvas_h = round((pixels * aspect) ** 0.5), round((pixels / aspect) ** 0.5)
    return max(canvas_w, width + 16), max(canvas_h, height + 16)


def _scene(backdrop: Backdrop, width: int, height: int, rng: np.random.Generator) -> NDArray[np.float32]:
    """A random part of the backdrop, [height, width, 3] float32 in 0..255."""
    with Image.open(backdrop.path) as image:
        source = np.asarray(image.convert("RGB"))
    source_h, source_w = source.shape[:2]
    fit = min(source_w / width, source_h / height)
    part = rng.uniform(min(1.0, max(0.5, 1 / fit)), 1.0) * fit
    crop_w, crop_h = min(source_w, round(width * part)), min(source_h, round(height * part))
    left, top = (
        int(rng.integers(0, source_w - crop_w + 1)),
        int(rng.integers(0, source_h - crop_h + 1)),
    )
    crop = source[top : top + crop_h, left : left + crop_w]
    how = cv2.INTER_AREA if part >= 1 else cv2.INTER_CUBIC
    scene = cv2.resize(crop, (width, height), interpolation=how).astype(np.float32)
    if backdrop.blurred:
        scene = cv2.GaussianBlur(scene, (0, 0), 0.02 * (width * height) ** 0.5)
    result: NDArray[np.float32] = scene
    return result


def encode_jpeg(rgb: NDArray[np.uint8], quality: int) -> bytes:
    """RGB, [H, W, 3] uint8, as a JPEG file with OpenCV's default colour subsampling."""
    _, data = cv2.imencode(".jpg", cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, quality])
    return bytes(data)


def decode_rgb(data: bytes) -> NDArray[np.uint8]:
    """An image file as RGB, [H, W, 3] uint8."""
    with Image.open(io.BytesIO(data)) as image:
        return np.asarray(image.convert("RGB"))
