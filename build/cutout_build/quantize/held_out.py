"""Scales and pictures for the sensitivity analysis: those of calibration, and others than those of calibration.

The pictures are composites of the training split, as calibration's are: layers that were chosen by the certificate's
pictures would be judged by what they were chosen on.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import onnx
from onnx import ModelProto

from cutout_build.quality.cache import Arrays, cached, digest
from cutout_build.quantize.calibrate import alone_scales, calibrated
from cutout_build.quantize.distill import calibration_rng, calibration_samples
from cutout_build.quantize.gains import with_gains
from cutout_build.quantize.photos import Photos, network_inputs
from cutout_build.quantize.plan import quant_plan
from cutout_build.quantize.settings import DistillSettings
from cutout_build.quantize.torch_graph import TorchGraph
from cutout_build.quantize.unit_scale import equalized
from cutout_build.reference import Inputs
from cutout_core.contract.engine import EngineManifest

#: Pictures that the layers are judged on.
COUNT = 12


@dataclass(frozen=True, slots=True)
class Trial:
    """model: computes what the given one does, ready for `quant_plan`. scales: of that plan, by calibration.
    pictures: COUNT inputs, without batch axis, that calibration does not draw."""

    model: ModelProto
    scales: dict[str, float]
    pictures: list[Inputs]


def trial(model: ModelProto, manifest: EngineManifest, settings: DistillSettings) -> Trial:
    """What the layers of `model` are judged with; kept on disk."""
    model = with_gains(model)
    plan = quant_plan(model)

    def compute() -> Arrays:
        photos = Photos.load(settings.frames, settings.seed, settings.bank)
        samples = list(calibration_samples(photos, manifest, settings))
        ready = equalized(model, plan, alone_scales(model, plan, samples))
        scales = calibrated(TorchGraph(ready), plan, samples)
        rows = [
            network_inputs(frame.image, frame.mask, index % 3, manifest, manifest.input_size)
            for index, frame in enumerate(photos.frames[place] for place in undrawn(photos, settings, COUNT))
        ]
        inputs = {name: np.stack([row[name] for row in rows]) for name in rows[0]}
        graph = np.frombuffer(ready.SerializeToString(deterministic=True), np.uint8)
        return {"graph": graph, "scales": np.array([scales[name] for name in plan.scales])} | inputs

    key = digest(model.SerializeToString(), str(settings), str(COUNT), str((manifest.mean, manifest.std)))
    arrays = cached("sensitivity-pictures-2", key, compute)
    ready, values = onnx.load_from_string(arrays.pop("graph").tobytes()), arrays.pop("scales")
    pictures = [{name: stack[index] for name, stack in arrays.items()} for index in range(COUNT)]
    return Trial(ready, dict(zip(plan.scales, (float(value) for value in values), strict=True)), pictures)


def undrawn(photos: Photos, settings: DistillSettings, count: int) -> list[int]:
    """`count` frames, evenly spread over those that calibration does not draw."""
    drawn = {photos.drawn(calibration_rng(settings, index)) for index in range(settings.calibration)}
    left = [index for index in range(len(photos.frames)) if index not in drawn]
    return [left[place * len(left) // count] for place in range(count)]
