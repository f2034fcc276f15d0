"""Activations of INT8 graphs as UINT8, wherever they cannot be negative.

The graphs are signed, since TensorRT reads nothing else. Behind a ReLU half of the 256 steps are then never used. A CPU
multiplies unsigned activations by signed weights at least as fast (with AVX-512 VNNI faster: it has no instruction for
two signed factors), so here the steps are halved instead. The largest value that can be told apart stays as it is, to
half a step.
"""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import numpy as np
import openvino as ov
from openvino import opset13 as op

from cutout_core.serving.graph_nodes import only_reader, readers, stays_in_range

#: Operators whose output is never negative; not if the first, or if all of their inputs are not.
_POSITIVE = {"Relu", "Sigmoid"}
_LIKE_FIRST = {
    *("AvgPool", "Convert", "DepthToSpace", "FakeQuantize", "MaxPool"),
    *("Reshape", "Slice", "Squeeze", "Transpose", "Unsqueeze"),
}
_LIKE_ALL = {"Add", "Concat", "Maximum", "Multiply"}


def with_unsigned_activations(model: ov.Model) -> int:
    """Changes `model`, as OpenVINO reads QuantizeLinear and DequantizeLinear of int8 with a zero point of 0. Returns
    how many of its quantized tensors are unsigned now.
    """
    known: dict[str, bool] = {}
    nodes = [node for node in model.get_ordered_ops() if node.get_type_name() == "FakeQuantize"]
    found = [node for node in nodes if _never_negative(node.input_value(0), known)]
    changed = sum(_halve_steps(node) for node in found)
    model.validate_nodes_and_infer_types()
    return changed


def _halve_steps(quantize: ov.Node) -> bool:
    """Whether the tensor was quantized to int8 by one step, and everything that reads it scales it back."""
    to_int8, *others = readers(quantize)
    if others or to_int8.get_element_type() != ov.Type.i8:
        return False
    scales = [_scale(reader) for reader in readers(to_int8)]
    bounds = [quantize.input_value(index) for index in (1, 2)]
    if None in scales or not all(_is_float_constant(value) for value in bounds):
        return False
    low, high = (value.get_node().get_data() for value in bounds)
    if low.size != 1:
        return False
    zero, top, steps = np.float32(0), ((high - low) / 2).astype(np.float32), np.float32(255)
    to_uint8 = op.convert(op.fake_quantize(quantize.input_value(0), zero, top, zero, steps, 256), "u8")
    for reader in to_int8.output(0).get_target_inputs():
        reader.replace_source_output(to_uint8.output(0))
    for scale in scales:
        assert scale is not None
        half = scale.input_value(1).get_node().get_data() / 2
        scale.input(1).replace_source_output(op.constant(half, ov.Type.f32).output(0))
    return True


def _scale(to_float: ov.Node) -> ov.Node | None:
    """The multiplication that ends a DequantizeLinear without zero point which starts with this node."""
    node = to_float
    for kind in ("Convert", "Subtract"):
        reader = only_reader(node)
        if reader is None or node.get_type_name() != kind:
            return None
        if kind == "Subtract" and not _is_zero(node.input_value(1)):
            return None
        node = reader
    return node if node.get_type_name() == "Multiply" and _is_float_constant(node.input_value(1)) else None


def _is_float_constant(value: ov.Output) -> bool:
    return value.get_node().get_type_name() == "Constant" and bool(value.get_element_type() == ov.Type.f32)


def _never_negative(value: ov.Output, known: dict[str, bool]) -> bool:
    node = value.get_node()
    name, kind = node.get_friendly_name(), node.get_type_name()
    if name not in known:
        inputs = [node.input_value(index) for index in range(node.get_input_size())]
        if kind == "Constant":
            known[name] = bool((node.get_data() >= 0).all())
        elif kind == "Subtract":  # of a zero point
            known[name] = _is_zero(inputs[1]) and _never_negative(inputs[0], known)
        elif kind == "Interpolate":
            known[name] = stays_in_range(node) and _never_negative(inputs[0], known)
        elif kind in _LIKE_FIRST:
            known[name] = _never_negative(inputs[0], known)
        else:
            every = kind in _LIKE_ALL and all(_never_negative(each, known) for each in inputs)
            known[name] = kind in _POSITIVE or every
    return known[name]


def _is_zero(value: ov.Output) -> bool:
    node = value.get_node()
    while node.get_type_name() == "Convert":
        node = node.input_value(0).get_node()
    return node.get_type_name() == "Constant" and not node.get_data().any()
