"""The scales of an engine's INT8 graph without training it, for a file of them (`scales_file.py`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onnx import ModelProto

from cutout_build.quantize.calibrate import alone_scales, calibrated
from cutout_build.quantize.distill import calibration_samples
from cutout_build.quantize.equality import LARGEST_DIFFERENCE, proved_difference
from cutout_build.quantize.gains import with_gains
from cutout_build.quantize.layers import outputs_of
from cutout_build.quantize.photos import Photos
from cutout_build.quantize.plan import quant_plan
from cutout_build.quantize.scales_file import Calibration
from cutout_build.quantize.settings import DistillSettings
from cutout_build.quantize.torch_graph import TorchGraph
from cutout_build.quantize.unit_scale import equalized
from cutout_core.contract.engine import EngineManifest


def measure_scales(
    model: ModelProto,
    manifest: EngineManifest,
    weights_sha256: str,
    settings: DistillSettings,
    keep: Sequence[str] = (),
    say: Callable[[str], None] = print,
) -> Calibration:
    """keep: names of the convolutions that stay in float. Raises ValueError where `settings` ask for training, and
    where PyTorch does not compute what ONNX Runtime does."""
    if settings.steps:
        raise ValueError("a file of scales has no place for trained weights: write the graph, or set --steps 0")
    outputs = outputs_of(model, keep)
    model = with_gains(model, outputs)
    plan = quant_plan(model, outputs)
    photos = Photos.load(settings.frames, settings.seed, settings.bank)
    samples = list(calibration_samples(photos, manifest, settings))
    alone = alone_scales(model, plan, samples)
    model = equalized(model, plan, alone)
    graph = TorchGraph(model)
    off = proved_difference(model, graph, samples[0])
    say(f"PyTorch against ONNX Runtime on a picture: max |Δ| {off:.1e} (bound {LARGEST_DIFFERENCE:.0e})")
    return Calibration(weights_sha256, str(settings), tuple(keep), alone, calibrated(graph, plan, samples))
