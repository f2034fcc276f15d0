"""Resizes of whole numbers: where they are, and that answers stay within a step, with a real OpenVINO."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

from collections.abc import Sequence

import numpy as np
import openvino as ov
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from cutout_core.serving.resizes import with_resized_bytes

SIDE, CHANNELS, STEP = 8, 4, 0.05
Floats = NDArray[np.float32]


def _resize(read: str = "x", made: str = "t", mode: str = "linear") -> NodeProto:
    return helper.make_node("Resize", [read, "", "", "sizes"], [made], mode=mode)


def _pair(tensor: str = "t", step: str = "step", zero: str = "zero") -> list[NodeProto]:
    return [
        helper.make_node("QuantizeLinear", [tensor, step, zero], [f"{tensor}_q"]),
        helper.make_node("DequantizeLinear", [f"{tensor}_q", step, zero], [f"{tensor}_dq"]),
    ]


def _answers(nodes: Sequence[NodeProto], outputs: Sequence[str] = ("t_dq",)) -> tuple[list[Floats], list[Floats], int]:
    """Of what `nodes` make of "x", [1, 4, 8, 8] floats: as the graph says, changed, and how many resizes are."""
    constants = {
        "step": np.float32(STEP), "zero": np.int8(0), "sizes": np.array([1, CHANNELS, 2 * SIDE, 2 * SIDE], np.int64),
        "steps": np.linspace(STEP, 2 * STEP, CHANNELS, dtype=np.float32), "zeros": np.zeros(CHANNELS, np.int8),
    }  # fmt: skip
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in outputs]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CHANNELS, SIDE, SIDE])]
    graph = helper.make_graph(nodes, "small", given, made, tensors)
    file = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    x = np.random.default_rng(0).normal(0, 1, (1, CHANNELS, SIDE, SIDE)).astype(np.float32)
    found, changed = [], 0
    for change in (False, True):
        model = ov.Core().read_model(file)
        changed = with_resized_bytes(model) if change else 0
        compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        found.append([np.array(value) for value in compiled([x]).values()])
    return found[0], found[1], changed


@pytest.mark.parametrize("mode", ["linear", "nearest"])
def test_the_quantization_comes_first(mode: str) -> None:
    (before,), (after,), changed = _answers([_resize(mode=mode), *_pair()])
    assert changed == 1
    assert before.shape == after.shape == (1, CHANNELS, 2 * SIDE, 2 * SIDE)
    assert before.std() > 0.1
    assert np.abs(after - before).max() <= (1.001 * STEP if mode == "linear" else 1e-6)
    assert abs(float((after - before).mean())) < STEP / 20


def test_one_behind_another_changes_too() -> None:
    nodes = [_resize(), *_pair(), helper.make_node("Relu", ["t_dq"], ["r"]), _resize("r", "u"), *_pair("u")]
    (before,), (after,), changed = _answers(nodes, ["u_dq"])
    assert changed == 2
    assert np.abs(after - before).max() <= 2.001 * STEP


def test_who_else_reads_what_is_enlarged_has_the_floats() -> None:
    nodes = [_resize(), *_pair(), helper.make_node("Relu", ["x"], ["r"])]
    before, after, changed = _answers(nodes, ["t_dq", "r"])
    assert changed == 1
    np.testing.assert_array_equal(after[1], before[1])


@pytest.mark.parametrize(
    ("nodes", "outputs"),
    [
        pytest.param([_resize(mode="cubic"), *_pair()], ["t_dq"], id="cubic ones overshoot"),
        pytest.param([_resize(), *_pair()], ["t_dq", "t"], id="the floats are asked for"),
        pytest.param([_resize(), *_pair("t", "steps", "zeros")], ["t_dq"], id="a step for each channel"),
        pytest.param([_resize(), helper.make_node("Relu", ["t"], ["r"]), *_pair("r")], ["r_dq"], id="not at once"),
        pytest.param([_resize()], ["t"], id="floats alone"),
    ],
)
def test_what_is_otherwise_stays_as_it_is(nodes: list[NodeProto], outputs: list[str]) -> None:
    before, after, changed = _answers(nodes, outputs)
    assert changed == 0
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new, old)
