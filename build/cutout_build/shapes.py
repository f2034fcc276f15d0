"""Shapes of a graph's tensors."""

from __future__ import annotations

from onnx import ModelProto, ValueInfoProto, shape_inference


def inferred_shapes(model: ModelProto) -> dict[str, tuple[int, ...]]:
    """Of every input, output and computed tensor by its name; 0 stands for a dimension that is not constant."""
    graph = shape_inference.infer_shapes(model, strict_mode=True, data_prop=True).graph
    return {value.name: dims(value) for value in [*graph.input, *graph.value_info, *graph.output]}


def dims(value: ValueInfoProto) -> tuple[int, ...]:
    """Dimensions; 0 where one is not a number."""
    return tuple(dim.dim_value for dim in value.type.tensor_type.shape.dim)
