"""Trains the matting network; resumable, seeded, on a CPU or a GPU, its convolutions in bf16 where the device has it.

The run's folder holds `checkpoint.pt` (everything that a resumed run needs), `log.csv` and `loss.svg`. Sample number i
is drawn from the seed and i alone, so a resumed run sees what an unbroken one would have seen.
"""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, IterableDataset
from tqdm import tqdm

from cutout_build.certificate.runs import capabilities
from cutout_build.matting.frames import segmented_frames
from cutout_build.matting.losses import matting_loss
from cutout_build.matting.network import MattingNetwork
from cutout_build.matting.photographs import scenes, taught_frames
from cutout_build.matting.plot import plot_losses
from cutout_build.matting.samples import Sampler
from cutout_build.matting.sources import procedural_bank, training_stamps
from cutout_core.contract.tensors import MODES

CHECKPOINT, LOG, PLOT = "checkpoint.pt", "log.csv", "loss.svg"


@dataclass(frozen=True, slots=True)
class TrainSettings:
    """side: of the square crops, pixels. bank: procedural subjects / 47. frames: composites with real masks.

    ema: decay of the averaged weights, which are what is exported.
    """

    steps: int = 6000
    batch: int = 16
    side: int = 192
    learning_rate: float = 2e-3
    weight_decay: float = 1e-4
    warm_up: int = 200
    ema: float = 0.998
    bank: int = 12
    frames: int = 500
    seed: int = 1


class Samples(IterableDataset[tuple[Tensor, ...]]):
    """Batches of (image [N, 3, S, S], mask [N, 1, S, S], mode [N], alpha [N, 1, S, S], known [N, 1, S, S]) from batch
    number `start` on."""

    def __init__(self, sampler: Sampler, settings: TrainSettings, start: int) -> None:
        self._sampler, self._settings, self._start = sampler, settings, start

    def __iter__(self) -> Iterator[tuple[Tensor, ...]]:
        cv2.setNumThreads(1)
        worker = torch.utils.data.get_worker_info()
        first, stride = (worker.id, worker.num_workers) if worker else (0, 1)
        for step in range(self._start + first, self._settings.steps, stride):
            indices = range(step * self._settings.batch, (step + 1) * self._settings.batch)
            drawn = [self._sampler.draw(np.random.default_rng([self._settings.seed, 9, index])) for index in indices]
            image = np.stack([sample.image for sample in drawn]).transpose(0, 3, 1, 2).astype(np.float32) / 255
            mask, alpha, known = (
                torch.from_numpy(np.stack(planes)[:, None])
                for planes in zip(
                    *((s.mask, s.alpha, np.ones_like(s.alpha) if s.known is None else s.known) for s in drawn),
                    strict=True,
                )
            )
            mode = torch.tensor([sample.mode for sample in drawn])
            yield torch.from_numpy(image), mask, mode, alpha, known


