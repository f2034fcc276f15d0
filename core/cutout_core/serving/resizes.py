"""Enlargements in INT8 graphs, of bytes instead of floats.

A graph enlarges floats and then quantizes them. Here the quantization comes first, with the same step, and OpenVINO
enlarges the whole numbers: a quarter as many values to quantize, of half the bytes to read. The answer stays within a
step of what it was; beside values that the quantization clips, within what it clips.
"""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import math

import openvino as ov
from openvino import opset13 as op

from cutout_core.serving.graph_nodes import only_reader, stays_in_range


def with_resized_bytes(model: ov.Model) -> int:
    """Changes `model`, as OpenVINO reads QuantizeLinear and DequantizeLinear. Returns how many of its resizes read
    whole numbers now: those that never leave the range of their input (not cubic ones), and that one quantization with
    one step alone reads.
    """
    changed = sum(_quantize_first(node) for node in model.get_ordered_ops() if _is_straight(node))
    model.validate_nodes_and_infer_types()
    return changed


def _is_straight(node: ov.Node) -> bool:
    return node.get_type_name() == "Interpolate" and stays_in_range(node)


def _quantize_first(resize: ov.Node) -> bool:
    quantize = only_reader(resize, "FakeQuantize")
    to_int = quantize and only_reader(quantize, "Convert")
    if quantize is None or to_int is None:
        return False
    bounds = [quantize.input_value(index) for index in range(1, 5)]
    if any(bound.get_partial_shape().is_dynamic or math.prod(bound.shape) != 1 for bound in bounds):
        return False
    levels = quantize.get_attributes()["levels"]
    kind = to_int.get_element_type().to_string()
    small = op.convert(op.fake_quantize(resize.input_value(0), *bounds, levels), kind)
    for reader in to_int.output(0).get_target_inputs():
        reader.replace_source_output(resize.output(0))
    resize.input(0).replace_source_output(small.output(0))
    return True
