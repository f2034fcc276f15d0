"""From a plan and its scales to the INT8 graph that is served."""

from __future__ import annotations

from onnx import ModelProto

from cutout_build.quantize.matrix_resize import matrix_resizes
from cutout_build.quantize.plan import QuantPlan
from cutout_build.quantize.qdq import write_qdq
from cutout_build.quantize.unit_scale import unit_scales


def int8_graph(model: ModelProto, plan: QuantPlan, scales: dict[str, float]) -> ModelProto:
    """The Q/DQ graph of `model` (from `gains.with_gains`) at `scales`, one of each group of `plan`."""
    scaled, units = unit_scales(model, plan, scales)
    return matrix_resizes(write_qdq(scaled, plan, units))
