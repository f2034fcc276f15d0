"""What a prepared graph gives on real photos, against the published one (`reference.py`), in fp32.

Held against the reference are the prepared graph in ONNX Runtime and in OpenVINO, alone and in a batch. What the other
precisions are worth is the certificate's question (`certificate/`).
"""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnxruntime
import openvino

from cutout_build.catalogue import Bounds
from cutout_build.errors import BuildError
from cutout_build.reference import Array, Inputs

#: Rows of the batch in which a photo must get the mask that it gets alone.
BATCH = 3

_REFERENCE = "published, onnxruntime fp32"


@dataclass(frozen=True, slots=True)
class PhotoDelta:
    """One photo's mask or alpha against a reference: max and mean |Δ| (of 0..1), intersection over union at 0.5.

    `iou` is 1 where neither has a pixel over 0.5.
    """

    photo: str
    max: float
    mean: float
    iou: float


@dataclass(frozen=True, slots=True)
class Comparison:
    """One way to run the prepared graph: `runtime`, its arithmetic and the rows a run; the reference; the photos.

    `passed`: whether the bounds hold.
    """

    runtime: str
    precision: str
    batch: int
    against: str
    bounds: dict[str, float]
    passed: bool
    photos: tuple[PhotoDelta, ...]


def check(
    prepared: Path, photos: dict[str, Inputs], reference: Array, bounds: Bounds, say: Callable[[str], None]
) -> tuple[Comparison, ...]:
    """Runs every comparison.

    photos: name to one row of the graph's inputs; at least BATCH of them. reference: [N, 1, 512, 512], the published
    answer to each.

    Raises BuildError where a bound is missed: then the prepared graph is not the published one.
    """
    names, rows = list(photos), list(photos.values())
    comparisons: list[Comparison] = []
    for runtime, open_graph in (("onnxruntime", _onnxruntime), ("openvino", _openvino)):
        run = open_graph(prepared)
        for batch in (1, BATCH):
            say(f"checking {runtime} fp32, {batch} a run ...")
            some = slice(None) if batch == 1 else slice(batch)
            deltas = _deltas(names[some], _run(run, rows[some], batch), reference[some])
            comparisons.append(_fp32(runtime, batch, deltas, bounds))
    return tuple(comparisons)


def _fp32(runtime: str, batch: int, deltas: tuple[PhotoDelta, ...], bounds: Bounds) -> Comparison:
    limits = {"max": bounds.fp32_max, "mean": bounds.fp32_mean}
    passed = all(delta.max <= bounds.fp32_max and delta.mean <= bounds.fp32_mean for delta in deltas)
    if not passed:
        worst_max, worst_mean = max(delta.max for delta in deltas), max(delta.mean for delta in deltas)
        raise BuildError(
            f"The prepared graph differs from the published one ({runtime} fp32, {batch} a run): max |Δ| "
            f"{worst_max:.2e} (bound {bounds.fp32_max:.0e}), mean {worst_mean:.2e} "
            f"(bound {bounds.fp32_mean:.0e})."
        )
    return Comparison(runtime, "fp32", batch, _REFERENCE, limits, passed, deltas)


def _run(run: Callable[[Inputs], Array], rows: Sequence[Inputs], batch: int) -> Array:
    answers: list[Array] = []
    for start in range(0, len(rows), batch):
        some = rows[start : start + batch]
        answers.append(run({name: np.stack([row[name] for row in some]) for name in some[0]}))
    return np.concatenate(answers)


def _deltas(names: list[str], masks: Array, reference: Array) -> tuple[PhotoDelta, ...]:
    found: list[PhotoDelta] = []
    for name, mask, truth in zip(names, masks, reference, strict=True):
        difference = np.abs(mask - truth)
        inside, truth_inside = mask > 0.5, truth > 0.5
        union = int(np.count_nonzero(inside | truth_inside))
        iou = np.count_nonzero(inside & truth_inside) / union if union else 1.0
        found.append(PhotoDelta(name, float(difference.max()), float(difference.mean()), float(iou)))
    return tuple(found)


def _onnxruntime(graph: Path) -> Callable[[Inputs], Array]:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(graph), options, ["CPUExecutionProvider"])

    def run(inputs: Inputs) -> Array:
        answer: Array = session.run(None, inputs)[0]
        return answer

    return run


def _openvino(graph: Path) -> Callable[[Inputs], Array]:
    compiled = openvino.Core().compile_model(str(graph), "CPU", {"INFERENCE_PRECISION_HINT": "f32"})

    def run(inputs: Inputs) -> Array:
        return np.array(compiled(inputs)[0])

    return run
