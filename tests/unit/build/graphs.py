"""Tiny graphs like published saliency nets: batch 1, opset 11, side outputs, sizes computed at run time."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import helper, numpy_helper

SIZE = 32
CHANNELS = 4


def published_graph(path: Path, *, constant_bias: float = 0.0, opset: int = 11, side_outputs: int = 2) -> Path:
    """Writes a net with two scales: conv, pool, conv, resize to the size of the first, concat, conv, sigmoid.

    constant_bias: bias of one channel of the half-size convolution, whose weights are then tiny.
    """
    rng = np.random.default_rng(7)
    inner = rng.normal(0, 0.2, (CHANNELS, CHANNELS, 3, 3)).astype(np.float32)
    inner_bias = rng.normal(0, 0.2, CHANNELS).astype(np.float32)
    if constant_bias:
        inner[1] *= 1e-3
        inner_bias[1] = constant_bias
    fuse = rng.normal(0, 0.2, (CHANNELS, 2 * CHANNELS, 3, 3)).astype(np.float32)
    fuse_bias = (-fuse[:, 1].sum(axis=(1, 2)) * constant_bias).astype(np.float32)
    weights = {
        "w0": rng.normal(0, 0.3, (CHANNELS, 3, 3, 3)),
        "b0": rng.normal(0, 0.1, CHANNELS),
        "w1": inner,
        "b1": inner_bias,
        "w2": fuse,
        "b2": fuse_bias,
        "w3": rng.normal(0, 0.3, (1, CHANNELS, 1, 1)),
        "b3": np.zeros(1),
        "unread": np.ones(3),
    }
    nodes = [
        helper.make_node("Conv", ["input.1", "w0", "b0"], ["c0"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c0"], ["r0"]),
        helper.make_node("MaxPool", ["r0"], ["p0"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
        helper.make_node("Conv", ["p0", "w1", "b1"], ["c1"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c1"], ["r1"]),
        *_resize_like("r1", "r0", "u1"),
        helper.make_node("Concat", ["u1", "r0"], ["cat"], axis=1),
        helper.make_node("Conv", ["cat", "w2", "b2"], ["c2"], pads=[1, 1, 1, 1]),
        helper.make_node("Relu", ["c2"], ["r2"]),
        helper.make_node("Conv", ["r2", "w3", "b3"], ["c3"]),
        helper.make_node("Sigmoid", ["c3"], ["100"]),
        *(helper.make_node("Sigmoid", ["c3"], [f"{101 + index}"]) for index in range(side_outputs)),
    ]
    kind = onnx.TensorProto.FLOAT
    outputs = [helper.make_tensor_value_info(f"{100 + i}", kind, [1, 1, SIZE, SIZE]) for i in range(1 + side_outputs)]
    graph = helper.make_graph(
        nodes,
        "published",
        [helper.make_tensor_value_info("input.1", kind, [1, 3, SIZE, SIZE])],
        outputs,
        [numpy_helper.from_array(np.asarray(value, np.float32), name) for name, value in weights.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=6)
    onnx.save(model, path)
    return path


def _resize_like(source: str, like: str, result: str) -> list[onnx.NodeProto]:
    """Resize with a size put together from two Shape nodes, as exporters write it."""
    empty = numpy_helper.from_array(np.zeros(0, np.float32))
    return [
        helper.make_node("Shape", [like], ["like_shape"]),
        _constant("from2", [2]),
        _constant("to4", [4]),
        _constant("axis0", [0]),
        helper.make_node("Slice", ["like_shape", "from2", "to4", "axis0"], ["like_size"]),
        helper.make_node("Shape", [source], ["own_shape"]),
        helper.make_node("Slice", ["own_shape", "axis0", "from2", "axis0"], ["own_start"]),
        helper.make_node("Concat", ["own_start", "like_size"], ["sizes"], axis=0),
        helper.make_node("Constant", [], ["none"], value=empty),
        helper.make_node(
            "Resize",
            [source, "none", "none", "sizes"],
            [result],
            mode="linear",
            coordinate_transformation_mode="pytorch_half_pixel",
        ),
    ]


def _constant(name: str, values: list[int]) -> onnx.NodeProto:
    return helper.make_node("Constant", [], [name], value=numpy_helper.from_array(np.array(values, np.int64)))