def train(folder: Path, settings: TrainSettings, workers: int = 1) -> MattingNetwork:
    """Trains, or goes on where `folder` holds a checkpoint; returns the network with averaged weights.

    Raises ValueError where the checkpoint was made with other settings (only `steps` may grow or shrink).
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    torch.manual_seed(settings.seed)
    network = MattingNetwork().to(device, memory_format=torch.channels_last)
    average = MattingNetwork().to(device)
    average.load_state_dict(network.state_dict())
    optimizer = torch.optim.AdamW(network.parameters(), settings.learning_rate, weight_decay=settings.weight_decay)
    start = _resume(folder, settings, network, average, optimizer)
    backdrops = scenes()
    cutouts = training_stamps() + procedural_bank(settings.bank, settings.seed, backdrops)
    frames = segmented_frames(settings.frames, settings.seed, cutouts, backdrops)
    loader = DataLoader(
        Samples(Sampler(cutouts, backdrops, frames, settings.side, taught_frames()), settings, start),
        batch_size=None, num_workers=workers, prefetch_factor=4 if workers else None,
        multiprocessing_context="spawn" if workers else None,  # a fork would inherit the libraries' held locks
    )  # fmt: skip
    rows: list[tuple[int, float, float]] = []
    began = time.monotonic()
    network.train()
    progress = tqdm(loader, initial=start, total=settings.steps, unit="step", mininterval=10)
    for step, (image, mask, mode, alpha, known) in enumerate(progress, start):
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(step, settings)
        image = image.to(device, memory_format=torch.channels_last)
        one_hot = torch.nn.functional.one_hot(mode, len(MODES)).float()[..., None, None].to(device)
        with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda" or "bf16" in capabilities()):
            found = network(image, mask.to(device), one_hot)
        loss = matting_loss(found.float(), alpha.to(device), mode, known.to(device))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        _follow(average, network, min(settings.ema, (1 + step) / (10 + step)))
        rows.append((step + 1, float(loss.detach()), time.monotonic() - began))
        if (step + 1) % 100 == 0 or step + 1 == settings.steps:
            _save(folder, settings, step + 1, network, average, optimizer)
            _log(folder, rows)
            rows.clear()
    return load_average(folder)[0]


def learning_rate(step: int, settings: TrainSettings) -> float:
    """Linear warm-up, then a cosine down to a hundredth (Loshchilov and Hutter, ICLR 2017)."""
    if step < settings.warm_up:
        return settings.learning_rate * (step + 1) / settings.warm_up
    done = (step - settings.warm_up) / max(1, settings.steps - settings.warm_up)
    return settings.learning_rate * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(1.0, done))))


def load_average(folder: Path) -> tuple[MattingNetwork, dict[str, Any]]:
    """The averaged network of a run, and the checkpoint's other entries (`step`, `settings`)."""
    saved = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
    network = MattingNetwork()
    network.load_state_dict(saved.pop("average"))
    return network.eval(), saved


def _follow(average: MattingNetwork, network: MattingNetwork, decay: float) -> None:
    with torch.no_grad():
        for mean, value in zip(average.state_dict().values(), network.state_dict().values(), strict=True):
            if mean.dtype.is_floating_point:
                mean.lerp_(value, 1 - decay)
            else:
                mean.copy_(value)


def _resume(
    folder: Path,
    settings: TrainSettings,
    network: MattingNetwork,
    average: MattingNetwork,
    optimizer: torch.optim.Optimizer,
) -> int:
    if not (folder / CHECKPOINT).is_file():
        return 0
    saved = torch.load(folder / CHECKPOINT, map_location="cpu", weights_only=True)
    if {**saved["settings"], "steps": 0} != {**asdict(settings), "steps": 0}:
        raise ValueError(f"{folder} holds a run with other settings: {saved['settings']}")
    network.load_state_dict(saved["network"])
    average.load_state_dict(saved["average"])
    optimizer.load_state_dict(saved["optimizer"])
    return int(saved["step"])


def _save(
    folder: Path,
    settings: TrainSettings,
    step: int,
    network: MattingNetwork,
    average: MattingNetwork,
    optimizer: torch.optim.Optimizer,
) -> None:
    entries = {
        "step": step,
        "settings": asdict(settings),
        "network": network.state_dict(),
        "average": average.state_dict(),
        "optimizer": optimizer.state_dict(),
    }
    scratch = folder / (CHECKPOINT + ".tmp")
    torch.save(entries, scratch)
    scratch.replace(folder / CHECKPOINT)


def _log(folder: Path, rows: list[tuple[int, float, float]]) -> None:
    path = folder / LOG
    new = not path.is_file()
    with path.open("a", newline="") as file:
        writer = csv.writer(file)
        if new:
            writer.writerow(["step", "loss", "seconds"])
        writer.writerows((step, f"{loss:.5f}", f"{seconds:.1f}") for step, loss, seconds in rows)
    plot_losses(path, folder / PLOT)
