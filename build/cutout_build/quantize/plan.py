"""Which tensors and convolutions of a graph are quantized, and which share a scale.

A convolution is quantized when everything that it reads comes from activations (outputs of `Relu`, `Add` or `Max`) or
from gains (`gains.py`), through poolings, resizes, concatenations and what only moves values. What mixes the answers of
several heads keeps its precision: it is cheap and sensitive. The tensors that meet in a concatenation share one scale,
so that the concatenation itself stays in INT8; so do input and output of a pooling or resize. (A pooling without a pair
of its own is 2 % faster, and OpenVINO 2026.4 computes the convolution behind it wrongly.) Two activations that are
added are quantized before it, so that neither is written to memory in floats.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from onnx import ModelProto, NodeProto

#: Operators whose output is in the range of their inputs and gets their scale.
SAME_SCALE = ("MaxPool", "Concat", "Resize", "DepthToSpace", "Reshape", "Transpose")
#: Operators whose output is an activation: it gets a scale of its own.
_SOURCES = ("Relu", "Add", "Max")
#: Ends the name of a gain's constant.
GAIN = "_gain"
#: Ends the name of a projection (`low_rank.py`), whose output is quantized like an activation.
PROJECTION = "_projection"


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
    for tensor in list(needed):
        if made_by[tensor].op_type == "Add":
            sides = [_activations(side, made_by) for side in made_by[tensor].input]
            if all(sides):
                needed.update(dict.fromkeys(name for side in sides for name in side))
    groups = _tied(needed, made_by)
    return QuantPlan({tensor: groups[tensor] for tensor in needed}, tuple(chosen))


def is_activation(node: NodeProto) -> bool:
    """Whether the node's output has a scale of its own."""
    return node.op_type in _SOURCES or is_gain(node) or node.name.endswith(PROJECTION)


def is_gain(node: NodeProto) -> bool:
    """Whether the node was made by `gains.with_gains`."""
    return bool(node.op_type == "Mul" and node.input[1].endswith(GAIN))


def _activations(tensor: str, made_by: dict[str, NodeProto]) -> list[str]:
    """`tensor` and the tensors it is put together of, down to activations; empty where one of them is none."""
    node = made_by.get(tensor)
    if node is None:
        return []
    if is_activation(node):
        return [tensor]
    if node.op_type not in SAME_SCALE:
        return []
    found = [tensor]
    for part in parts(node):
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
        if node.op_type in SAME_SCALE:
            for part in parts(node):
                leader[find(part)] = find(tensor)
    return {tensor: find(tensor) for tensor in tensors}


def parts(node: NodeProto) -> list[str]:
    """The inputs of a node of `SAME_SCALE` whose values its output has: of a concatenation all, else the first."""
    return list(node.input) if node.op_type == "Concat" else [node.input[0]]
