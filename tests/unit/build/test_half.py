"""Graphs in fp16: strongly typed, the same function, with casts where they belong."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import openvino
import pytest
from numpy.typing import NDArray
from onnx import ModelProto, TensorProto, helper, numpy_helper, shape_inference

from cutout_build.errors import BuildError
from cutout_build.half import halve
from cutout_build.half_arithmetic import rounded
from cutout_build.prepare import prepare
from tests.unit.build.graphs import SIZE, published_graph


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> ModelProto:
    return prepare(published_graph(tmp_path_factory.mktemp("half") / "net.onnx"), SIZE, 17, {"license": "CC0-1.0"})


@pytest.fixture(scope="module")
def image() -> NDArray[np.float32]:
    return np.random.default_rng(1).normal(size=(2, 3, SIZE, SIZE)).astype(np.float32)


def run(model: ModelProto, image: NDArray[np.float32]) -> NDArray[np.float32]:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answer: NDArray[np.float32] = session.run(None, {"IMAGE": image})[0]
    return answer


def types(model: ModelProto) -> dict[str, int]:
    graph = shape_inference.infer_shapes(model, strict_mode=True).graph
    return {value.name: value.type.tensor_type.elem_type for value in [*graph.value_info, *graph.output]}


def test_inputs_and_outputs_keep_their_types_and_every_node_between_is_half(prepared: ModelProto) -> None:
    half = halve(prepared)
    assert [value.SerializeToString() for value in half.graph.input] == [
        value.SerializeToString() for value in prepared.graph.input
    ]
    assert half.graph.output[0].type.tensor_type.elem_type == TensorProto.FLOAT
    found = types(half)
    for node in half.graph.node:
        if node.op_type != "Cast":
            assert {found[name] for name in node.output} == {TensorProto.FLOAT16}, node.name
    assert sum(node.op_type == "Cast" for node in half.graph.node) == 2
    scales = {node.input[2] for node in half.graph.node if node.op_type == "Resize"}
    kinds = {tensor.name: tensor.data_type for tensor in half.graph.initializer}
    assert {kinds[name] for name in scales} == {TensorProto.FLOAT}
    assert {kind for name, kind in kinds.items() if name not in scales} == {TensorProto.FLOAT16}
    assert half.metadata_props == prepared.metadata_props


def test_it_is_the_same_function_in_both_runtimes(
    prepared: ModelProto, image: NDArray[np.float32], tmp_path: Path
) -> None:
    half, reference = halve(prepared), run(prepared, image)
    onnx.save(half, tmp_path / "half.onnx")
    compiled = openvino.Core().compile_model(tmp_path / "half.onnx", "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    for answer in (run(half, image), compiled({"IMAGE": image})[0]):
        assert 0 < np.abs(answer - reference).max() < 2e-3


def test_rounding_every_tensor_is_told_from_rounding_the_weights(
    prepared: ModelProto, image: NDArray[np.float32]
) -> None:
    half, reference = halve(prepared), run(prepared, image)
    all_rounded = run(rounded(half), image)
    assert np.array_equal(all_rounded, all_rounded.astype(np.float16).astype(np.float32))
    assert 0 < np.abs(all_rounded - reference).max() < 4e-3
    assert not np.array_equal(all_rounded, run(half, image).astype(np.float16))


@pytest.mark.parametrize("keep", ["Sigmoid", "Conv", "mask_clip"])
def test_what_is_kept_stays_in_fp32(prepared: ModelProto, image: NDArray[np.float32], keep: str) -> None:
    half = halve(prepared, [keep])
    found = types(half)
    for node in half.graph.node:
        if node.op_type != "Cast":
            kept = keep in (node.name, node.op_type)
            assert {found[name] for name in node.output} == {TensorProto.FLOAT if kept else TensorProto.FLOAT16}
    assert np.abs(run(half, image) - run(prepared, image)).max() < 2e-3


def test_an_unknown_node_to_keep_is_refused(prepared: ModelProto) -> None:
    with pytest.raises(BuildError, match="no node and no kind of node Softmax"):
        halve(prepared, ["Conv", "Softmax"])


def test_a_weight_outside_the_range_is_refused(prepared: ModelProto) -> None:
    def scale(tensor: TensorProto) -> None:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor) * np.float32(1e6), tensor.name))

    with pytest.raises(BuildError, match=r"The weight .* is outside fp16's range"):
        halve(_changed(prepared, scale))


def test_constants_casts_and_integers_come_along() -> None:
    """As in the matting network: pixels as integers, a shape, constants as nodes."""
    nodes = [
        helper.make_node("Cast", ["IMAGE"], ["pixels"], name="pixels", to=TensorProto.FLOAT),
        helper.make_node("Constant", [], ["scale"], value=numpy_helper.from_array(np.float32(255))),
        helper.make_node("Div", ["pixels", "scale"], ["unit"], name="unit"),
        helper.make_node("Constant", [], ["shape"], value=numpy_helper.from_array(np.array([0, 1, 4], np.int64))),
        helper.make_node("Reshape", ["unit", "shape"], ["OUT"], name="flat"),
    ]
    graph = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info("IMAGE", TensorProto.UINT8, ["N", 2, 2])],
        [helper.make_tensor_value_info("OUT", TensorProto.FLOAT, ["N", 1, 4])],
    )
    half = halve(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8))
    session = onnxruntime.InferenceSession(half.SerializeToString(), providers=["CPUExecutionProvider"])
    pixels = np.array([[[0, 51], [102, 255]]], np.uint8)
    assert session.run(None, {"IMAGE": pixels})[0] == pytest.approx(np.array([[[0, 0.2, 0.4, 1]]]), abs=1e-3)
    assert types(half)["unit"] == TensorProto.FLOAT16


def _changed(model: ModelProto, change: Callable[[TensorProto], None]) -> ModelProto:
    copy = ModelProto()
    copy.CopyFrom(model)
    change(next(tensor for tensor in copy.graph.initializer if len(tensor.dims) == 4))
    return copy
