"""The measurements behind the served recipe, the served precision and the no-subject rule."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from tqdm import tqdm

from cutout_build.quality.composites import composites
from cutout_build.quality.engine import Segmentation, recipe_masks
from cutout_build.quality.metrics import Scores, score
from cutout_build.quality.scenes import scenes
from cutout_build.quality.stamps import SPLITS
from cutout_core.imaging.subject import has_subject
from cutout_core.imaging.upscale import upscale

#: Floor of the composites' canvas for segmentation, pixels: the network sees 320 × 320, and a lower floor than the
#: matting's gives the small stamps an ordinary share of the picture.
MIN_PIXELS = 150_000

#: Largest relative loss of band error and of IoU against ground truth at which a precision counts as harmless.
HARMLESS = 0.01


@dataclass(frozen=True, slots=True)
class Measured:
    """Scores of one composite by each recipe, and by bf16 of the served one."""

    name: str
    recipes: dict[str, Scores]
    bf16: Scores


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the no-subject rule said of one scene."""

    name: str
    kind: str
    has_subject: bool
    found: bool


@dataclass(frozen=True, slots=True)
class Loss:
    """bf16 against fp32. `relative`: of the mean over images, positive is worse. `error`: its standard error."""

    metric: str
    fp32: float
    bf16: float
    relative: float
    error: float


def measure_composites(engine: Segmentation, count: int, seed: int) -> list[Measured]:
    """Every recipe and bf16 on `count` composites per split, against ground truth at full size."""
    results = []
    progress = tqdm(total=count * len(SPLITS), desc="composites", unit="image")
    for split in SPLITS:
        for made in composites(split, count, seed, MIN_PIXELS):
            masks = recipe_masks(engine, made.jpeg)
            masks["bf16"] = engine.mask(engine.served_input(made.jpeg), "bf16")
            scores = {name: score(_full_size(mask, made.alpha), made.alpha) for name, mask in masks.items()}
            results.append(Measured(f"{made.name} {made.stamp}", scores, scores.pop("bf16")))
            progress.update()
    progress.close()
    return results


def measure_scenes(engine: Segmentation, count: int, seed: int) -> list[Verdict]:
    """The served no-subject rule on every scene (fp32)."""
    return [
        Verdict(
            scene.name,
            scene.kind,
            scene.has_subject,
            has_subject(engine.mask(engine.served_input(scene.file))),
        )
        for scene in tqdm(scenes(count, seed), desc="scenes", unit="image")
    ]


def losses(results: list[Measured]) -> list[Loss]:
    """Mean of MAE, band and IoU by fp32 and bf16, and the relative loss."""
    rows = []
    for metric, sign in (("mae", 1), ("band", 1), ("iou", -1)):
        fp32 = np.array([getattr(result.recipes["served"], metric) for result in results])
        bf16 = np.array([getattr(result.bf16, metric) for result in results])
        worse = sign * (bf16 - fp32)
        error = worse.std(ddof=1) / len(worse) ** 0.5 if len(worse) > 1 else float("nan")
        mean = float(fp32.mean())
        rows.append(Loss(metric, mean, float(bf16.mean()), float(worse.mean()) / mean, float(error) / mean))
    return rows


def is_harmless(rows: list[Loss]) -> bool:
    """Whether band error and IoU each lose at most HARMLESS."""
    return all(row.relative <= HARMLESS for row in rows if row.metric in ("band", "iou"))


def _full_size(mask: NDArray[np.float32], truth: NDArray[np.float32]) -> NDArray[np.float32]:
    """The mask as the served `postprocess` brings it to the photo's size."""
    height, width = truth.shape
    alpha: NDArray[np.float32] = upscale(mask, width, height).astype(np.float32) / 255
    return alpha
