"""Concatenations at a scale of 1: the same function in floats, and the one form that OpenVINO computes rightly."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import numpy as np
import onnx
import openvino
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from cutout_build.quantize.plan import quant_plan
from cutout_build.quantize.qdq import write_qdq
from cutout_build.quantize.unit_scale import unit_scales
from tests.unit.build.quantize.test_qdq import run, scales


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(5).normal(0, 1, (2, 3, 16, 16)).astype(np.float32)


def by_openvino(model: ModelProto, image: np.ndarray) -> np.ndarray:
    compiled = openvino.Core().compile_model(
        openvino.Core().read_model(model.SerializeToString()), "CPU", {"INFERENCE_PRECISION_HINT": "f32"}
    )
    return np.array(compiled(image)[0])


def residual(ends_in_output: bool = False, floor: bool = False) -> ModelProto:
    """first → (second + first) → joined with first → last; a residual ties the channels of its two sides."""
    rng = np.random.default_rng(6)
    weights: list[TensorProto] = []
    nodes: list[onnx.NodeProto] = []

    def conv(source: str, inputs: int, name: str) -> None:
        kernel = (rng.normal(0, 1, (8, inputs, 3, 3)) / np.sqrt(9 * inputs)).astype(np.float32)
        weights.append(numpy_helper.from_array(kernel, f"{name}.weight"))
        weights.append(numpy_helper.from_array(rng.normal(0, 0.1, 8).astype(np.float32), f"{name}.bias"))
        names = [source, f"{name}.weight", f"{name}.bias"]
        nodes.append(helper.make_node("Conv", names, [f"{name}.out"], kernel_shape=[3, 3], pads=[1, 1, 1, 1]))
        if floor and name == "first":
            weights.append(numpy_helper.from_array(rng.normal(0, 0.3, (1, 8, 1, 1)).astype(np.float32), "floor"))
            nodes.append(helper.make_node("Max", [f"{name}.out", "floor"], [name]))
        else:
            nodes.append(helper.make_node("Relu", [f"{name}.out"], [name]))

    conv("IMAGE", 3, "first")
    conv("first", 8, "second")
    nodes.append(helper.make_node("Add", ["second", "first"], ["sum"]))
    nodes.append(helper.make_node("Concat", ["sum", "first"], ["joined"], axis=1))
    conv("joined", 16, "last")
    nodes.append(helper.make_node("Sigmoid", ["last"], ["MASK"]))
    names = ["MASK", "first.out"] if ends_in_output else ["MASK"]
    graph = helper.make_graph(
        nodes,
        "residual",
        [helper.make_tensor_value_info("IMAGE", TensorProto.FLOAT, ["N", 3, 16, 16])],
        [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 8, 16, 16]) for name in names],
        weights,
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)


@pytest.mark.parametrize("build", [None, residual, lambda: residual(floor=True)], ids=["U-Net", "residual", "floor"])
def test_the_function_stays_and_what_is_concatenated_gets_a_scale_of_one(
    model: ModelProto, image: np.ndarray, build: object
) -> None:
    graph = build() if callable(build) else model
    plan, before = quant_plan(graph), scales(graph, image)
    scaled, after = unit_scales(graph, plan, before)
    assert before[plan.groups["joined"]] != pytest.approx(1, rel=0.1)
    assert after[plan.groups["joined"]] == pytest.approx(1, rel=1e-6)
    assert np.abs(run(scaled, image)[0] - run(graph, image)[0]).max() < 1e-5
    assert after == pytest.approx(scales(scaled, image), rel=1e-4)  # the new scales fit the new graph's ranges


def test_openvino_computes_an_int8_concatenation_as_onnx_defines_it(model: ModelProto, image: np.ndarray) -> None:
    plan = quant_plan(model)
    scaled, units = unit_scales(model, plan, scales(model, image))
    quantized = write_qdq(scaled, plan, units)
    spread = run(model, image)[0].std()
    assert np.abs(by_openvino(quantized, image) - run(quantized, image)[0]).mean() < 0.01 * spread


def test_what_the_graph_hands_out_keeps_its_scale(image: np.ndarray) -> None:
    graph = residual(ends_in_output=True)
    plan, before = quant_plan(graph), scales(graph, image)
    scaled, after = unit_scales(graph, plan, before)
    assert after == before
    for new, old in zip(scaled.graph.initializer, graph.graph.initializer, strict=True):
        assert np.array_equal(numpy_helper.to_array(new), numpy_helper.to_array(old))
