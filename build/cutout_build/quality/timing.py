"""Seconds per image: ours and the peers' in turns on the same pictures, nothing from the cache.

Ours run on one thread or as many as the pipeline was given; the peers use what they take by themselves.
"""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cutout_build.quality.baselines import true_coarse_mask
from cutout_build.quality.cases import cases
from cutout_build.quality.composites import Composite
from cutout_build.quality.ours import Pipeline
from cutout_build.quality.peers import Peers
from cutout_core.contract.tensors import ALPHA_SIZE
from cutout_core.imaging.decontaminate import decontaminate

#: Which pictures of the set `stamps`: 0.5, 1.1 and 2.2 megapixels; and how often each method runs on each.
PICTURES, ROUNDS = (0, 7, 13), 5

#: The names that targets speak of: a matting stage starts from a mask and ends with the full-size alpha.
MATTING, TILES, CLOSED_FORM = "matting stage, one 512² pass", "matting stage, native tiles", "closed form (pymatting)"
COLORS, MULTILEVEL = "decontamination", "foreground colours (pymatting multilevel)"


@dataclass(frozen=True, slots=True)
class TimeRow:
    """Median seconds of one method on one picture of `megapixels`."""

    megapixels: float
    method: str
    seconds: float


def measure_times(pipeline: Pipeline, peers: Peers, seed: int) -> list[TimeRow]:
    """Medians over ROUNDS runs, the methods in turns."""
    rows = []
    for index, made in enumerate(islice(cases("stamps", max(PICTURES) + 1, seed), max(PICTURES) + 1)):
        if index in PICTURES:
            seconds: dict[str, list[float]] = defaultdict(list)
            for _ in range(ROUNDS):
                for name, value in _once(pipeline, peers, made):
                    seconds[name].append(value)
            megapixels = made.alpha.size / 1e6
            rows += [TimeRow(megapixels, name, float(np.median(values))) for name, values in seconds.items()]
    return rows


def _once(pipeline: Pipeline, peers: Peers, made: Composite) -> Iterator[tuple[str, float]]:
    photo, alpha = made.photo(), np.rint(made.alpha * 255).astype(np.uint8)
    height, width = made.alpha.shape
    mask = np.rint(true_coarse_mask(made.alpha, width, height) * 255).astype(np.uint8)
    square = true_coarse_mask(made.alpha, ALPHA_SIZE, ALPHA_SIZE)
    yield CLOSED_FORM, peers.measure("closed_form", photo, mask)
    yield MULTILEVEL, peers.measure("foreground", photo, alpha)
    yield COLORS, _seconds(lambda: decontaminate(photo, alpha))
    yield MATTING, _stage_seconds(pipeline, made.jpeg, "standard", square)
    yield TILES, _stage_seconds(pipeline, made.jpeg, "high", square)
    yield "rembg (u2netp)", peers.measure("rembg", photo)
    yield "rembg (u2netp) + closed form", peers.measure("rembg_matting", photo)
    for quality in ("fast", "standard", "high"):
        whole = partial(pipeline.run, made.jpeg, quality, {}, fresh=True)
        yield f"ours, {quality}, photo to PNG", _seconds(whole)


def _stage_seconds(pipeline: Pipeline, file: bytes, quality: str, mask: NDArray[np.float32]) -> float:
    """From the mask to the full-size alpha: network, refinement, tiles and cleaning, without decoding and encoding."""
    start = time.perf_counter()
    _, meta = pipeline.run(file, quality, {"output": "mask"}, mask)
    total = time.perf_counter() - start
    outside = sum(meta.timings_ms.get(name, 0.0) for name in ("decode", "encode", "decode_reduced"))
    return total - outside / 1000


def _seconds(work: Callable[[], Any]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start
