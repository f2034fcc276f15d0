"""A graph whose weights were stored in fp16 as the same in fp32, so that each runtime chooses its own arithmetic."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, helper, numpy_helper

_FLOATS = (TensorProto.FLOAT, TensorProto.FLOAT16)


def widen(model: ModelProto) -> int:
    """Widens fp16 weights and constants of `model` (in place) and takes its casts between fp16 and fp32 out.

    Returns how many weights and constants there were; a graph without any is left as it is. Inputs and outputs are
    fp32 already.
    """
    graph = model.graph
    tensors = [tensor for tensor in graph.initializer if tensor.data_type == TensorProto.FLOAT16]
    for node in graph.node:
        tensors += [a.t for a in node.attribute if a.name == "value" and a.t.data_type == TensorProto.FLOAT16]
    if not tensors:
        return 0
    for tensor in tensors:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    _remove_casts(model)
    del graph.value_info[:]
    return len(tensors)


def _remove_casts(model: ModelProto) -> None:
    graph = model.graph
    casts = [n for n in graph.node if n.op_type == "Cast" and helper.get_node_attr_value(n, "to") in _FLOATS]
    outputs = {value.name for value in graph.output}
    renamed: dict[str, str] = {}
    for cast in casts:  # in topological order, so that a chain of casts ends at its first input
        source, target = renamed.get(cast.input[0], cast.input[0]), cast.output[0]
        if target in outputs:
            cast.op_type = "Identity"
            del cast.attribute[:]
            cast.input[0] = source
            continue
        renamed[target] = source
        graph.node.remove(cast)
    for node in graph.node:
        for index, name in enumerate(node.input):
            node.input[index] = renamed.get(name, name)
