"""The benchmark's pictures: photographic stamps of the test split, and procedural subjects at native resolution.

The procedural subjects come from the generator that training uses too, with random numbers of their own, over
backdrops of the test split. They carry detail of single pixels at 1 to 1.6 megapixels, which the stamps do not.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cutout_build.matting.procedural import procedural_subject
from cutout_build.quality.composites import ASPECTS, Composite, compose, composites
from cutout_build.quality.stamps import Backdrop, backdrops

#: Set to the kinds of procedural subject in it, drawn in turn. `stamps` is the photographic set.
PROCEDURAL_SETS = {"hair": ("hair", "fur"), "hard": ("shape",), "mixed": ("feather", "leaves", "glass", "soft")}
SETS = ("stamps", *PROCEDURAL_SETS)

#: Side of the square in which a procedural subject is drawn, pixels, and the part of the canvas that its box takes.
SUBJECT_SIDE = (700, 1000)
BOX_SHARE = (0.2, 0.5)
MIN_PIXELS, MAX_PIXELS = 1_000_000, 1_600_000
#: Side of the part of a photograph that is the surface of every other subject, pixels.
TEXTURE_SIDE = (64, 400)

#: Namespaces of the random numbers; training draws from others.
_NAMESPACES = {"test": b"benchmark test", "train": b"benchmark train"}


def cases(name: str, count: int, seed: int = 0, split: str = "test") -> Iterator[Composite]:
    """`count` pictures of one of SETS. The same set, seed and place in it give the same picture."""
    if name == "stamps":
        yield from composites(split, count, seed)
        return
    kinds = PROCEDURAL_SETS[name]
    for index in range(count):
        yield _procedural(name, kinds[index % len(kinds)], index, seed, split)


def _procedural(name: str, kind: str, index: int, seed: int, split: str) -> Composite:
    rng = np.random.default_rng([seed, *_NAMESPACES[split], *name.encode(), index])
    scenes = backdrops(split)
    backdrop, other = (scenes[i] for i in rng.choice(len(scenes), 2, replace=False))
    texture = _part(other, rng) if rng.random() < 0.5 else None
    rgba = _visible(procedural_subject(kind, rng, int(rng.integers(SUBJECT_SIDE[0], SUBJECT_SIDE[1] + 1)), texture))
    height, width = rgba.shape[:2]
    pixels = float(np.clip(width * height / rng.uniform(*BOX_SHARE), MIN_PIXELS, MAX_PIXELS))
    aspect = float(rng.choice(ASPECTS))
    canvas_w, canvas_h = round((pixels * aspect) ** 0.5), round((pixels / aspect) ** 0.5)
    canvas = max(canvas_w, width + 16), max(canvas_h, height + 16)
    jpeg, alpha, foreground = compose(rgba, backdrop, canvas, rng)
    return Composite(f"{split}-{name}-{index:03d}", kind, backdrop.name, jpeg, alpha, foreground)


def _part(backdrop: Backdrop, rng: np.random.Generator) -> NDArray[np.uint8]:
    """A random square of a photograph, [s, s, 3]."""
    with Image.open(backdrop.path) as image:
        side = int(rng.integers(TEXTURE_SIDE[0], TEXTURE_SIDE[1] + 1))
        left, top = int(rng.integers(0, image.width - side)), int(rng.integers(0, image.height - side))
        return np.asarray(image.convert("RGB").crop((left, top, left + side, top + side)))


def _visible(rgba: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The box of the pixels that are not empty."""
    rows, columns = (np.flatnonzero(rgba[..., 3].any(axis)) for axis in (1, 0))
    return rgba[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
