"""What a run of quantization is made with; imported without PyTorch, so that the command line can name it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class DistillSettings:
    """side: of a segmentation's input while training, pixels (a multiple of 32); smaller is cheaper.
    calibration: pictures for the first scales. frames, bank: as of the matting network's training.
    """

    steps: int = 0
    batch: int = 4
    side: int = 192
    learning_rate: float = 1e-5
    scale_rate: float = 2e-3
    calibration: int = 24
    frames: int = 500
    bank: int = 12
    seed: int = 1
