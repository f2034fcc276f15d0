"""What a graph in fp16 gives where every tensor really is rounded to fp16.

No CPU runtime at hand computes in fp16 without instructions for it: ONNX Runtime and OpenVINO run such a graph in fp32
and round the weights alone. So the graph is rewritten: its fp16 operators compute in fp32 and each result is rounded to
fp16, as tensor cores with fp32 accumulators do it.
"""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, NodeProto, TensorProto, helper, numpy_helper, shape_inference

_FLOAT, _HALF = TensorProto.FLOAT, TensorProto.FLOAT16


def rounded(model: ModelProto) -> ModelProto:
    """A copy in fp32 whose tensors are rounded wherever `model` has fp16 ones."""
    typed = shape_inference.infer_shapes(model, strict_mode=True)
    halves = {
        value.name
        for value in [*typed.graph.value_info, *typed.graph.output]
        if value.type.tensor_type.elem_type == _HALF
    }
    emulated = ModelProto()
    emulated.CopyFrom(model)
    graph = emulated.graph
    for tensor in graph.initializer:
        if tensor.data_type == _HALF:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float32), tensor.name))
    nodes: list[NodeProto] = []
    for node in graph.node:
        if node.op_type == "Cast":
            for attribute in node.attribute:
                if attribute.name == "to" and attribute.i == _HALF:
                    attribute.i = _FLOAT
        nodes.append(node)
        for index, name in enumerate(node.output):
            if name in halves:
                node.output[index] = f"{name}_exact"
                nodes += _rounding(name)
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.value_info[:]
    return emulated


def _rounding(name: str) -> tuple[NodeProto, NodeProto]:
    return (
        helper.make_node("Cast", [f"{name}_exact"], [f"{name}_half"], name=f"{name}_to_half", to=_HALF),
        helper.make_node("Cast", [f"{name}_half"], [name], name=f"{name}_from_half", to=_FLOAT),
    )
