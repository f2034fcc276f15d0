"""Writes a quantized graph: explicit QuantizeLinear/DequantizeLinear pairs, as TensorRT and OpenVINO take them.

Symmetric INT8 (zero point 0), one scale a tensor for activations and one a channel for weights; biases stay float.
Weights are stored as INT8, so the file is about a quarter of the fp32 one.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

from cutout_build.quantize.plan import QuantPlan

#: Largest INT8 value; −128 is not used for weights.
QMAX = 127

Array = NDArray[np.float32]


def weight_scales(weights: Array) -> Array:
    """One scale a channel: [O, I, h, w] to [O]."""
    scales: Array = np.maximum(np.abs(weights).max(axis=(1, 2, 3)) / QMAX, np.float32(1e-12)).astype(np.float32)
    return scales


def write_qdq(model: ModelProto, plan: QuantPlan, scales: dict[str, float]) -> ModelProto:
    """A copy of `model` with Q/DQ pairs after the plan's tensors and on its convolutions' weights.

    scales: name of each scale of the plan to its value.
    """
    quantized = ModelProto()
    quantized.CopyFrom(model)
    graph = quantized.graph
    initial = {tensor.name: tensor for tensor in graph.initializer}
    graph.initializer.append(numpy_helper.from_array(np.int8(0), "zero_int8"))
    for name, value in scales.items():
        graph.initializer.append(numpy_helper.from_array(np.float32(value), f"{name}_scale"))
    outputs = {value.name for value in graph.output}
    nodes: list[NodeProto] = []
    for node in model.graph.node:
        kept = NodeProto()
        kept.CopyFrom(node)
        for index, name in enumerate(kept.input):
            if name in plan.groups:
                kept.input[index] = f"{name}_dequantized"
        if node.output[0] in plan.convs:
            nodes.append(_int8_weight(kept, initial, quantized))
        nodes.append(kept)
        tensor = node.output[0]
        if tensor in plan.groups and tensor not in outputs:
            nodes += _pair(tensor, plan.groups[tensor])
    del graph.node[:]
    graph.node.extend(nodes)
    drop_unread(quantized)
    return quantized


def _pair(tensor: str, group: str) -> list[NodeProto]:
    scale = f"{group}_scale"
    return [
        helper.make_node("QuantizeLinear", [tensor, scale, "zero_int8"], [f"{tensor}_quantized"], f"{tensor}_q"),
        helper.make_node(
            "DequantizeLinear", [f"{tensor}_quantized", scale, "zero_int8"], [f"{tensor}_dequantized"], f"{tensor}_dq"
        ),
    ]


def _int8_weight(conv: NodeProto, initial: dict[str, TensorProto], model: ModelProto) -> NodeProto:
    name = conv.input[1]
    weights = numpy_helper.to_array(initial[name]).astype(np.float32)
    scales = weight_scales(weights)
    narrow = np.clip(np.rint(weights / scales[:, None, None, None]), -QMAX, QMAX).astype(np.int8)
    model.graph.initializer.extend(
        [
            numpy_helper.from_array(narrow, f"{name}_int8"),
            numpy_helper.from_array(scales, f"{name}_scales"),
            numpy_helper.from_array(np.zeros(len(scales), np.int8), f"{name}_zeros"),
        ]
    )
    conv.input[1] = f"{name}_dequantized"
    inputs = [f"{name}_int8", f"{name}_scales", f"{name}_zeros"]
    return helper.make_node("DequantizeLinear", inputs, [f"{name}_dequantized"], f"{name}_dq", axis=0)


def drop_unread(model: ModelProto) -> None:
    """Removes the initialisers that no node reads."""
    read = {name for node in model.graph.node for name in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in read]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
