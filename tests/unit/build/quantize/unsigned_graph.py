"""The ONNX twin of `cutout_core/serving/unsigned.py`, for ONNX Runtime, made by looking at values."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
from onnx import ModelProto, helper, numpy_helper


def unsigned(model: ModelProto, inputs: dict[str, Any]) -> ModelProto:
    """A copy in which every tensor that is quantized, and never negative for `inputs`, is UINT8 with half the step."""
    pairs = [node for node in model.graph.node if node.op_type == "QuantizeLinear"]
    shown = ModelProto()
    shown.CopyFrom(model)
    del shown.graph.output[:]
    shown.graph.output.extend(helper.make_empty_tensor_value_info(node.input[0]) for node in pairs)
    session = onnxruntime.InferenceSession(shown.SerializeToString(), providers=["CPUExecutionProvider"])
    values = session.run(None, inputs)
    positive = {node.output[0] for node, value in zip(pairs, values, strict=True) if value.min() >= 0}

    changed = ModelProto()
    changed.CopyFrom(model)
    constants = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    made: dict[str, Any] = {}
    for node in changed.graph.node:
        quantized = {"QuantizeLinear": node.output, "DequantizeLinear": node.input}.get(node.op_type)
        if quantized is not None and quantized[0] in positive:
            half, zero = f"{node.input[1]}_half", f"{node.input[2]}_unsigned"
            made[half] = constants[node.input[1]] / np.float32(2)
            made[zero] = constants[node.input[2]].astype(np.uint8)
            node.input[1], node.input[2] = half, zero
    changed.graph.initializer.extend(numpy_helper.from_array(np.asarray(value), name) for name, value in made.items())
    return changed
