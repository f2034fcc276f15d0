"""What training composites are made of: cut-outs with exact alpha, and photographs to put behind them.

Photographic stamps and wallpapers of the training split (see `cutout_build.quality.stamps`), and a bank of procedural
subjects that is drawn once and kept in the cache.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from cutout_build.matting import procedural
from cutout_build.matting.procedural import procedural_subject
from cutout_build.quality.cache import digest
from cutout_build.quality.stamps import (
    EXCLUDED,
    backdrops,
    family_of,
    is_photograph,
    load_stamp,
    package_folder,
    split_of,
    stamps,
)
from cutout_core.contract.paths import cache_root

UInt8 = NDArray[np.uint8]

#: Subjects of each kind in the bank, before multiplication by its size.
BANK_SHARES = {"hair": 9, "fur": 11, "feather": 4, "leaves": 5, "shape": 8, "glass": 4, "soft": 6}
#: Side of the bank's subjects, pixels.
BANK_SIDE = 448
#: Stamps for training may be smaller than those to judge by, and so have fewer colours.
MIN_STAMP_SIDE, MIN_COLOURS = 139, 200
#: Longer side to which wallpapers are shrunk.
BACKDROP_SIDE = 1800


@dataclass(frozen=True, slots=True, eq=False)
class Cutout:
    """rgba: straight, uint8 [H, W, 4]. kind: `stamp` or one of the procedural kinds."""

    name: str
    kind: str
    rgba: UInt8


def training_stamps() -> list[Cutout]:
    """Photographic stamps of the training split, the small ones too."""
    chosen = {path.name: path for path in stamps("train")}
    root = package_folder("tuxpaint-stamps-default") / "usr/share/tuxpaint/stamps"
    for path in sorted(root.rglob("*.png")):
        if path.name in EXCLUDED or "cartoon" in path.parts or split_of(family_of(path.name)) != "train":
            continue
        if path.name not in chosen and is_photograph(path, MIN_STAMP_SIDE, MIN_COLOURS):
            chosen[path.name] = path
    return [Cutout(name, "stamp", load_stamp(chosen[name])) for name in sorted(chosen)]


def training_backdrops() -> list[UInt8]:
    """Wallpaper photographs of the training split, RGB uint8, the longer side at most BACKDROP_SIDE."""
    found = []
    for backdrop in backdrops("train"):
        with Image.open(backdrop.path) as image:
            rgb = image.convert("RGB")
        rgb.thumbnail((BACKDROP_SIDE, BACKDROP_SIDE))
        found.append(np.asarray(rgb))
    return found


def procedural_bank(size: int, seed: int, textures: list[UInt8]) -> list[Cutout]:
    """`size` × 47 procedural subjects, drawn with all cores the first time and then read from the cache."""
    folder = drawn_folder(f"bank-{seed}", [procedural.__file__], *textures)
    names = [(kind, index) for kind, share in BANK_SHARES.items() for index in range(share * size)]
    missing = [(kind, index) for kind, index in names if not _bank_file(folder, kind, index).is_file()]
    if missing:
        with ProcessPoolExecutor(os.cpu_count(), initializer=_init_worker, initargs=(folder, seed, textures)) as pool:
            list(tqdm(pool.map(_draw, missing, chunksize=4), total=len(missing), desc="procedural subjects"))
    return [Cutout(f"{kind}-{index}", kind, _read(_bank_file(folder, kind, index))) for kind, index in names]


def drawn_folder(name: str, code: Sequence[str], *parts: str | UInt8) -> Path:
    """The cache's folder for what is drawn by the source files `code` from `parts`: another one when any of them
    changes. Of a picture every 16th pixel of every 16th row is looked at."""
    seen = (part if isinstance(part, str) else part[::16, ::16] for part in parts)
    key = digest(*(Path(file).read_bytes() for file in code), *seen)
    folder = cache_root() / "matting" / f"{name}-{key[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


_worker: tuple[Path, int, list[UInt8]]


def _init_worker(folder: Path, seed: int, textures: list[UInt8]) -> None:
    global _worker
    _worker = (folder, seed, textures)
    cv2.setNumThreads(1)


def _draw(name: tuple[str, int]) -> None:
    folder, seed, textures = _worker
    kind, index = name
    rng = np.random.default_rng([seed, *kind.encode(), index])
    texture = None
    if textures and rng.random() < 0.7:
        source = textures[rng.integers(len(textures))]
        side = int(rng.integers(64, min(source.shape[:2])))
        top, left = rng.integers(0, source.shape[0] - side + 1), rng.integers(0, source.shape[1] - side + 1)
        texture = source[top : top + side, left : left + side]
    rgba = procedural_subject(kind, rng, BANK_SIDE, texture)
    path = _bank_file(folder, kind, index)
    scratch = path.with_suffix(f".{os.getpid()}.tmp")
    np.save(scratch.open("wb"), rgba)
    scratch.replace(path)


def _bank_file(folder: Path, kind: str, index: int) -> Path:
    return folder / f"{kind}-{index:04d}.npy"


def _read(path: Path) -> UInt8:
    rgba: UInt8 = np.load(path)
    return rgba
