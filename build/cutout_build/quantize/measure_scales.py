"""The scales of an engine's INT8 graph without training it, for a file of them (`scales_file.py`)."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from onnx import ModelProto

from cutout_build.quantize.calibrate import calibrated
from cutout_build.quantize.distill import prepared
from cutout_build.quantize.layers import outputs_of
from cutout_build.quantize.scales_file import Calibration
from cutout_build.quantize.settings import DistillSettings
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
    start = prepared(model, manifest, settings, outputs_of(model, keep), say)
    scales = calibrated(start.graph, start.plan, start.samples)
    return Calibration(weights_sha256, str(settings), tuple(keep), start.alone, scales)
