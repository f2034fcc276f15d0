"""Concatenations and gains at a scale of exactly 1: the same network, its channels scaled to whole INT8 steps.

OpenVINO (2026.4, on a CPU) rounds the parts of a signed INT8 concatenation before it divides them by their scale: only
at a scale of 1 does it compute what ONNX defines, and at 0.03 its answers are about a sixth off. A channel that is
scaled by s > 0 where it is made, and by 1 / s in the weights that read it, changes nothing: `Relu`, poolings, resizes
and concatenations keep the factor, an `Add` asks that both sides have the same, and a constant floor is scaled along.
(Nagel et al., "Data-free quantization through weight equalization and bias correction", ICCV 2019, section 4.1.)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, numpy_helper

from cutout_build.quantize.plan import QuantPlan, is_activation, is_gain
from cutout_build.shapes import inferred_shapes

Array = NDArray[np.float32]

#: Operators whose output has the factors of their inputs.
_KEEP = ("Relu", "MaxPool", "Resize", "Add", "Concat", "Max", "Reshape", "Transpose", "DepthToSpace")
#: Those among them that mix channels: all get one factor.
_MIX = ("Reshape", "Transpose", "DepthToSpace")


def unit_scales(model: ModelProto, plan: QuantPlan, scales: Mapping[str, float]) -> tuple[ModelProto, dict[str, float]]:
    """A copy of `model` that computes the same, and its scales: 1 for what is concatenated or comes from a gain.

    A group of tensors whose factors are not free (the graph's inputs and outputs, a channel that an operator reads for
    which scaling is no such matter) keeps its scale.
    """
    channels = _Channels(model)
    members = _members(plan, channels)
    factors: dict[int, np.float32] = {}
    for group in sorted(_unit_groups(model, plan)):
        if not members[group] & (channels.fixed | factors.keys()):
            factors.update(dict.fromkeys(members[group], np.float32(1 / scales[group])))
    after = {group: scale * _common(members[group], factors, group) for group, scale in scales.items()}
    return _rescaled(model, channels, factors), after


def equalized(model: ModelProto, plan: QuantPlan, own: Mapping[str, float]) -> ModelProto:
    """A copy of `model` that computes the same, in which the tensors of a gain's scale fill its range alike.

    own: the scale that each of `gained_tensors` would have for itself. Without this, what is read with wider
    activations would be left with few steps. Activations among themselves stay as they are: their channels differ as
    much as they do, and on U²-Net-p's concatenations it made the masks worse (mean |Δ| 0.003 to 0.011 on a portrait).
    """
    channels = _Channels(model)
    members = _members(plan, channels)
    factors: dict[int, np.float32] = {}
    for group in sorted(gained_groups(model, plan)):
        if members[group] & (channels.fixed | factors.keys()):
            continue
        for tensor in (tensor for tensor in own if plan.groups[tensor] == group):
            for root in channels.roots(tensor):
                factors[root] = min(factors.get(root, np.float32(np.inf)), np.float32(1 / own[tensor]))
    return _rescaled(model, channels, factors)


def gained_groups(model: ModelProto, plan: QuantPlan) -> set[str]:
    """The scales of `plan` in which a gain takes part."""
    gains = [node.output[0] for node in model.graph.node if is_gain(node)]
    return {plan.groups[tensor] for tensor in gains if tensor in plan.groups}


def gained_tensors(model: ModelProto, plan: QuantPlan) -> list[str]:
    """The activations and gains whose scale is one of `gained_groups`."""
    groups = gained_groups(model, plan)
    tensors = [node.output[0] for node in model.graph.node if is_activation(node)]
    return [tensor for tensor in tensors if plan.groups.get(tensor) in groups]


def _unit_groups(model: ModelProto, plan: QuantPlan) -> set[str]:
    joined = [node.output[0] for node in model.graph.node if node.op_type == "Concat"]
    return gained_groups(model, plan) | {plan.groups[tensor] for tensor in joined if tensor in plan.groups}


def _members(plan: QuantPlan, channels: _Channels) -> dict[str, set[int]]:
    members: dict[str, set[int]] = {group: set() for group in plan.scales}
    for tensor, group in plan.groups.items():
        members[group].update(channels.roots(tensor))
    return members


def _rescaled(model: ModelProto, channels: _Channels, factors: dict[int, np.float32]) -> ModelProto:
    changed = ModelProto()
    changed.CopyFrom(model)
    for tensor in changed.graph.initializer:
        if tensor.name in channels.readers:
            value: Array = numpy_helper.to_array(tensor)
            for node in channels.readers[tensor.name]:
                value = _scaled(value, node, tensor.name, channels, factors)
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return changed


def _scaled(value: Array, node: NodeProto, name: str, channels: _Channels, factors: dict[int, np.float32]) -> Array:
    made = np.array([factors.get(root, 1.0) for root in channels.roots(node.output[0])], np.float32)
    if is_gain(node):
        made = made[0]
    elif node.op_type == "Max":
        made = made[:, None, None]
    elif name == node.input[1]:
        read = np.array([factors.get(root, 1.0) for root in channels.roots(node.input[0])], np.float32)
        made = made[:, None, None, None] / read[:, None, None]
    scaled: Array = value * made
    return scaled


def _common(members: set[int], factors: dict[int, np.float32], group: str) -> float:
    found = {float(factors.get(root, 1.0)) for root in members}
    if len(found) > 1:
        raise ValueError(f"the tensors at scale {group!r} would be scaled differently")
    return found.pop() if found else 1.0


class _Channels:
    """Which channels of a graph have one factor together, by the name of a root, and which must keep 1."""

    def __init__(self, model: ModelProto) -> None:
        weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
        self._leader: list[int] = []
        self._channels: dict[str, list[int]] = {}
        #: Initialiser to the nodes in which it is scaled.
        self.readers: dict[str, list[NodeProto]] = {}
        self._counts = {name: shape[1] for name, shape in inferred_shapes(model).items() if len(shape) > 1}
        loose: list[int] = []
        for node in model.graph.node:
            data = [name for name in node.input if name in self._channels]
            if node.op_type == "Conv" and _plain(node):
                loose += self._ensure(node.input[0], weights[node.input[1]].shape[1])
                self._channels[node.output[0]] = self._new(weights[node.input[1]].shape[0])
                for name in node.input[1:]:
                    self.readers.setdefault(name, []).append(node)
            elif is_gain(node) and self._counts.get(node.output[0]):
                self._channels[node.output[0]] = self._new(1) * self._counts[node.output[0]]
                self.readers.setdefault(node.input[1], []).append(node)
            elif self._keeps(node, weights):
                self._follow(node, data)
            else:
                loose += [channel for name in data for channel in self._channels[name]]
        loose += [channel for value in model.graph.output for channel in self._channels.get(value.name, [])]
        self.fixed = {self._find(channel) for channel in loose}

    def roots(self, tensor: str) -> list[int]:
        return [self._find(channel) for channel in self._channels.get(tensor, [])]

    def _keeps(self, node: NodeProto, weights: Mapping[str, Array]) -> bool:
        if node.op_type not in _KEEP or node.input[0] not in self._channels:
            return False
        if node.op_type == "Max":  # a floor for each channel, of `cutout_build.recentre`
            floor = weights.get(node.input[1])
            return len(node.input) == 2 and floor is not None and floor.shape[:1] + floor.shape[2:] == (1, 1, 1)
        if node.op_type in _MIX:
            return bool(self._counts.get(node.output[0]))
        return node.op_type not in ("Add", "Concat") or all(name in self._channels for name in node.input)

    def _follow(self, node: NodeProto, data: list[str]) -> None:
        parts = [self._channels[name] for name in data]
        if node.op_type == "Max":
            self.readers.setdefault(node.input[1], []).append(node)
        if node.op_type == "Concat":
            self._channels[node.output[0]] = [channel for part in parts for channel in part]
            return
        if node.op_type in _MIX:
            self._tie(parts[0][:1] * len(parts[0]), parts[0])
            self._channels[node.output[0]] = parts[0][:1] * self._counts[node.output[0]]
            return
        self._channels[node.output[0]] = parts[0]
        for part in parts[1:]:
            self._tie(parts[0], part)

    def _tie(self, ones: list[int], others: list[int]) -> None:
        for one, other in zip(ones, others, strict=True):
            self._leader[self._find(other)] = self._find(one)

    def _ensure(self, tensor: str, count: int) -> list[int]:
        """Channels for a tensor that nothing here made, such as the photo; returned as ones that must keep 1."""
        if tensor in self._channels:
            return []
        self._channels[tensor] = self._new(count)
        return self._channels[tensor]

    def _new(self, count: int) -> list[int]:
        start = len(self._leader)
        self._leader.extend(range(start, start + count))
        return list(range(start, start + count))

    def _find(self, channel: int) -> int:
        while self._leader[channel] != channel:
            channel = self._leader[channel]
        return channel


def _plain(conv: NodeProto) -> bool:
    return all(attribute.i == 1 for attribute in conv.attribute if attribute.name == "group")
