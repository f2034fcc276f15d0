"""Nearly constant channels are stored as what varies in them, so that narrow number formats keep it.

Batch normalisation of a channel that hardly varied in training, folded into its convolution, leaves tiny weights and
a large bias: the channel is a constant plus a faint signal (in U²-Net-p, one channel is 226 ± 0.2), and the next
convolution takes the constant away again with biases as large. In bf16 the step between neighbours at 226 is 1, so
the signal is lost, in fp16 it is 0.125, and an 8-bit scale is spent on the constant.

With bias b, `relu(w·x + b) = max(w·x, -b) + b`. The left part, centred on zero, travels instead; the `+ b` passes
through the (linear) upsampling and the concatenation and is folded into the next convolution's bias. That
convolution pads with zeros where the original channel had zeros too, not b; a constant frame takes this back:
the same weights over a picture that is 1 in the padding and 0 inside. The result is the same function.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper

from cutout_build.shapes import inferred_shapes

Array = NDArray[np.float32]

#: A channel is recentred where its bias exceeds this many times the sum of its weights' magnitudes, which bounds
#: the channel's change for inputs that differ by 1.
RATIO = 100.0


@dataclass(frozen=True, slots=True)
class _Chain:
    """Conv → Relu → Resize → Concat → Conv without another reader; `offset`: the first's channels in the Concat."""

    first: NodeProto
    relu: NodeProto
    second: NodeProto
    offset: int


def recentre(model: ModelProto, ratio: float = RATIO) -> int:
    """Recentres every nearly constant channel of `model` (in place); how many there were.

    The model has constant scales in its Resizes and its weights as initialisers; its batch size does not matter.
    """
    graph = model.graph
    shapes = inferred_shapes(model)
    count = 0
    for first in [node for node in graph.node if node.op_type == "Conv"]:
        chain = _chain(graph, first, shapes)
        if chain is not None:
            count += _recentre_chain(graph, chain, shapes, ratio)
    return count


def _recentre_chain(graph: GraphProto, chain: _Chain, shapes: dict[str, tuple[int, ...]], ratio: float) -> int:
    weights, bias = _tensor(graph, chain.first.input[1]), _tensor(graph, chain.first.input[2])
    magnitude = np.abs(weights).sum(axis=(1, 2, 3))
    shift = np.where(bias > ratio * magnitude, bias, np.float32(0))
    if not shift.any():
        return 0
    _set(graph, chain.first.input[2], bias - shift)

    name = chain.second.name or chain.second.output[0]
    floor = f"{name}_floor"
    graph.initializer.append(numpy_helper.from_array(-shift.reshape(1, -1, 1, 1), floor))
    chain.relu.op_type = "Max"
    chain.relu.input.append(floor)

    read = _tensor(graph, chain.second.input[1])[:, chain.offset : chain.offset + len(shift)].astype(np.float64)
    taps = (read * shift[None, :, None, None]).sum(axis=1, keepdims=True)
    constant = taps.sum(axis=(1, 2, 3))
    _set(graph, chain.second.input[2], (_tensor(graph, chain.second.input[2]) + constant).astype(np.float32))
    _append_frame(graph, chain.second, -taps.astype(np.float32), shapes[chain.second.input[0]][2:])
    return int(np.count_nonzero(shift))


def _append_frame(graph: GraphProto, conv: NodeProto, taps: Array, size: tuple[int, ...]) -> None:
    """Adds conv(frame, taps) to `conv`: frame is 1 where `conv` pads and 0 inside."""
    top, left, bottom, right = _ints(conv, "pads")
    frame = np.pad(np.zeros(size, np.float32), ((top, bottom), (left, right)), constant_values=1)[None, None]
    name = conv.name or conv.output[0]
    graph.initializer.extend(
        [numpy_helper.from_array(frame, f"{name}_frame"), numpy_helper.from_array(taps, f"{name}_frame_taps")]
    )
    result, inner, edge = conv.output[0], f"{name}_inner", f"{name}_edge"
    conv.output[0] = inner
    position = next(index for index, node in enumerate(graph.node) if node.output[0] == inner) + 1
    dilations = _ints(conv, "dilations")
    inputs = [f"{name}_frame", f"{name}_frame_taps"]
    graph.node.insert(position, helper.make_node("Conv", inputs, [edge], name=edge, dilations=dilations))
    graph.node.insert(position + 1, helper.make_node("Add", [inner, edge], [result], name=f"{name}_sum"))


def _chain(graph: GraphProto, first: NodeProto, shapes: dict[str, tuple[int, ...]]) -> _Chain | None:
    relu = _only_reader(graph, first.output[0], "Relu")
    resize = relu and _only_reader(graph, relu.output[0], "Resize")
    concat = resize and _only_reader(graph, resize.output[0], "Concat")
    second = concat and _only_reader(graph, concat.output[0], "Conv")
    if relu is None or resize is None or concat is None or second is None:
        return None
    plain = helper.get_node_attr_value(concat, "axis") == 1 and set(_ints(second, "strides")) == {1}
    if not plain or _attribute(second, "group") not in (None, 1) or len(first.input) < 3 or len(second.input) < 3:
        return None
    before = list(concat.input)[: list(concat.input).index(resize.output[0])]
    return _Chain(first, relu, second, sum(shapes[name][1] for name in before))


def _only_reader(graph: GraphProto, name: str, op_type: str) -> NodeProto | None:
    """The node that reads `name`, where it is the only one, is an `op_type`, and `name` is no output."""
    readers = [node for node in graph.node if name in node.input]
    if len(readers) != 1 or readers[0].op_type != op_type or name in {value.name for value in graph.output}:
        return None
    return readers[0]


def _attribute(node: NodeProto, name: str) -> object:
    return next((helper.get_attribute_value(found) for found in node.attribute if found.name == name), None)


def _ints(node: NodeProto, name: str) -> list[int]:
    found = _attribute(node, name)
    if isinstance(found, list):
        return found
    return [0, 0, 0, 0] if name == "pads" else [1, 1]


def _tensor(graph: GraphProto, name: str) -> Array:
    array: Array = numpy_helper.to_array(next(tensor for tensor in graph.initializer if tensor.name == name))
    return array


def _set(graph: GraphProto, name: str, value: Array) -> None:
    next(tensor for tensor in graph.initializer if tensor.name == name).CopyFrom(numpy_helper.from_array(value, name))
