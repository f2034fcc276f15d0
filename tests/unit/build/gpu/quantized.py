"""A small graph with Q/DQ as TensorRT wants it: conv and ReLU, quantized input, one scale a channel of the weights."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

CHANNELS = 4


def quantized_graph() -> ModelProto:
    """image → Q → DQ → Conv(weights by DQ, bias in fp32) → ReLU → mask."""
    values = {
        "scale": np.float32(0.02),
        "zero": np.int8(0),
        "w8": np.arange(-54, 54, dtype=np.int8).reshape(CHANNELS, 3, 3, 3),
        "w_scale": np.full(CHANNELS, 0.01, np.float32),
        "w_zero": np.zeros(CHANNELS, np.int8),
        "bias": np.ones(CHANNELS, np.float32),
    }
    nodes = [
        helper.make_node("QuantizeLinear", ["image", "scale", "zero"], ["q"], "q"),
        helper.make_node("DequantizeLinear", ["q", "scale", "zero"], ["dq"], "dq"),
        helper.make_node("DequantizeLinear", ["w8", "w_scale", "w_zero"], ["w"], "dq_w", axis=0),
        helper.make_node("Conv", ["dq", "w", "bias"], ["c"], "conv", pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c"], ["mask"], "relu"),
    ]
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("mask", TensorProto.FLOAT, ["N", CHANNELS, 8, 8])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in values.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


def replace(model: ModelProto, name: str, value: np.ndarray) -> None:
    """Exchanges an initialiser."""
    (tensor,) = (tensor for tensor in model.graph.initializer if tensor.name == name)
    tensor.CopyFrom(numpy_helper.from_array(value, name))
