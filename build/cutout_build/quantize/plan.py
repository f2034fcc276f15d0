"""Which tensors and convolutions of a graph are quantized, and which share a scale.

A convolution is quantized when everything that it reads comes from activations (outputs of `Relu`, `Add` or `Max`,
through poolings, resizes and concatenations); the first layer, whose input is the photo, and what mixes the answers of
several heads keep their precision: they are cheap and sensitive. The tensors that meet in a
concatenation share one scale, so that the concatenation itself stays in INT8; so do input and output of a pooling or
resize.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onnx import ModelProto, NodeProto

#: Operators whose output is in the range of their inputs and keeps their scale.
_SAME_SCALE = ("MaxPool", "Concat", "Resize", "DepthToSpace")
#: Operators whose output is an activation: it gets a scale of its own.
_SOURCES = ("Relu", "Add", "Max")


@dataclass(frozen=True, slots=True)
class QuantPlan:
    """groups: quantized tensor to the name of its scale. convs: outputs of the quantized convolutions."""

    groups: dict[str, str] = field(default_factory=dict)
    convs: tuple[str, ...] = ()

    @property
    def scales(self) -> list[str]:
        return sorted(set(self.groups.values()))


def quant_plan(model: ModelProto, keep: tuple[str, ...] = ()) -> QuantPlan:
    """The plan for `model`; the convolutions whose outputs are in `keep` stay as they are."""
    graph = model.graph
    made_by = {node.output[0]: node for node in graph.node}
    chosen, needed = [], {}
    for node in graph.node:
        if node.op_type == "Conv" and node.output[0] not in keep:
            tensors = _activations(node.input[0], made_by)
            if tensors:
                chosen.append(node.output[0])
                needed.update(dict.fromkeys(tensors))
    groups = _tied(needed, made_by)
    return QuantPlan({tensor: groups[tensor] for tensor in needed}, tuple(chosen))


def _activations(tensor: str, made_by: dict[str, NodeProto]) -> list[str]:
    """`tensor` and the tensors it is put together of, down to activations; empty where one of them is none."""
    node = made_by.get(tensor)
    if node is None:
        return []
    if node.op_type in _SOURCES:
        return [tensor]
    if node.op_type not in _SAME_SCALE:
        return []
    parts = node.input if node.op_type == "Concat" else node.input[:1]
    found = [tensor]
    for part in parts:
        below = _activations(part, made_by)
        if not below:
            return []
        found += below
    return found


def _tied(tensors: dict[str, None], made_by: dict[str, NodeProto]) -> dict[str, str]:
    leader = {tensor: tensor for tensor in tensors}

    def find(tensor: str) -> str:
        while leader[tensor] != tensor:
            tensor = leader[tensor]
        return tensor

    for tensor in tensors:
        node = made_by[tensor]
        if node.op_type in _SAME_SCALE:
            for part in node.input if node.op_type == "Concat" else node.input[:1]:
                leader[find(part)] = find(tensor)
    return {tensor: find(tensor) for tensor in tensors}
