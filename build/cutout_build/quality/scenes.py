"""Photos with and without a subject, for the rule that tells an empty scene."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cutout_build.photos import PHOTOS, photo
from cutout_build.quality.composites import composites, encode_jpeg
from cutout_build.quality.stamps import BUSY_BACKDROPS, EMPTY_BACKDROPS, SPLITS, picture

UInt8 = NDArray[np.uint8]

#: Abstract wallpapers without shapes that could pass for an object.
ABSTRACT = (
    "adwaita-d", "grid-d", "grid-l", "licorice-d", "licorice-l", "symbolic-d", "symbolic-l", "truchet-d", "truchet-l",
    "vnc-d", "vnc-l", "Elephants", "Silk", "Stripes", "Ubuntu-Mate-Cold-no-logo", "Ubuntu-Mate-Dark-no-logo",
    "Ubuntu-Mate-Radioactive-no-logo", "Ubuntu-Mate-Warm-no-logo", "Elarun", "Kokkini", "Opal", "PastelHills", "Shell",
    "Volna",
)  # fmt: skip
#: Wallpaper photographs and drawings with something that a viewer would cut out.
SUBJECTS = (*BUSY_BACKDROPS, "Autumn", "ColdRipple", "FlyingKonqui", "Kite", "Patak")

#: Longer side to which wallpapers are shrunk first.
WALLPAPER_SIDE = 1600


@dataclass(frozen=True, slots=True, eq=False)
class Scene:
    """A JPEG file, and whether a viewer would name a subject in it."""

    name: str
    kind: str
    has_subject: bool
    file: bytes


def scenes(count: int, seed: int) -> Iterator[Scene]:
    """All scenes: synthetic, textures, wallpapers with and without a subject, photographs, and composites.

    `count`: composites per split and canvas size (0.15 MP and up, and 0.5 MP and up with its small subjects).
    """
    rng = np.random.default_rng([seed, 2])
    yield from _synthetic(rng)
    for name, entry in PHOTOS.items():
        rgb = _load(photo(name))
        if entry.subject:
            yield Scene(name, "photograph", True, encode_jpeg(rgb, 90))
        else:
            yield from _views(name, "texture", rgb, rng)
    for name in EMPTY_BACKDROPS:
        yield from _views(name, "empty photograph", _load(picture(name)), rng)
    for name in ABSTRACT:
        yield Scene(name, "abstract wallpaper", False, encode_jpeg(_load(picture(name)), 90))
    for name in SUBJECTS:
        yield Scene(name, "wallpaper with a subject", True, encode_jpeg(_load(picture(name)), 90))
    for split in SPLITS:
        for kind, floor, offset in (("composite", 150_000, 0), ("composite, small", 500_000, 1)):
            for made in composites(split, count, seed + offset, floor):
                yield Scene(f"{made.name} {made.stamp}", f"{kind}, {split}", True, made.jpeg)


def _views(name: str, kind: str, rgb: UInt8, rng: np.random.Generator) -> Iterator[Scene]:
    """The whole picture and three parts of it, two of them mirrored."""
    yield Scene(name, kind, False, encode_jpeg(rgb, 90))
    height, width = rgb.shape[:2]
    for index in range(3):
        share = rng.uniform(0.6, 0.95)
        part_h, part_w = int(height * share), int(width * share)
        top, left = rng.integers(0, height - part_h + 1), rng.integers(0, width - part_w + 1)
        part = rgb[top : top + part_h, left : left + part_w]
        part = np.ascontiguousarray(part[:, ::-1] if index % 2 == 0 else part)
        yield Scene(f"{name} part {index + 1}", kind, False, encode_jpeg(part, 85))


def _synthetic(rng: np.random.Generator) -> Iterator[Scene]:
    height, width = 480, 640
    down, across = np.mgrid[0:height, 0:width].astype(np.float32) / height
    plain = {
        "white": (255, 255, 255), "black": (0, 0, 0), "grey": (128, 128, 128), "red": (200, 20, 20),
        "blue": (20, 60, 200), "green": (40, 160, 60), "skin": (220, 180, 150),
    }  # fmt: skip
    for name, color in plain.items():
        yield Scene(name, "plain", False, encode_jpeg(np.full((height, width, 3), color, np.uint8), 90))
    radius = np.hypot(down - 0.5, across - across.mean())
    for name, ramp in {"down": down, "across": across, "diagonal": down + across, "vignette": 1 - radius**2}.items():
        ramp = (ramp - ramp.min()) / (ramp.max() - ramp.min())
        tinted = ramp[..., None] * (200.0, 180.0, 140.0) + (30.0, 40.0, 90.0)
        yield Scene(name, "gradient", False, encode_jpeg(tinted.astype(np.uint8), 90))
    for blur in (0, 1, 5, 25):
        field = rng.normal(0, 1, (height, width, 3)).astype(np.float32)
        field = cv2.GaussianBlur(field, (0, 0), blur) if blur else field
        noise = np.clip(128 + field / field.std() * 40, 0, 255).astype(np.uint8)
        yield Scene(f"blur {blur}", "noise", False, encode_jpeg(noise, 90))


def _load(path: Path) -> UInt8:
    """RGB over mid grey, the longer side at most WALLPAPER_SIDE."""
    with Image.open(path) as image:
        rgba = image.convert("RGBA")
    rgba.thumbnail((WALLPAPER_SIDE, WALLPAPER_SIDE))
    ground = Image.new("RGBA", rgba.size, (128, 128, 128, 255))
    return np.asarray(Image.alpha_composite(ground, rgba).convert("RGB"))
