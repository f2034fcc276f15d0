"""Trains a quantized engine to reproduce its own fp32 output on unlabelled pictures; resumable and seeded.

Teacher and student are the same graph; the student's convolutions see INT8 weights and activations (`fake_quant`).
Weights, biases and scales learn from the mean absolute difference of the outputs and of the heads: the convolutions
whose outputs are no activations, such as the side outputs of U²-Net. (Hinton et al., "Distilling the knowledge in a
neural network", 2015; Jacob et al., "Quantization and training of neural networks", CVPR 2018.)
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from onnx import ModelProto
from torch import Tensor
from torch.nn import functional
from tqdm import tqdm

from cutout_build.quantize.calibrate import alone_scales, calibrated
from cutout_build.quantize.equality import LARGEST_DIFFERENCE, proved_difference
from cutout_build.quantize.fake_quant import FakeQuant
from cutout_build.quantize.gains import with_gains
from cutout_build.quantize.photos import Photos
from cutout_build.quantize.plan import QuantPlan, is_activation, quant_plan
from cutout_build.quantize.settings import DistillSettings
from cutout_build.quantize.torch_graph import TorchGraph
from cutout_build.quantize.unit_scale import equalized
from cutout_build.quantize.write import int8_graph
from cutout_core.contract.engine import EngineManifest
from cutout_core.contract.tensors import MATTING

CHECKPOINT = "checkpoint.pt"
#: Weight of the heads' difference (in standard deviations of the teacher's) beside the output's.
_HEADS = 0.05


def distill(
    model: ModelProto,
    manifest: EngineManifest,
    folder: Path,
    settings: DistillSettings,
    keep: tuple[str, ...] = (),
    say: Callable[[str], None] = print,
) -> ModelProto:
    """The Q/DQ graph of `model`, trained; goes on where `folder` holds a checkpoint of the same settings.

    With `steps` 0 it is only calibrated. keep: outputs of the convolutions that stay in float. Raises ValueError where
    the checkpoint was made with other settings, or where PyTorch does not compute what ONNX Runtime does.
    """
    start = prepared(model, manifest, settings, keep, say)
    model, plan, teacher = start.model, start.plan, start.graph
    student = TorchGraph(model)
    full = manifest.input_size
    saved = _saved(folder, settings, keep)
    fake = FakeQuant(
        plan, calibrated(teacher, plan, start.samples) if saved is None else dict.fromkeys(plan.scales, 1.0)
    )
    side = full if manifest.model == MATTING.name else settings.side
    for graph in (teacher, student):
        graph.fit(side / full)
    optimizer = torch.optim.Adam(
        [
            {"params": student.parameters(), "rate": settings.learning_rate},
            {"params": fake.parameters(), "rate": settings.scale_rate},
        ]
    )
    first = 0
    if saved is not None:
        student.load_state_dict(saved["student"])
        fake.load_state_dict(saved["scales"])
        optimizer.load_state_dict(saved["optimizer"])
        first = saved["step"]
    heads = head_outputs(model)
    progress = tqdm(range(first, settings.steps), initial=first, total=settings.steps, unit="step")
    for step in progress:
        for group in optimizer.param_groups:
            group["lr"] = group["rate"] * learning_share(step, settings.steps)
        draws = [
            start.photos.draw(_training_rng(settings, step * settings.batch + row), manifest, side)
            for row in range(settings.batch)
        ]
        inputs = {name: _channels_last(torch.cat([draw[name] for draw in draws])) for name in draws[0]}
        loss = difference(teacher, student, fake, heads, inputs)
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        optimizer.step()
        progress.set_postfix(loss=f"{loss.item():.4f}")
        if (step + 1) % 50 == 0 or step + 1 == settings.steps:
            state = {"student": student.state_dict(), "scales": fake.state_dict(), "optimizer": optimizer.state_dict()}
            _save(folder, {"step": step + 1, "settings": asdict(settings), "keep": list(keep), **state})
    trained = ModelProto()
    trained.CopyFrom(model)
    student.write_to(trained)
    return int8_graph(trained, plan, fake.values())


@dataclass(frozen=True, slots=True)
class Prepared:
    """model: computes what the given one does, ready for `plan`. graph: it in PyTorch, proved equal. samples: what the
    first scales are taken from. alone: `unit_scale.equalized`'s scales, with which `model` was made."""

    model: ModelProto
    plan: QuantPlan
    graph: TorchGraph
    photos: Photos
    samples: list[dict[str, Tensor]]
    alone: dict[str, float]


