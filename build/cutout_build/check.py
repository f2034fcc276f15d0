"""What a prepared graph gives on real photos, against the published graph and across precisions.

The reference is the published graph itself, run by ONNX Runtime in fp32 one photo at a time, its mask brought to the
alpha's size outside the graph by OpenCV's linear resize (half-pixel centres, the same rule). Against it are held:
the prepared graph in ONNX Runtime and in OpenVINO, alone and in a batch, in fp32; and OpenVINO's bf16.

OpenVINO computes bf16 natively where the CPU has it and emulates the same arithmetic, slowly, on other CPUs with
AVX-512; on the rest the bf16 check is not run and bf16 is not offered.
"""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import openvino
from numpy.typing import NDArray

from cutout_build.catalogue import Bounds
from cutout_build.errors import BuildError
from cutout_core.contract.tensors import ALPHA_SIZE

Array = NDArray[np.float32]

#: Rows of the batch in which a photo must get the mask that it gets alone.
BATCH = 3

_REFERENCE = "published graph, onnxruntime fp32"


@dataclass(frozen=True, slots=True)
class PhotoDelta:
    """One photo's mask against a reference: max and mean |Δ| (mask in 0..1), intersection over union at 0.5.

    `iou` is 1 where neither mask has a pixel over 0.5.
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
    published: Path, prepared: Path, photos: dict[str, Array], bounds: Bounds, say: Callable[[str], None]
) -> tuple[Comparison, ...]:
    """Runs every comparison. photos: name to a network input [3, S, S] (normalised); at least BATCH of them.

    Raises BuildError where an fp32 bound is missed: then the prepared graph is not the published one. bf16 missing
    its bound is a result, not an error.
    """
    names, images = list(photos), np.stack(list(photos.values()))
    reference = _reference(published, images)
    comparisons: list[Comparison] = []
    for runtime, run in (("onnxruntime", _onnxruntime(prepared)), ("openvino", _openvino(prepared, "f32"))):
        for batch in (1, BATCH):
            say(f"checking {runtime} fp32, {batch} a run ...")
            rows = slice(None) if batch == 1 else slice(batch)
            deltas = _deltas(names[rows], _run(run, images[rows], batch), reference[rows])
            comparisons.append(_fp32(runtime, batch, deltas, bounds))
    say("checking openvino bf16 ...")
    comparisons.append(_bf16(prepared, names, images, reference, bounds))
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


def _bf16(prepared: Path, names: list[str], images: Array, reference: Array, bounds: Bounds) -> Comparison:
    limits = {"mean": bounds.bf16_mean, "iou": bounds.bf16_iou}
    try:
        run = _openvino(prepared, "bf16")
    except _UnsupportedPrecisionError as error:
        return Comparison("openvino", "bf16", 1, _REFERENCE, limits, None, note=str(error))
    deltas = _deltas(names, _run(run, images, 1), reference)
    passed = all(delta.mean <= bounds.bf16_mean and delta.iou >= bounds.bf16_iou for delta in deltas)
    return Comparison("openvino", "bf16", 1, _REFERENCE, limits, passed, deltas)


def _reference(published: Path, images: Array) -> Array:
    session = _session(published)
    image, mask = session.get_inputs()[0].name, session.get_outputs()[0].name
    masks = [session.run([mask], {image: row[None]})[0][0, 0] for row in images]
    size = (ALPHA_SIZE, ALPHA_SIZE)
    upsampled = [cv2.resize(row, size, interpolation=cv2.INTER_LINEAR) for row in masks]
    reference: Array = np.stack(upsampled)[:, None]
    return reference


def _run(run: Callable[[Array], Array], images: Array, batch: int) -> Array:
    return np.concatenate([run(images[start : start + batch]) for start in range(0, len(images), batch)])


def _deltas(names: list[str], masks: Array, reference: Array) -> tuple[PhotoDelta, ...]:
    found: list[PhotoDelta] = []
    for name, mask, truth in zip(names, masks, reference, strict=True):
        difference = np.abs(mask - truth)
        inside, truth_inside = mask > 0.5, truth > 0.5
        union = int(np.count_nonzero(inside | truth_inside))
        iou = np.count_nonzero(inside & truth_inside) / union if union else 1.0
        found.append(PhotoDelta(name, float(difference.max()), float(difference.mean()), float(iou)))
    return tuple(found)


def _session(graph: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(graph), options, ["CPUExecutionProvider"])


def _onnxruntime(graph: Path) -> Callable[[Array], Array]:
    session = _session(graph)
    name = session.get_inputs()[0].name

    def run(images: Array) -> Array:
        masks: Array = session.run(None, {name: images})[0]
        return masks

    return run


class _UnsupportedPrecisionError(Exception):
    pass


def _openvino(graph: Path, precision: str) -> Callable[[Array], Array]:
    wanted = {"f32": openvino.Type.f32, "bf16": openvino.Type.bf16}[precision]
    try:
        compiled = openvino.Core().compile_model(str(graph), "CPU", {"INFERENCE_PRECISION_HINT": wanted})
    except RuntimeError as error:
        if precision == "f32":
            raise
        raise _UnsupportedPrecisionError(f"not run: {str(error).strip().splitlines()[-1]}") from error
    if compiled.get_property("INFERENCE_PRECISION_HINT") != wanted:
        raise _UnsupportedPrecisionError(f"not run: this CPU has no {precision}, native or emulated")

    def run(images: Array) -> Array:
        return np.array(compiled(images)[0])

    return run
