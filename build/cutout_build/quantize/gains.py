"""A factor for what a network's first convolutions read, so that it can be quantized like an activation.

A photo, or the evidence that a graph computes from one, is no activation: its channels' scales are not free. A
multiplication by 1 before it is rounded changes nothing and makes them so: `unit_scale.py` puts the scale into that
factor, whole numbers come out, and the convolution takes it back in its weights. Without it a first layer stays in
floats, writes them to memory, and costs as much as its successors with many times its work.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, helper, numpy_helper

from cutout_build.quantize.plan import GAIN, SAME_SCALE, is_activation, parts


def with_gains(model: ModelProto, keep: tuple[str, ...] = ()) -> ModelProto:
    """A copy of `model` with a factor of 1 wherever a convolution of several taps reads what is no activation.

    Convolutions of one tap are left alone: they mix the answers of heads, or a few numbers. So are those in `keep`.
    """
    changed = ModelProto()
    changed.CopyFrom(model)
    graph = changed.graph
    search = _Raw(changed)
    edges: list[tuple[NodeProto, int]] = []
    for node in graph.node:
        if node.op_type == "Conv" and node.output[0] not in keep and search.taps(node) > 1:
            edges += [edge for edge in search.edges(node, 0) if edge not in edges]
    order = {node.output[0]: index for index, node in enumerate(graph.node)}
    gains: dict[str, int] = {}
    for consumer, index in edges:
        tensor = consumer.input[index]
        gains[tensor] = min(gains.get(tensor, len(order)), order[consumer.output[0]])
        consumer.input[index] = f"{tensor}_scaled"
    for tensor, place in sorted(gains.items(), key=lambda item: -item[1]):  # from the end, so that places stay right
        graph.initializer.append(numpy_helper.from_array(np.float32(1), f"{tensor}{GAIN}"))
        node = helper.make_node("Mul", [tensor, f"{tensor}{GAIN}"], [f"{tensor}_scaled"], name=f"{tensor}{GAIN}")
        graph.node.insert(place, node)
    return changed


class _Raw:
    """Where a convolution's data stop being moved and joined and come from something that is no activation."""

    def __init__(self, model: ModelProto) -> None:
        self._made_by = {node.output[0]: node for node in model.graph.node}
        self._weights = {tensor.name: tuple(tensor.dims) for tensor in model.graph.initializer}

    def taps(self, conv: NodeProto) -> int:
        """Of its kernel; 1 where the weights are no constant."""
        return int(np.prod(self._weights.get(conv.input[1], ())[2:]))

    def edges(self, consumer: NodeProto, index: int) -> list[tuple[NodeProto, int]]:
        """The inputs (node, place) at which a factor is wanted."""
        tensor = consumer.input[index]
        node = self._made_by.get(tensor)
        if node is not None and is_activation(node):
            return []
        if node is not None and node.op_type in ("Reshape", "Transpose"):
            return self.edges(node, 0)
        if node is not None and node.op_type in SAME_SCALE and self._reads_activation(tensor):
            return [edge for place in range(len(parts(node))) for edge in self.edges(node, place)]
        return [(consumer, index)]

    def _reads_activation(self, tensor: str) -> bool:
        node = self._made_by.get(tensor)
        if node is None or is_activation(node):
            return node is not None
        return node.op_type in SAME_SCALE and any(self._reads_activation(part) for part in parts(node))
