"""Convolutions that read fewer channels: what a layer reads is projected first, by convolutions of one tap.

The channels that a wide layer reads are far from independent. A layer on a projection of them to `rank` costs
rank / channels of what it did. The projection goes before the resizes and concatenations that bring the channels
together, since it commutes with both: they have less to move too. The one that loses least of what the layer computes
follows from the second moments C of what it reads: the first singular vectors of W·√C. (Zhang et al., "Accelerating
very deep convolutional networks for classification and detection", TPAMI 2016, there for what a layer writes; Denton
et al., "Exploiting linear structure within convolutional networks", NIPS 2014.) `refit.py` takes it from there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, helper, numpy_helper

from cutout_build.quantize.attributes import attributes_of
from cutout_build.quantize.layers import outputs_of
from cutout_build.quantize.plan import PROJECTION
from cutout_build.quantize.qdq import drop_unread

Array = NDArray[np.float64]

#: Layer (a convolution's name) to the rank of each part that it reads, in the order of its concatenation.
Ranks = Mapping[str, Sequence[int]]


@dataclass(frozen=True, slots=True)
class Part:
    """Some of the channels that a layer reads. tensor: as they reach its concatenation; source: before their resize."""

    source: str
    tensor: str

    def weights(self, layer: str) -> str:
        """The initialiser of the projection that `layer` reads these channels through, [rank, channels, 1, 1]."""
        return f"{self.source}_for_{layer}"


def parse_ranks(texts: Iterable[str]) -> dict[str, tuple[int, ...]]:
    """`LAYER=RANK[,RANK]` each, as on the command line. Raises ValueError with the text that is not so."""
    found = {}
    for text in texts:
        layer, _, ranks = text.partition("=")
        if not layer or not all(rank.isdecimal() and int(rank) for rank in ranks.split(",")):
            raise ValueError(f"{text!r} is no LAYER=RANK[,RANK], such as Conv_810=16,32")
        found[layer] = tuple(int(rank) for rank in ranks.split(","))
    return found


def convolution(model: ModelProto, layer: str) -> NodeProto:
    """Raises ValueError where no convolution of `model` has this name."""
    (output,) = outputs_of(model, [layer])
    return next(node for node in model.graph.node if node.output[0] == output)


def parts_of(model: ModelProto, layer: str) -> list[Part]:
    """What the convolution reads, from where a projection can be put. Raises ValueError where there is no such one."""
    made_by = {node.output[0]: node for node in model.graph.node}
    read = convolution(model, layer).input[0]
    joined = made_by.get(read)
    tensors = joined.input if joined is not None and _joins_channels(joined) else [read]
    return [Part(_before_resize(tensor, made_by), tensor) for tensor in tensors]


def with_low_ranks(model: ModelProto, ranks: Ranks, moments: Mapping[str, Array]) -> ModelProto:
    """A copy of `model` whose layers of `ranks` read projections. moments: source of each part to the mean of x·xᵀ over
    pixels, [channels, channels]. Raises ValueError for a layer that is not there, has other parts or groups, or shares
    its weights.
    """
    changed = ModelProto()
    changed.CopyFrom(model)
    for layer, of_parts in ranks.items():
        _project(changed, layer, of_parts, moments)
    _drop_unread_nodes(changed)
    drop_unread(changed)
    return changed


def _project(model: ModelProto, layer: str, ranks: Sequence[int], moments: Mapping[str, Array]) -> None:
    graph = model.graph
    made_by = {node.output[0]: node for node in graph.node}
    conv, parts = convolution(model, layer), parts_of(model, layer)
    if len(parts) != len(ranks):
        raise ValueError(f"{layer} reads {len(parts)} tensors, but {len(ranks)} ranks are given for it")
    if attributes_of(conv).get("group", 1) != 1 or sum(conv.input[1] in node.input for node in graph.node) != 1:
        raise ValueError(f"{layer} has groups, or shares its weights with another layer")
    (weights,) = (tensor for tensor in graph.initializer if tensor.name == conv.input[1])
    wide = numpy_helper.to_array(weights).astype(np.float64)
    starts = np.cumsum([0] + [len(moments[part.source]) for part in parts])
    nodes: list[NodeProto] = []
    narrow, read = [], []
    for part, rank, start, end in zip(parts, ranks, starts, starts[1:], strict=False):
        projection, rest = split(wide[:, start:end], moments[part.source], rank)
        name = part.weights(layer)
        graph.initializer.append(numpy_helper.from_array(projection.astype(np.float32)[:, :, None, None], name))
        nodes.append(helper.make_node("Conv", [part.source, name], [name + PROJECTION], name + PROJECTION))
        if part.tensor != part.source:
            resize = NodeProto()
            resize.CopyFrom(made_by[part.tensor])
            resize.name = resize.output[0] = f"{name}_resized"
            resize.input[0] = name + PROJECTION
            nodes.append(resize)
        narrow.append(rest)
        read.append(nodes[-1].output[0])
    if len(read) > 1:
        nodes.append(helper.make_node("Concat", read, [f"{layer}_parts"], f"{layer}_parts", axis=1))
    conv.input[0] = nodes[-1].output[0]
    weights.CopyFrom(numpy_helper.from_array(np.concatenate(narrow, 1).astype(np.float32), weights.name))
    place = next(index for index, node in enumerate(graph.node) if node.output[0] == conv.output[0])
    for node in reversed(nodes):
        graph.node.insert(place, node)


def split(weights: Array, moments: Array, rank: int) -> tuple[Array, Array]:
    """[O, I, h, w] as [rank, I] and [O, rank, h, w], whose product loses least of W·x for x of these moments; of lower
    rank where that loses nothing. What comes out of the first has a mean square of 1 in every channel, so that one
    scale serves all of them in INT8.
    """
    values, vectors = np.linalg.eigh(moments)
    root = vectors * np.sqrt(np.maximum(values, values.max() * 1e-9))
    flat = weights.transpose(0, 2, 3, 1).reshape(-1, weights.shape[1])
    kept = np.linalg.svd(flat @ root, full_matrices=False)[2][:rank]
    projection = np.linalg.solve(root.T, kept.T).T
    return projection, np.einsum("oihw,ri->orhw", weights, kept @ root.T)


def _joins_channels(node: NodeProto) -> bool:
    return node.op_type == "Concat" and bool(attributes_of(node)["axis"] == 1)


def _before_resize(tensor: str, made_by: Mapping[str, NodeProto]) -> str:
    node = made_by.get(tensor)
    return node.input[0] if node is not None and node.op_type == "Resize" else tensor


def _drop_unread_nodes(model: ModelProto) -> None:
    graph = model.graph
    read = {value.name for value in graph.output}
    kept = []
    for node in reversed(graph.node):
        if read.intersection(node.output):
            read.update(node.input)
            kept.append(node)
    del graph.node[:]
    graph.node.extend(reversed(kept))
