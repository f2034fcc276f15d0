"""The seeded mix of requests: photos at sizes that people send, in the formats and options that they ask for."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from cutout_loadtest.shot import Shot, cutout_shot

#: Noise of the enlarged photos, 8-bit steps: without it an enlarged JPEG has far fewer bytes than a camera's.
_NOISE = 3.0


@dataclass(frozen=True, slots=True)
class Kind:
    """One class of requests. weight: its share, relative to the others'. megapixels: 10⁶ pixels. input: jpeg, png or
    webp. options: further ones of the request (`background`, `crop` ...)."""

    weight: int
    megapixels: float
    input: str
    output: str
    options: Mapping[str, str] = field(default_factory=dict)

    def name(self, quality: str) -> str:
        further = "".join(f", {name}={value}" for name, value in self.options.items())
        return f"{self.megapixels:g} MP {self.input} → {self.output}, {quality}{further}"


#: What a shop and its sellers upload: mostly phone photos that an app made smaller, some at full size. No service has
#: published its own mix; the shares are ours, and --mix takes a file with others.
MIX = (
    Kind(30, 0.26, "jpeg", "png"),
    Kind(20, 1, "jpeg", "png"),
    Kind(10, 1, "jpeg", "webp"),
    Kind(20, 4, "jpeg", "png"),
    Kind(10, 4, "jpeg", "jpeg"),
    Kind(5, 12, "jpeg", "jpeg"),
    Kind(3, 1, "png", "png"),
    Kind(2, 1, "webp", "png"),
)
#: For tests and tiny machines.
SMALL_MIX = (Kind(2, 0.26, "jpeg", "png"), Kind(1, 0.26, "png", "webp"))
MIXES = {"real": MIX, "small": SMALL_MIX}
_INPUTS = ("jpeg", "png", "webp")

#: Shots in a pool for each point of weight, in all; a request draws from the pool.
_POOL = 100


def read_mix(name: str) -> Sequence[Kind]:
    """A mix by its name, or of a JSON file: a list of objects with the fields of `Kind`.

    Raises ValueError with the place where the file is no mix, and OSError where it cannot be read.
    """
    if name in MIXES:
        return MIXES[name]
    try:
        entries = json.loads(Path(name).read_text("utf-8"))
    except FileNotFoundError:
        raise ValueError(f"--mix {name}: neither a file nor one of {', '.join(MIXES)}") from None
    except ValueError as error:
        raise ValueError(f"--mix {name} is not JSON: {error}") from None
    if not isinstance(entries, list) or not entries:
        raise ValueError(f"--mix {name}: not a list of kinds")
    return [_kind(entry, f"--mix {name}, kind {number}") for number, entry in enumerate(entries, 1)]


def _kind(entry: Any, place: str) -> Kind:
    try:
        kind = Kind(**entry)
    except TypeError as error:
        raise ValueError(f"{place}: {str(error).partition(' ')[2] or error}") from None
    numbers = (kind.weight, kind.megapixels)
    if not all(isinstance(number, int | float) and number > 0 for number in numbers):
        raise ValueError(f"{place}: weight and megapixels are numbers above 0")
    if kind.input not in _INPUTS:
        raise ValueError(f"{place}: input is one of {', '.join(_INPUTS)}")
    texts = [kind.output, *kind.options, *kind.options.values()] if isinstance(kind.options, dict) else [None]
    if not all(isinstance(text, str) for text in texts):
        raise ValueError(f"{place}: output and options are texts")
    return kind


def make_shots(kinds: Sequence[Kind], folder: Path, quality: str, seed: int, api_key: str | None = None) -> list[Shot]:
    """A pool in which each kind has its share; photos are drawn from `folder` with `seed`.

    The kinds are spread evenly, so that a part of the pool sent in order, as by a closed loop, is the mix too. The
    encoded files are shared among the shots. api_key: sent with each. Raises ValueError where the folder has no photo,
    or where the key cannot be sent.
    """
    photos = sorted(path for path in folder.iterdir() if path.suffix.lower() in {".png", ".jpg", ".jpeg"})
    if not photos:
        raise ValueError(f"{folder} holds no PNG or JPEG")
    total = sum(kind.weight for kind in kinds)
    generator = random.Random(seed)
    shots: list[tuple[float, Shot]] = []
    for kind in kinds:
        options = {"output": kind.output, "quality": quality, **kind.options}
        made = [
            cutout_shot(
                kind.name(quality),
                photo_file(photo, kind.megapixels, kind.input, seed),
                kind.megapixels,
                options,
                api_key,
            )
            for photo in generator.sample(photos, min(2, len(photos)))
        ]
        count = max(1, round(_POOL * kind.weight / total))
        shots += [((number + 0.5) / count, made[number % len(made)]) for number in range(count)]
    return [shot for _, shot in sorted(shots, key=lambda placed: placed[0])]


def photo_file(photo: Path, megapixels: float, encoding: str, seed: int = 0) -> bytes:
    """The photo scaled to `megapixels` × 10⁶ pixels, with a little noise, encoded as jpeg (q90), png or webp (q90)."""
    with Image.open(photo) as image:
        rgb = image.convert("RGB")
    factor = (megapixels * 1e6 / (rgb.width * rgb.height)) ** 0.5
    size = (max(1, round(rgb.width * factor)), max(1, round(rgb.height * factor)))
    pixels = np.asarray(rgb.resize(size, Image.Resampling.BICUBIC), np.float32)
    noise = np.random.default_rng(seed).standard_normal((256, 256, 3), np.float32) * _NOISE
    tiled = np.tile(noise, (size[1] // 256 + 1, size[0] // 256 + 1, 1))[: size[1], : size[0]]
    noisy = Image.fromarray(np.clip(np.rint(pixels + tiled), 0, 255).astype(np.uint8))
    buffer = io.BytesIO()
    settings = {"jpeg": {"quality": 90}, "webp": {"quality": 90, "method": 0}, "png": {"compress_level": 1}}
    noisy.save(buffer, encoding.upper(), **settings[encoding])
    return buffer.getvalue()
