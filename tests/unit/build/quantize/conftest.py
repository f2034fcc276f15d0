"""A small segmentation graph."""

from __future__ import annotations

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper


@pytest.fixture
def model() -> ModelProto:
    """A small U-Net: photo → first → second ↘ pool → deep → up, joined with second → head → sigmoid."""
    rng = np.random.default_rng(3)
    weights: list[TensorProto] = [numpy_helper.from_array(np.array([1, 1, 2, 2], np.float32), "scales")]

    def conv(source: str, inputs: int, outputs: int, name: str, relu: bool = True) -> list[onnx.NodeProto]:
        gain = rng.uniform(0.2, 3, (outputs, 1, 1, 1)) / np.sqrt(9 * inputs)
        values = (rng.normal(0, 1, (outputs, inputs, 3, 3)) * gain).astype(np.float32)
        weights.extend([numpy_helper.from_array(values, f"{name}.weight")])
        weights.extend([numpy_helper.from_array(rng.normal(0, 0.1, outputs).astype(np.float32), f"{name}.bias")])
        wide = f"{name}.out" if relu else name
        names = [source, f"{name}.weight", f"{name}.bias"]
        nodes = [helper.make_node("Conv", names, [wide], kernel_shape=[3, 3], pads=[1, 1, 1, 1])]
        return [*nodes, helper.make_node("Relu", [wide], [name])] if relu else nodes

    nodes = [
        *conv("IMAGE", 3, 8, "first"),
        *conv("first", 8, 8, "second"),
        helper.make_node("MaxPool", ["second"], ["pooled"], kernel_shape=[2, 2], strides=[2, 2]),
        *conv("pooled", 8, 8, "deep"),
        helper.make_node(
            "Resize", ["deep", "", "scales"], ["up"], mode="linear", coordinate_transformation_mode="half_pixel"
        ),
        helper.make_node("Concat", ["up", "second"], ["joined"], axis=1),
        *conv("joined", 16, 8, "last"),
        *conv("last", 8, 1, "logits", relu=False),
        helper.make_node("Sigmoid", ["logits"], ["MASK"]),
    ]
    shape = ["N", None, 16, 16]
    inputs = [helper.make_tensor_value_info("IMAGE", TensorProto.FLOAT, ["N", 3, 16, 16])]
    outputs = [helper.make_tensor_value_info("MASK", TensorProto.FLOAT, shape)]
    made = helper.make_model(
        helper.make_graph(nodes, "unet", inputs, outputs, weights),
        opset_imports=[helper.make_opsetid("", 17)],
        ir_version=8,
    )
    onnx.checker.check_model(made, full_check=True)
    return made


@pytest.fixture
def evidence() -> ModelProto:
    """photo → cells → stem → wide activations, shuffled up ↘ joined with the photo's own cells → head → sigmoid."""
    rng = np.random.default_rng(8)
    weights: list[TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def constant(name: str, value: object, kind: type = np.int64) -> str:
        weights.append(numpy_helper.from_array(np.array(value, kind), name))
        return name

    def conv(source: str, inputs: int, outputs: int, name: str, gain: object = 1, size: int = 3) -> None:
        gains = np.broadcast_to(gain, inputs)[:, None, None]
        kernel = gains * rng.normal(0, 1, (outputs, inputs, size, size)) / np.sqrt(size * size * inputs)
        names = [source, constant(f"{name}.weight", kernel, np.float32)]
        pads = [size // 2] * 4
        nodes.append(helper.make_node("Conv", names, [name], kernel_shape=[size, size], pads=pads))

    def cells(source: str, count: int, side: int, block: int, name: str) -> None:
        split = constant(f"{name}.split", [-1, count, side // block, block, side // block, block])
        flat = constant(f"{name}.flat", [-1, count * block**2, side // block, side // block])
        nodes.append(helper.make_node("Reshape", [source, split], [f"{name}.apart"]))
        nodes.append(helper.make_node("Transpose", [f"{name}.apart"], [f"{name}.turned"], perm=[0, 1, 3, 5, 2, 4]))
        nodes.append(helper.make_node("Reshape", [f"{name}.turned", flat], [name]))

    nodes.append(helper.make_node("Concat", ["IMAGE", "IMAGE"], ["twice"], axis=1))
    cells("twice", 6, 16, 4, "coarse")
    conv("coarse", 96, 32, "stem.out", gain=20)
    nodes.append(helper.make_node("Relu", ["stem.out"], ["stem"]))
    nodes.append(helper.make_node("DepthToSpace", ["stem"], ["shuffled"], blocksize=2, mode="CRD"))
    cells("twice", 6, 16, 2, "fine")
    nodes.append(helper.make_node("Concat", ["fine", "shuffled"], ["joined"], axis=1))
    conv("joined", 32, 8, "head.out", gain=[6.0] * 24 + [0.2] * 8)  # the evidence counts most
    nodes.append(helper.make_node("Relu", ["head.out"], ["head"]))
    conv("head", 8, 1, "last", gain=2, size=1)
    nodes.append(helper.make_node("Sigmoid", ["last"], ["MASK"]))
    graph = helper.make_graph(
        nodes,
        "evidence",
        [helper.make_tensor_value_info("IMAGE", TensorProto.FLOAT, ["N", 3, 16, 16])],
        [helper.make_tensor_value_info("MASK", TensorProto.FLOAT, ["N", 1, 8, 8])],
        weights,
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made
