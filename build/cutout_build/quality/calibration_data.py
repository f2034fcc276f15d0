"""What confidence and warnings are calibrated on: masks of the served segmentation beside ground truth, kept on disk.

Making a case costs a composite and a run of the network, so each is made once per engine and kept in the cache. Fitting
and reporting then take seconds.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cutout_build.catalogue import Catalogue
from cutout_build.quality.composites import composites, decode_rgb
from cutout_build.quality.engine import Segmentation
from cutout_build.quality.scenes import scenes
from cutout_build.quality.stamps import split_of
from cutout_core.contract.paths import cache_root
from cutout_core.contract.tensors import ALPHA_SIZE, SEGMENTATION
from cutout_core.imaging.resize import shrink

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

#: Floor of the canvas in pixels to the number of composites of the training and of the test split.
CANVASES = {60_000: (60, 30), 150_000: (100, 50), 500_000: (60, 30)}
#: Part of the case's name in the cache; raised when the making changes.
VERSION = 2
SEED = 3


@dataclass(frozen=True, slots=True, eq=False)
class Case:
    """One photo as the judging functions see it, and its truth.

    mask: float32 [512, 512] in 0..1 (8 bits deep), the segmentation's. rgb: uint8 [512, 512, 3]. truth: float32
    [512, 512] in 0..1, zero everywhere for a photo without a subject.
    """

    name: str
    kind: str
    mask: Float32
    rgb: UInt8
    truth: Float32


@dataclass(frozen=True, slots=True, eq=False)
class Source:
    """An image file and its alpha, [H, W] float32 in 0..1; None where there is no subject."""

    name: str
    file: bytes
    truth: Float32 | None


def cases(split: str, model: str = SEGMENTATION.name) -> Iterator[Case]:
    """All cases of one split: composites on small, medium and large canvases, then scenes without a subject. model:
    `segmentation` or `segmentation_high`, whose masks they get."""
    column = ("train", "test").index(split)
    for floor, counts in CANVASES.items():
        count = counts[column]
        yield from cached_cases(
            f"{split}-{floor}-{count}",
            f"composite, {floor / 1e6:g} MP and up",
            (
                Source(f"{made.stamp} {made.name}", made.jpeg, made.alpha)
                for made in composites(split, count, SEED, floor)
            ),
            model,
        )
    yield from empty_cases(split, model)


def empty_cases(split: str, model: str = SEGMENTATION.name) -> Iterator[Case]:
    """Scenes without a subject; all parts of one picture are on one side of the split."""
    yield from cached_cases(
        f"{split}-empty",
        "no subject",
        (
            Source(scene.name, scene.file, None)
            for scene in scenes(0, SEED)
            if not scene.has_subject and split_of(scene.name.partition(" part ")[0]) == split
        ),
        model,
    )


def cached_cases(name: str, kind: str, sources: Iterable[Source], model: str = SEGMENTATION.name) -> Iterator[Case]:
    """The cases of one set, from the cache where the whole set is there; `sources` is read only where it is not.

    The masks are those of the model's default engine in bf16.
    """
    folder = cache_root() / "quality" / "calibration" / f"{VERSION}-{_graph_key(model)}" / name
    if not folder.is_dir():
        folder.parent.mkdir(parents=True, exist_ok=True)
        engine = Segmentation(threads=1, model=model)
        with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
            for index, source in enumerate(tqdm(sources, desc=name, unit="image", leave=False)):
                _save(Path(scratch) / f"{index:03d}.npz", _make(source, kind, engine))
            shutil.copytree(scratch, folder.with_suffix(".part"), dirs_exist_ok=True)
        folder.with_suffix(".part").rename(folder)
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as data:
            mask, truth = (data[key].astype(np.float32) / 255 for key in ("mask", "truth"))
            yield Case(str(data["name"]), kind, mask, data["rgb"], truth)


def _save(path: Path, case: Case) -> None:
    levels = {
        name: np.rint(value * 255).astype(np.uint8) for name, value in (("mask", case.mask), ("truth", case.truth))
    }
    np.savez_compressed(path, name=np.array(case.name), rgb=case.rgb, **levels)


def _graph_key(model: str) -> str:
    """The first digits of the checksum of the default engine's weights: another network gets masks of its own."""
    return Catalogue.load().default(model).sources_sha256[:12]


def _make(source: Source, kind: str, engine: Segmentation) -> Case:
    rgb = decode_rgb(source.file)
    mask = engine.mask(engine.input_from(rgb, shrink, engine.manifest.divide_by_max), "bf16")
    size = (ALPHA_SIZE, ALPHA_SIZE)
    truth = np.zeros(size, np.float32) if source.truth is None else _squeezed(source.truth)
    return Case(source.name, kind, mask, shrink(rgb, ALPHA_SIZE), truth)


def _squeezed(alpha: Float32) -> Float32:
    """An alpha at the masks' size; area averages where it shrinks."""
    size = (ALPHA_SIZE, ALPHA_SIZE)
    how = cv2.INTER_AREA if min(alpha.shape) >= ALPHA_SIZE else cv2.INTER_LINEAR
    squeezed: Float32 = np.clip(cv2.resize(alpha, size, interpolation=how), 0, 1)
    return squeezed
