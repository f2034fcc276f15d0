"""Labelled photos for `mode=auto`: things on a studio sweep, a person, and the benchmark's composites.

A sweep is drawn: a bright, nearly neutral paper whose light falls off, a soft horizon, and the thing's soft shadow.
What stands on it is a stamp or a procedural subject, so that its alpha is known.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cutout_build.matting.procedural import procedural_subject
from cutout_build.photos import photo
from cutout_build.quality.composites import encode_jpeg
from cutout_build.quality.stamps import load_stamp, stamps

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

#: Stamps of made things with firm outlines, which a seller would shoot on a sweep.
PRODUCTS = frozenset(
    """747 Candy_cane_photo_1 Candy_cane_photo_2 German_Christmas_toy Lightbulb cello cementmixer cymbal_crash
    drum_tomtom_floor dumper firetruck home_compost_bin indycar mercurythermometer spade syringe toilet truck trumpet
    balloon360 bassoon cylinder garbagetruck green_korean_bus guitar2 guitar_classical guitar_electric
    guitar_electric_bass stethoscope wheel_tractor""".split()
)
#: Stamps whose outline is mostly hair, fur, plumage, leaves or limbs.
RAGGED = frozenset(
    """Christmas_Tree_photo albino_peahen crowned_crane heron_greatblue_flying holm_oak indian_blackbuck lion-2 mantis
    pelican pink_flamingo rambutan thyme tiger_sumatran tree336 capybara chimp gnu-baby gnu-baby-stand gnu-stand lobster
    otter peacock""".split()
)
#: Procedural kinds with a ragged outline.
HAIRY = ("hair", "fur", "feather", "leaves")

#: Sides of a drawn sweep, pixels.
SIDES = (500, 900)
#: Versions of the one portrait: parts of it, mirrored and in other light.
PORTRAITS = 12


@dataclass(frozen=True, slots=True, eq=False)
class ModeCase:
    """label: the mode that is right. alpha: [H, W] float32 in 0..1, None where it is not known."""

    name: str
    kind: str
    label: str
    file: bytes
    alpha: Float32 | None


def mode_cases(split: str, seed: int = 0) -> Iterator[ModeCase]:
    """All labelled photos of one split but the benchmark's composites, which are all `object`."""
    rng = np.random.default_rng([seed, *split.encode()])
    for path in stamps(split):
        if path.stem in PRODUCTS:
            yield _on_sweep(path.stem, "made thing on a sweep", "product", load_stamp(path), rng)
        elif path.stem in RAGGED:
            yield _on_sweep(path.stem, "ragged thing on a sweep", "object", load_stamp(path), rng)
    for kind in HAIRY:
        for index in range(4):
            subject = procedural_subject(kind, rng, 400)
            yield _on_sweep(f"{kind} {index}", "procedural hair on a sweep", "object", subject, rng)
    person = np.asarray(Image.open(photo("astronaut")).convert("RGB"))
    for index in range(PORTRAITS):
        yield ModeCase(f"astronaut {index}", "person", "portrait", encode_jpeg(_version(person, rng), 90), None)


def _on_sweep(name: str, kind: str, label: str, rgba: UInt8, rng: np.random.Generator) -> ModeCase:
    width, height = (int(side) for side in rng.integers(*SIDES, 2))
    fit = rng.uniform(0.45, 0.85) * min(width / rgba.shape[1], height / rgba.shape[0])
    size = (max(1, round(rgba.shape[1] * fit)), max(1, round(rgba.shape[0] * fit)))
    thing = np.asarray(Image.fromarray(rgba).resize(size, Image.Resampling.LANCZOS)).astype(np.float32)
    left, top = (width - size[0]) // 2, int((height - size[1]) * rng.uniform(0.4, 0.9))
    alpha = np.zeros((height, width), np.float32)
    place = np.s_[top : top + size[1], left : left + size[0]]
    alpha[place] = thing[..., 3] / 255
    scene = _paper(width, height, rng) * (1 - _shadow(alpha, rng))[..., None]
    cover = alpha[place][..., None]
    scene[place] = cover * thing[..., :3] + (1 - cover) * scene[place]
    scene += rng.normal(0, rng.uniform(0, 3), scene.shape)
    return ModeCase(name, kind, label, encode_jpeg(np.clip(scene + 0.5, 0, 255).astype(np.uint8), 90), alpha)


def _paper(width: int, height: int, rng: np.random.Generator) -> Float32:
    """White to light grey paper, [height, width, 3]: lighter in the middle, with a soft bend between wall and table."""
    down, across = np.mgrid[0:height, 0:width].astype(np.float32) / max(width, height)
    light = rng.uniform(185, 252) - rng.uniform(0, 45) * ((down - 0.45) ** 2 + (across - 0.5) ** 2)
    bend = 1 / (1 + np.exp(-(down - rng.uniform(0.55, 0.8)) / rng.uniform(0.03, 0.15)))
    light = light - rng.uniform(-12, 12) * bend
    paper: Float32 = light[..., None] + rng.normal(0, 3, 3).astype(np.float32)
    return paper


def _shadow(alpha: Float32, rng: np.random.Generator) -> Float32:
    """How much light the thing takes from the paper, [H, W] in 0..1: its own shape, lower, flatter and blurred."""
    height, width = alpha.shape
    bottom = float(np.flatnonzero(alpha.max(axis=1) > 0.5)[-1])
    flat = rng.uniform(0.08, 0.3)
    move = np.array([[1, 0, rng.normal(0, 0.02) * width], [0, flat, bottom * (1 - flat) + 0.01 * height]], np.float32)
    cast = cv2.warpAffine(alpha, move, (width, height))
    soft: Float32 = cv2.GaussianBlur(cast, (0, 0), rng.uniform(0.01, 0.04) * width) * rng.uniform(0.1, 0.5)
    return soft


def _version(rgb: UInt8, rng: np.random.Generator) -> UInt8:
    """At least four fifths of the photo's sides, its top kept nearly whole, mirrored by chance, darker or lighter."""
    height, width = rgb.shape[:2]
    part_h, part_w = (int(side * rng.uniform(0.8, 1)) for side in (height, width))
    top, left = int(rng.integers(0, (height - part_h) // 3 + 1)), int(rng.integers(0, width - part_w + 1))
    part = rgb[top : top + part_h, left : left + part_w]
    part = part[:, ::-1] if rng.random() < 0.5 else part
    version: UInt8 = np.rint(255 * (part / 255) ** rng.uniform(0.7, 1.4)).astype(np.uint8)
    return version