def prepared(
    model: ModelProto,
    manifest: EngineManifest,
    settings: DistillSettings,
    keep: tuple[str, ...],
    say: Callable[[str], None],
) -> Prepared:
    """What calibration and training begin with; arguments and errors as of `distill`."""
    model = with_gains(model, keep)
    plan = quant_plan(model, keep)
    photos = Photos.load(settings.frames, settings.seed, settings.bank)
    samples = list(calibration_samples(photos, manifest, settings))
    alone = alone_scales(model, plan, samples)
    model = equalized(model, plan, alone)
    graph = TorchGraph(model).requires_grad_(False)
    off = proved_difference(model, graph, samples[0])
    say(f"PyTorch against ONNX Runtime on a picture: max |Δ| {off:.1e} (bound {LARGEST_DIFFERENCE:.0e})")
    return Prepared(model, plan, graph, photos, samples, alone)


def calibration_samples(
    photos: Photos, manifest: EngineManifest, settings: DistillSettings
) -> Iterator[dict[str, Tensor]]:
    """The engine's inputs for the pictures that the first scales are taken from."""
    for index in range(settings.calibration):
        yield photos.draw(calibration_rng(settings, index), manifest, manifest.input_size)


def training_samples(manifest: EngineManifest, settings: DistillSettings, count: int) -> Iterator[dict[str, Tensor]]:
    """The engine's inputs for the first `count` pictures of the training."""
    photos = Photos.load(settings.frames, settings.seed, settings.bank)
    for index in range(count):
        yield photos.draw(_training_rng(settings, index), manifest, manifest.input_size)


def calibration_rng(settings: DistillSettings, index: int) -> np.random.Generator:
    """What picture `index` of the calibration is drawn with."""
    return _rng(settings, 1, index)


def difference(
    teacher: TorchGraph, student: TorchGraph, fake: FakeQuant, heads: frozenset[str], inputs: dict[str, Tensor]
) -> Tensor:
    """The scalar that is minimised: mean |Δ| of the outputs + _HEADS × that of the heads in standard deviations."""
    wanted: dict[str, Tensor] = {}
    found: dict[str, Tensor] = {}

    def keep(name: str, value: Tensor) -> Tensor:
        if name in heads:
            wanted[name] = value
        return value

    def quantize(name: str, value: Tensor) -> Tensor:
        if name in heads:
            found[name] = value
        return fake.activation(name, value)

    with torch.no_grad():
        targets = teacher(inputs, keep)
    results = student(inputs, quantize, fake.weight)
    loss = torch.stack([(results[name] - targets[name]).abs().mean() for name in targets]).mean()
    for name in heads:
        spread = wanted[name].std().clamp_min(1e-6)
        loss = loss + _HEADS / len(heads) * functional.l1_loss(found[name] / spread, wanted[name] / spread)
    return loss


def head_outputs(model: ModelProto) -> frozenset[str]:
    """Outputs of the convolutions that no activation follows."""
    activated = {node.input[0] for node in model.graph.node if node.op_type in ("Relu", "Max", "Add")}
    activated |= {name for node in model.graph.node if node.op_type == "Add" for name in node.input}
    activated |= {node.output[0] for node in model.graph.node if is_activation(node)}
    return frozenset(n.output[0] for n in model.graph.node if n.op_type == "Conv") - activated


def learning_share(step: int, steps: int) -> float:
    """Share of the learning rate at a step: a warm-up over 2 %, then a cosine down to a hundredth."""
    warm = max(1, steps // 50)
    if step < warm:
        return (step + 1) / warm
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * (step - warm) / max(1, steps - warm)))


def _channels_last(value: Tensor) -> Tensor:
    return value.contiguous(memory_format=torch.channels_last)


def _training_rng(settings: DistillSettings, index: int) -> np.random.Generator:
    return _rng(settings, 2, index)


def _rng(settings: DistillSettings, stream: int, index: int) -> np.random.Generator:
    return np.random.default_rng([settings.seed, 31, stream, index])


def _saved(folder: Path, settings: DistillSettings, keep: tuple[str, ...]) -> dict[str, Any] | None:
    path = folder / CHECKPOINT
    if not path.is_file():
        return None
    saved: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    if saved["settings"] != asdict(settings) or saved.get("keep", []) != list(keep):
        raise ValueError(f"{folder} holds a run with other settings: {saved['settings']}, kept {saved.get('keep', [])}")
    return saved


def _save(folder: Path, entries: dict[str, object]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    scratch = folder / (CHECKPOINT + ".tmp")
    torch.save(entries, scratch)
    scratch.replace(folder / CHECKPOINT)
