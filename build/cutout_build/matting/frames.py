"""Whole composites with the masks that the served segmentation network really gives for them.

Made once with the engine that `make models` builds, and kept in the cache.
"""

from __future__ import annotations

import cv2
import numpy as np
from tqdm import tqdm

from cutout_build.matting import procedural, samples
from cutout_build.matting.masks import MATTING_SIDE
from cutout_build.matting.samples import KIND_SHARES, Frame, UInt8, over_backdrop, recolored, resized
from cutout_build.matting.sources import Cutout, drawn_folder
from cutout_build.quality.engine import Segmentation
from cutout_build.quality.metrics import iou
from cutout_core.imaging.resize import shrink

#: A mask that agrees less with the truth has found something else; the matting cannot mend that.
MIN_IOU = 0.6


def segmented_frames(count: int, seed: int, cutouts: list[Cutout], backdrops: list[UInt8]) -> list[Frame]:
    """`count` frames; those whose mask is on another subject (IoU < MIN_IOU) are left out."""
    engine = Segmentation()
    code = [__file__, samples.__file__, procedural.__file__]
    pictures = [cutout.rgba for cutout in cutouts] + backdrops
    folder = drawn_folder(f"frames-{seed}", code, engine.manifest.graphs["fp32"], *pictures)
    missing = [index for index in range(count) if not (folder / f"{index:04d}.npz").is_file()]
    by_kind = {kind: [c for c in cutouts if c.kind == kind] for kind in KIND_SHARES}
    for index in tqdm(missing, desc="segmented frames"):
        frame = _frame(np.random.default_rng([seed, 7, index]), by_kind, backdrops, engine)
        path = folder / f"{index:04d}.npz"
        with path.with_suffix(".tmp").open("wb") as file:
            np.savez(file, kind=frame.kind, image=frame.image, mask=frame.mask, alpha=frame.alpha)
        path.with_suffix(".tmp").replace(path)
    found = []
    for index in range(count):
        with np.load(folder / f"{index:04d}.npz") as data:
            frame = Frame(str(data["kind"]), data["image"], data["mask"], data["alpha"])
        if iou(frame.mask / np.float32(255), frame.alpha / np.float32(255)) >= MIN_IOU:
            found.append(frame)
    return found


def _frame(
    rng: np.random.Generator, by_kind: dict[str, list[Cutout]], backdrops: list[UInt8], engine: Segmentation
) -> Frame:
    kind = str(rng.choice(list(KIND_SHARES), p=list(KIND_SHARES.values())))
    rgba = resized(by_kind[kind][rng.integers(len(by_kind[kind]))].rgba, rng, (0.9, 1.0))
    fit = rng.uniform(0.5, 1.0) * MATTING_SIDE / max(rgba.shape[:2])
    if fit < 1:
        size = max(8, round(rgba.shape[1] * fit)), max(8, round(rgba.shape[0] * fit))
        rgba = cv2.resize(rgba, size, interpolation=cv2.INTER_AREA)
    rgba = recolored(rgba, rng)
    top, left = (int(rng.integers(0, MATTING_SIDE - side + 1)) for side in rgba.shape[:2])
    whole = np.zeros((MATTING_SIDE, MATTING_SIDE, 4), np.uint8)
    whole[top : top + rgba.shape[0], left : left + rgba.shape[1]] = rgba
    image = over_backdrop(whole, backdrops, rng)
    mask = engine.mask(engine.input_from(image, shrink, engine.manifest.divide_by_max))
    return Frame(kind, image, np.rint(mask.reshape(MATTING_SIDE, MATTING_SIDE) * 255).astype(np.uint8), whole[..., 3])
