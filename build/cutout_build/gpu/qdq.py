"""Whether Q/DQ nodes stand where TensorRT takes them and can fuse them: our own check, beside the builder's.

The rules are those of TensorRT's explicit quantization (developer guide, "Working with quantized types"): INT8 with
zero point 0; one scale for an activation, one a channel for weights; no quantized bias, which TensorRT makes itself;
a convolution with quantized weights has quantized data (data alone may be: it computes in floating point then); and
no pair between a convolution and its activation function, which would be fused otherwise.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper

#: Operators with weights, and the axis of the weights that counts output channels.
WEIGHT_AXES = {"Conv": 0, "ConvTranspose": 1}

_ACTIVATIONS = frozenset({"Relu", "Clip", "LeakyRelu"})


@dataclass(frozen=True, slots=True)
class Placement:
    """What a graph has of Q/DQ. faults: one sentence each, with the node's name; empty where TensorRT can take it.

    convolutions, quantized: all of them, and those with both inputs quantized. pairs: Q nodes of activations.
    """

    convolutions: int
    quantized: int
    pairs: int
    faults: tuple[str, ...]


def has_qdq(model: ModelProto) -> bool:
    """Whether anything in the graph is quantized."""
    return any(node.op_type in ("QuantizeLinear", "DequantizeLinear") for node in model.graph.node)


def check_placement(model: ModelProto) -> Placement:
    """Checks every Q, DQ and convolution of a graph that `has_qdq`."""
    graph = _Graph(model)
    faults: list[str] = []
    for node in model.graph.node:
        if node.op_type in ("QuantizeLinear", "DequantizeLinear"):
            faults += graph.parameter_faults(node)
        if node.op_type == "QuantizeLinear":
            faults += graph.neighbour_faults(node)
    convolutions = [node for node in model.graph.node if node.op_type in WEIGHT_AXES]
    quantized = [node for node in convolutions if graph.dequantize(node.input[1])]
    for node in quantized:
        faults += graph.convolution_faults(node)
    if not quantized:
        faults.append("no convolution is quantized")
    pairs = sum(node.op_type == "QuantizeLinear" for node in model.graph.node)
    return Placement(len(convolutions), len(quantized), pairs, tuple(faults))


class _Graph:
    def __init__(self, model: ModelProto) -> None:
        self.producer = {name: node for node in model.graph.node for name in node.output}
        self.constants = {tensor.name: tensor for tensor in model.graph.initializer}
        for node in model.graph.node:
            if node.op_type == "Constant" and node.attribute[0].name == "value":
                self.constants[node.output[0]] = node.attribute[0].t
        self.readers: dict[str, list[NodeProto]] = {}
        for node in model.graph.node:
            for name in node.input:
                self.readers.setdefault(name, []).append(node)
        self.outputs = {value.name for value in model.graph.output}

    def dequantize(self, name: str) -> NodeProto | None:
        node = self.producer.get(name)
        return node if node is not None and node.op_type == "DequantizeLinear" else None

    def value(self, name: str) -> NDArray[np.float64] | None:
        tensor = self.constants.get(name)
        return None if tensor is None else numpy_helper.to_array(tensor).astype(np.float64)

    def parameter_faults(self, node: NodeProto) -> Iterator[str]:
        where = f"{node.op_type} {node.name!r}"
        scale = self.value(node.input[1])
        if scale is None:
            yield f"{where}: its scale is not a constant"
        elif not (np.isfinite(scale).all() and (scale > 0).all()):
            yield f"{where}: its scale is not positive"
        point = self.constants.get(node.input[2]) if len(node.input) > 2 and node.input[2] else None
        if len(node.input) < 3 or not node.input[2]:
            if node.op_type == "QuantizeLinear":
                yield f"{where}: without a zero point it means uint8; TensorRT takes int8"
        elif point is None:
            yield f"{where}: its zero point is not a constant"
        else:
            if point.data_type != TensorProto.INT8:
                yield f"{where}: its type is {TensorProto.DataType.Name(point.data_type)}, not INT8"
            if numpy_helper.to_array(point).any():
                yield f"{where}: its zero point is not 0"
        stored = self.constants.get(node.input[0])
        if node.op_type == "DequantizeLinear" and stored is not None and stored.data_type != TensorProto.INT8:
            kind = TensorProto.DataType.Name(stored.data_type)
            yield f"{where}: dequantizes a constant of {kind}, not INT8" + (
                "; a bias stays in floating point" if stored.data_type == TensorProto.INT32 else ""
            )

    def neighbour_faults(self, node: NodeProto) -> Iterator[str]:
        where = f"{node.op_type} {node.name!r}"
        readers = self.readers.get(node.output[0], [])
        others = sorted({reader.op_type for reader in readers if reader.op_type != "DequantizeLinear"})
        if others or node.output[0] in self.outputs or not readers:
            yield f"{where}: its output goes to {', '.join(others) or 'no DequantizeLinear'}"
        if node.input[0] in self.constants:
            return
        scale = self.value(node.input[1])
        if scale is not None and scale.size != 1:
            yield f"{where}: an activation has {scale.size} scales; TensorRT takes one"
        before = self.producer.get(node.input[0])
        after = [after.op_type for reader in readers for after in self.readers.get(reader.output[0], [])]
        if before is not None and before.op_type in WEIGHT_AXES and after and set(after) <= _ACTIVATIONS:
            yield f"{where}: stands between {before.op_type} {before.name!r} and its {after[0]} and keeps them apart"

    def convolution_faults(self, node: NodeProto) -> Iterator[str]:
        where = f"{node.op_type} {node.name!r}"
        if self.dequantize(node.input[0]) is None:
            yield f"{where}: its data are not quantized, its weights are"
        if len(node.input) > 2 and self.dequantize(node.input[2]) is not None:
            yield f"{where}: its bias is quantized"
        data, weights = self.dequantize(node.input[0]), self.dequantize(node.input[1])
        if data is not None:
            before = self.producer.get(data.input[0])
            if before is None or before.op_type != "QuantizeLinear":
                yield f"{where}: its data are dequantized without having been quantized"
        if weights is not None:
            yield from self._weight_faults(node, weights, where)

    def _weight_faults(self, node: NodeProto, weights: NodeProto, where: str) -> Iterator[str]:
        source = weights.input[0]
        quantize = self.producer.get(source)
        if quantize is not None and quantize.op_type == "QuantizeLinear":
            source = quantize.input[0]
        stored, scale = self.constants.get(source), self.value(weights.input[1])
        if stored is None:
            yield f"{where}: its weights are not a constant"
            return
        axis = next((helper.get_attribute_value(a) for a in weights.attribute if a.name == "axis"), 1)
        wanted = WEIGHT_AXES[node.op_type]
        channels = stored.dims[wanted]
        # One channel has one scale, and then the axis means nothing.
        if scale is not None and (scale.size != channels or (channels > 1 and axis % len(stored.dims) != wanted)):
            yield f"{where}: its weights have {scale.size} scales on axis {axis}, not {channels} on axis {wanted}"
