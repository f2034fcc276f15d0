"""Unsigned activations: where they are, and that they are closer to the floats, with a real OpenVINO."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import openvino as ov
import pytest
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from cutout_build.certificate.runs import capabilities
from cutout_core.serving.unsigned import with_unsigned_activations
from tests.unit.build.quantize.unsigned_graph import unsigned

SIDE, CHANNELS, STEP = 8, 4, 0.02
U2NETP = Path(__file__).parents[2] / "build" / "weights" / "u2netp_int8.onnx"


def _pair(tensor: str, step: str = "step") -> list[NodeProto]:
    return [
        helper.make_node("QuantizeLinear", [tensor, step, "zero"], [f"{tensor}_q"]),
        helper.make_node("DequantizeLinear", [f"{tensor}_q", step, "zero"], [f"{tensor}_dq"]),
    ]


def _graph(nodes: Sequence[NodeProto], outputs: dict[str, int] | None = None, step: float = STEP) -> bytes:
    """What `nodes` make of "x", [1, 4, 8, 8] floats. outputs: names to types, else floats "y"."""
    constants = {
        "step": np.float32(step), "zero": np.int8(0), "three": np.full(1, 3, np.float32),
        "sizes": np.array([1, CHANNELS, 2 * SIDE, 2 * SIDE], np.int64),
    }  # fmt: skip
    tensors = [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()]
    made = [
        helper.make_tensor_value_info(name, kind, None) for name, kind in (outputs or {"y": TensorProto.FLOAT}).items()
    ]
    given = [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, CHANNELS, SIDE, SIDE])]
    graph = helper.make_graph(nodes, "small", given, made, tensors)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()


def _answers(graph: bytes, x: NDArray[np.float32]) -> tuple[Any, Any, int]:
    """With signed activations, with unsigned ones, and how many tensors those are."""
    core = ov.Core()
    found = []
    changed = 0
    for change in (False, True):
        model = core.read_model(graph)
        changed = with_unsigned_activations(model) if change else 0
        found.append(np.array(core.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})(x)[0]))
    return found[0], found[1], changed


def _photo(seed: int = 0) -> NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 1, (1, CHANNELS, SIDE, SIDE)).astype(np.float32)


def _resize(read: str, made: str, mode: str) -> NodeProto:
    return helper.make_node("Resize", [read, "", "", "sizes"], [made], mode=mode)


RELU = helper.make_node("Relu", ["x"], ["r"])


def test_behind_a_relu_the_steps_are_half_as_wide() -> None:
    x = _photo()
    signed, unsigned, changed = _answers(_graph([RELU, *_pair("r"), helper.make_node("Identity", ["r_dq"], ["y"])]), x)
    assert changed == 1
    assert STEP / 4 < np.abs(signed - np.clip(x, 0, 127 * STEP)).max() <= STEP / 2 + 1e-6
    assert np.abs(unsigned - np.clip(x, 0, 127.5 * STEP)).max() <= STEP / 4 + 1e-6


def test_what_can_be_negative_stays_as_it_is() -> None:
    signed, unsigned, changed = _answers(_graph([*_pair("x"), helper.make_node("Identity", ["x_dq"], ["y"])]), _photo())
    assert changed == 0
    assert signed.min() < -STEP
    np.testing.assert_array_equal(unsigned, signed)


@pytest.mark.parametrize(
    ("nodes", "expected"),
    [
        pytest.param([helper.make_node("MaxPool", ["r_dq"], ["t"], kernel_shape=[2, 2])], 2, id="pooling"),
        pytest.param([_resize("r_dq", "t", "linear")], 2, id="bilinear resize"),
        pytest.param([_resize("r_dq", "t", "cubic")], 1, id="a bicubic resize undershoots"),
        pytest.param([helper.make_node("Concat", ["r_dq", "r_dq"], ["t"], axis=1)], 2, id="concatenation"),
        pytest.param([helper.make_node("Concat", ["r_dq", "x"], ["t"], axis=1)], 1, id="one part can be negative"),
        pytest.param([helper.make_node("Add", ["r_dq", "three"], ["t"])], 2, id="sum"),
        pytest.param([helper.make_node("Sub", ["r_dq", "three"], ["t"])], 1, id="difference"),
        pytest.param([helper.make_node("Mul", ["r_dq", "three"], ["t"])], 2, id="product"),
    ],
)
def test_what_comes_from_activations_is_followed(nodes: list[NodeProto], expected: int) -> None:
    every = [RELU, *_pair("r"), *nodes, *_pair("t"), helper.make_node("Identity", ["t_dq"], ["y"])]
    signed, unsigned, changed = _answers(_graph(every, step=0.05), _photo())
    assert changed == expected
    assert np.abs(signed - unsigned).max() < 2 * 0.05
    assert unsigned.std() > 0.1


def test_a_tensor_that_leaves_as_int8_keeps_its_type() -> None:
    every = [RELU, *_pair("r"), helper.make_node("Identity", ["r_q"], ["y"])]
    signed, unsigned, changed = _answers(_graph(every, {"y": TensorProto.INT8}), _photo())
    assert changed == 0
    assert unsigned.dtype == np.int8
    np.testing.assert_array_equal(unsigned, signed)


def test_a_tensor_that_something_else_scales_back_stays_as_it_is() -> None:
    quantized, _ = _pair("r")
    other = [helper.make_node("Cast", ["r_q"], ["c"], to=TensorProto.FLOAT), helper.make_node("Relu", ["c"], ["y"])]
    signed, unsigned, changed = _answers(_graph([RELU, quantized, *other]), _photo())
    assert changed == 0
    np.testing.assert_array_equal(unsigned, signed)


@pytest.mark.parametrize("constant", ["zero", "step"])
def test_other_quantization_stays_as_it_is(constant: str) -> None:
    other = {"zero": np.full((), -3, np.int8), "step": np.linspace(0.02, 0.05, CHANNELS, dtype=np.float32)}[constant]
    model = onnx.load_from_string(_graph([RELU, *_pair("r"), helper.make_node("Identity", ["r_dq"], ["y"])]))
    for tensor in model.graph.initializer:
        if tensor.name == constant:
            tensor.CopyFrom(numpy_helper.from_array(other, constant))
        elif constant == "step" and tensor.name == "zero":
            tensor.CopyFrom(numpy_helper.from_array(np.zeros(CHANNELS, np.int8), "zero"))
    signed, unsigned, changed = _answers(model.SerializeToString(), _photo())
    assert changed == 0
    np.testing.assert_array_equal(unsigned, signed)


def test_floats_have_nothing_to_change() -> None:
    model = ov.Core().read_model(_graph([RELU, helper.make_node("Identity", ["r"], ["y"])]))
    assert with_unsigned_activations(model) == 0


@pytest.mark.skipif("int8" not in capabilities(), reason="sums of INT8 products overflow on this CPU")
def test_the_served_segmentation_answers_as_its_unsigned_twin_in_onnx_runtime() -> None:
    rows, columns = np.mgrid[-1:1:320j, -1:1:320j]
    disk = 2 * (np.hypot(rows, columns / 0.7) < 0.6) - 1 + 0.3 * rows
    photo = {"IMAGE": np.stack([disk, -disk, 0.5 * disk]).astype(np.float32)[None]}
    model = ov.Core().read_model(U2NETP)
    model.reshape({tensor: [1, *list(tensor.partial_shape)[1:]] for tensor in model.inputs})
    signed = onnx.load(U2NETP)
    pairs = sum(node.op_type == "QuantizeLinear" for node in signed.graph.node)
    assert with_unsigned_activations(model) > 0.9 * pairs
    compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    found = np.array(compiled(photo)[0])

    def expected(graph: onnx.ModelProto) -> Any:
        session = onnxruntime.InferenceSession(graph.SerializeToString(), providers=["CPUExecutionProvider"])
        return session.run(None, photo)[0]

    twin = np.abs(found - expected(unsigned(signed, photo))).mean()
    assert found.std() > 0.3
    assert twin < 0.0005
    assert twin < np.abs(found - expected(signed)).mean()
