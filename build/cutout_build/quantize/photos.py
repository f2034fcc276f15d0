"""Unlabelled pictures for calibration and distillation: the training split's composites and backgrounds."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cutout_build.matting.frames import segmented_frames
from cutout_build.matting.samples import Frame
from cutout_build.matting.sources import procedural_bank, training_backdrops, training_stamps
from cutout_build.reference import Inputs
from cutout_core.contract.engine import EngineManifest
from cutout_core.contract.tensors import MATTING
from cutout_core.imaging.normalize import normalize
from cutout_core.imaging.resize import shrink

UInt8 = NDArray[np.uint8]

#: Share of pictures that are a background alone: no subject must stay no subject.
_EMPTY_SHARE = 0.15


@dataclass(frozen=True, slots=True, eq=False)
class Photos:
    """frames: composites with the segmentation's mask. backdrops: photographs without a subject, RGB uint8."""

    frames: list[Frame]
    backdrops: list[UInt8]

    @classmethod
    @lru_cache(maxsize=1)
    def load(cls, count: int, seed: int, bank: int) -> Photos:
        """The composites that the training of the matting network makes with the same numbers; minutes, and once."""
        backdrops = training_backdrops()
        cutouts = training_stamps() + procedural_bank(bank, seed, backdrops)
        return cls(segmented_frames(count, seed, cutouts, backdrops), backdrops)

    def draw(self, rng: np.random.Generator, manifest: EngineManifest, side: int) -> dict[str, Tensor]:
        """Inputs of the engine for one picture, with batch axis 1. side: of a segmentation's input."""
        frame = self.frames[self.drawn(rng)]
        image, mask = frame.image, frame.mask
        if rng.random() < _EMPTY_SHARE:
            image, mask = _part(self.backdrops[rng.integers(len(self.backdrops))], rng), np.zeros_like(mask)
        if rng.random() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        if rng.random() < 0.5:
            gain = rng.uniform(0.6, 1.2, 3)
            image = np.clip(255 * (image / 255) ** rng.uniform(0.7, 1.5) * gain, 0, 255).astype(np.uint8)
        mode = int(rng.integers(3)) if manifest.model == MATTING.name else 0
        values = network_inputs(image, mask, mode, manifest, side)
        return {name: torch.from_numpy(value[None]) for name, value in values.items()}

    def drawn(self, rng: np.random.Generator) -> int:
        """The frame that `draw` takes with this generator."""
        return int(rng.integers(len(self.frames)))


def network_inputs(image: UInt8, mask: UInt8, mode: int, manifest: EngineManifest, side: int) -> Inputs:
    """The engine's inputs for a picture and its mask, without batch axis. mode: index of the matting's, 0..2. side: of
    a segmentation's input."""
    if manifest.model == MATTING.name:
        values: Inputs = {
            "IMAGE": image.transpose(2, 0, 1),
            "MASK": mask[None].astype(np.float32) / 255,
            "MODE": np.eye(3, dtype=np.float32)[mode][:, None, None],
        }
    else:
        small = shrink(np.ascontiguousarray(image), side)
        values = {"IMAGE": normalize(small, manifest.mean, manifest.std, manifest.divide_by_max)}
    return {name: np.ascontiguousarray(value) for name, value in values.items()}


def _part(backdrop: UInt8, rng: np.random.Generator) -> UInt8:
    side = int(rng.integers(min(backdrop.shape[:2]) // 2, min(backdrop.shape[:2]) + 1))
    top, left = (int(rng.integers(0, full - side + 1)) for full in backdrop.shape[:2])
    part: UInt8 = cv2.resize(backdrop[top : top + side, left : left + side], (512, 512), interpolation=cv2.INTER_AREA)
    return part
