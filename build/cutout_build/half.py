"""A served graph in fp16: strongly typed, so that TensorRT computes in fp16 what is written in fp16 and nothing else.

Inputs and outputs keep their types; casts stand inside. Nodes that are named stay in fp32, and where a tensor goes
from one kind of node to the other stands one cast, shared by all that need it.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import onnx
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

from cutout_build.errors import BuildError

_FLOAT, _HALF = TensorProto.FLOAT, TensorProto.FLOAT16

#: Inputs that are fp32 by the operator's definition, whatever the others are.
_ALWAYS_FLOAT = {"Resize": frozenset({1, 2})}


def halve(model: ModelProto, keep: Iterable[str] = ()) -> ModelProto:
    """A copy of `model` (fp32, opset 17 or newer) in fp16.

    keep: names of nodes, or kinds of them ("Sigmoid"), that stay in fp32. Raises BuildError where one of them is not
    in the graph, or a weight is outside fp16's range (65504).
    """
    kept = _kept(model, set(keep))
    half = ModelProto()
    half.CopyFrom(shape_inference.infer_shapes(model, strict_mode=True, data_prop=True))
    floats = {
        value.name
        for value in [*half.graph.value_info, *half.graph.input, *half.graph.output]
        if value.type.tensor_type.elem_type == _FLOAT
    }
    del half.graph.value_info[:]
    _Halving(half, floats, kept).run()
    try:
        onnx.checker.check_model(half, full_check=True)
    except (onnx.checker.ValidationError, shape_inference.InferenceError) as error:
        raise BuildError(f"The graph in fp16 is not valid: {str(error).strip().splitlines()[0]}") from error
    return half


def _kept(model: ModelProto, wanted: set[str]) -> set[str]:
    nodes = model.graph.node
    known = {node.name for node in nodes} | {node.op_type for node in nodes}
    if wanted - known:
        raise BuildError(f"The graph has no node and no kind of node {', '.join(sorted(wanted - known))}.")
    return {node.name for node in nodes if {node.name, node.op_type} & wanted}


class _Halving:
    """One pass over the nodes, in order. `kind`: the type that each float tensor has by now."""

    def __init__(self, model: ModelProto, floats: set[str], kept: set[str]) -> None:
        self._graph = model.graph
        self._floats = floats
        self._kept = kept
        self._weights = {tensor.name: tensor for tensor in self._graph.initializer if tensor.data_type == _FLOAT}
        self._kind = dict.fromkeys((value.name for value in self._graph.input), _FLOAT)
        self._made: dict[tuple[str, int], str] = {}
        self._nodes: list[NodeProto] = []

    def run(self) -> None:
        graph = self._graph
        _lift_constants(graph, self._weights)
        for node in list(graph.node):
            self._convert(node)
        for value in graph.output:
            self._restore(value.name)
        del graph.node[:]
        graph.node.extend(self._nodes)
        used = {name for node in self._nodes for name in node.input}
        tensors = [tensor for tensor in graph.initializer if tensor.name in used]
        del graph.initializer[:]
        graph.initializer.extend(tensors)

    def _convert(self, node: NodeProto) -> None:
        kind = _FLOAT if node.name in self._kept else _HALF
        fixed = _ALWAYS_FLOAT.get(node.op_type, frozenset())
        for index, name in enumerate(node.input):
            node.input[index] = self._as(name, _FLOAT if index in fixed else kind)
        if node.op_type == "Cast":
            for attribute in node.attribute:
                if attribute.name == "to" and attribute.i == _FLOAT:
                    attribute.i = kind
        self._nodes.append(node)
        self._kind.update({name: kind for name in node.output if name in self._floats})

    def _as(self, name: str, kind: int) -> str:
        """The tensor's name in that type; a cast or a converted weight is made on first use."""
        if name in self._weights:
            return name if kind == _FLOAT else self._half_weight(name)
        if name not in self._floats or self._kind[name] == kind:
            return name
        if (name, kind) not in self._made:
            cast = f"{name}_fp{'16' if kind == _HALF else '32'}"
            self._nodes.append(helper.make_node("Cast", [name], [cast], name=cast, to=kind))
            self._made[name, kind] = cast
        return self._made[name, kind]

    def _half_weight(self, name: str) -> str:
        if (name, _HALF) not in self._made:
            with np.errstate(over="ignore"):
                values = numpy_helper.to_array(self._weights[name]).astype(np.float16)
            if not np.isfinite(values).all():
                raise BuildError(f"The weight {name} is outside fp16's range.")
            self._graph.initializer.append(numpy_helper.from_array(values, f"{name}_fp16"))
            self._made[name, _HALF] = f"{name}_fp16"
        return self._made[name, _HALF]

    def _restore(self, name: str) -> None:
        """Gives an output of the graph its own type back."""
        if name not in self._floats or self._kind[name] == _FLOAT:
            return
        inner = f"{name}_fp16"
        for node in self._nodes:
            for field in (node.input, node.output):
                for index, tensor in enumerate(field):
                    if tensor == name:
                        field[index] = inner
        self._nodes.append(helper.make_node("Cast", [inner], [name], name=f"{name}_fp32", to=_FLOAT))


def _lift_constants(graph: onnx.GraphProto, weights: dict[str, TensorProto]) -> None:
    """Makes weights of the Constant nodes that hold floats."""
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        value = next((attribute.t for attribute in node.attribute if attribute.name == "value"), None)
        if value is None or value.data_type != _FLOAT:
            continue
        tensor = graph.initializer.add()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
        weights[tensor.name] = tensor
        graph.node.remove(node)
