"""Unlabelled pictures for calibration and distillation: the training split's composites and backgrounds."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from cutout_build.matting.frames import segmented_frames
from cutout_build.matting.samples import Frame
from cutout_build.matting.sources import procedural_bank, training_backdrops, training_stamps
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
    def load(cls, count: int, seed: int, bank: int) -> Photos:
        """The composites that the training of the matting network makes with the same numbers."""
        backdrops = training_backdrops()
        cutouts = training_stamps() + procedural_bank(bank, seed, backdrops)
        return cls(segmented_frames(count, seed, cutouts, backdrops), backdrops)

    def draw(self, rng: np.random.Generator, manifest: EngineManifest, side: int) -> dict[str, Tensor]:
        """Inputs of the engine for one picture, with batch axis 1. side: of a segmentation's input."""
        frame = self.frames[rng.integers(len(self.frames))]
        image, mask = frame.image, frame.mask
        if rng.random() < _EMPTY_SHARE:
            image, mask = _part(self.backdrops[rng.integers(len(self.backdrops))], rng), np.zeros_like(mask)
        if rng.random() < 0.5:
            image, mask = image[:, ::-1], mask[:, ::-1]
        if rng.random() < 0.5:
            gain = rng.uniform(0.6, 1.2, 3)
            image = np.clip(255 * (image / 255) ** rng.uniform(0.7, 1.5) * gain, 0, 255).astype(np.uint8)
        image = np.ascontiguousarray(image)
        if manifest.model == MATTING.name:
            mode = np.eye(3, dtype=np.float32)[rng.integers(3)]
            values = {
                "IMAGE": image.transpose(2, 0, 1),
                "MASK": mask[None].astype(np.float32) / 255,
                "MODE": mode[:, None, None],
            }
        else:
            small = shrink(image, side)
            values = {"IMAGE": normalize(small, manifest.mean, manifest.std, manifest.divide_by_max)}
        return {name: torch.from_numpy(np.ascontiguousarray(value)[None]) for name, value in values.items()}


def _part(backdrop: UInt8, rng: np.random.Generator) -> UInt8:
    side = int(rng.integers(min(backdrop.shape[:2]) // 2, min(backdrop.shape[:2]) + 1))
    top, left = (int(rng.integers(0, full - side + 1)) for full in backdrop.shape[:2])
    part: UInt8 = cv2.resize(backdrop[top : top + side, left : left + side], (512, 512), interpolation=cv2.INTER_AREA)
    return part
