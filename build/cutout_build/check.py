"""What a prepared graph gives on real photos, against the published one (`reference.py`) and across precisions.

Held against the reference are the prepared graph in ONNX Runtime and in OpenVINO, alone and in a batch, in fp32; and
OpenVINO's bf16.

OpenVINO computes bf16 natively where the CPU has it and emulates the same arithmetic, slowly, on other CPUs with
AVX-512; on the rest the bf16 check is not run and bf16 is not offered.
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

    `passed`: whether the bounds hold; None where it was not run, and then `note` tells why.
    """

    runtime: str
    precision: str
    batch: int
    against: str
    bounds: dict[str, float]
    passed: bool | None
    photos: tuple[PhotoDelta, ...] = ()
    note: str = ""


def check(
    prepared: Path, photos: dict[str, Inputs], reference: Array, bounds: Bounds, say: Callable[[str], None]
) -> tuple[Comparison, ...]:
    """Runs every comparison.

    photos: name to one row of the graph's inputs; at least BATCH of them. reference: [N, 1, 512, 512], the published
    answer to each.

    Raises BuildError where an fp32 bound is missed: then the prepared graph is not the published one. bf16 missing
    its bound is a result, not an error.
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
    say("checking openvino bf16 ...")
    comparisons.append(_bf16(prepared, photos, reference, bounds))
    return tuple(comparisons)


def precisions(comparisons: Sequence[Comparison]) -> tuple[str, ...]:
    """The precisions that may be served, fastest first: those whose comparisons all passed."""
    return tuple(
        precision
        for precision in ("bf16", "fp32")
        if all(comparison.passed for comparison in comparisons if comparison.precision == precision)
    )


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


def _bf16(prepared: Path, photos: dict[str, Inputs], reference: Array, bounds: Bounds) -> Comparison:
    limits = {"mean": bounds.bf16_mean, "iou": bounds.bf16_iou}
    try:
        run = _openvino(prepared, "bf16")
    except _UnsupportedPrecisionError as error:
        return Comparison("openvino", "bf16", 1, _REFERENCE, limits, None, note=str(error))
    deltas = _deltas(list(photos), _run(run, list(photos.values()), 1), reference)
    passed = all(delta.mean <= bounds.bf16_mean and delta.iou >= bounds.bf16_iou for delta in deltas)
    return Comparison("openvino", "bf16", 1, _REFERENCE, limits, passed, deltas)


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


class _UnsupportedPrecisionError(Exception):
    pass


def _openvino(graph: Path, precision: str = "f32") -> Callable[[Inputs], Array]:
    wanted = {"f32": openvino.Type.f32, "bf16": openvino.Type.bf16}[precision]
    try:
        compiled = openvino.Core().compile_model(str(graph), "CPU", {"INFERENCE_PRECISION_HINT": wanted})
    except RuntimeError as error:
        if precision == "f32":
            raise
        raise _UnsupportedPrecisionError(f"not run: {str(error).strip().splitlines()[-1]}") from error
    if compiled.get_property("INFERENCE_PRECISION_HINT") != wanted:
        raise _UnsupportedPrecisionError(f"not run: this CPU has no {precision}, native or emulated")

    def run(inputs: Inputs) -> Array:
        return np.array(compiled(inputs)[0])

    return run
