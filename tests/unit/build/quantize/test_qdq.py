"""Where a graph is quantized, and that the written Q/DQ graph is still the same function, within INT8's steps."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import ModelProto, helper, numpy_helper

from cutout_build.quantize.plan import quant_plan
from cutout_build.quantize.qdq import QMAX, weight_scales, write_qdq


def run(model: ModelProto, image: np.ndarray, *, also: tuple[str, ...] = ()) -> list[np.ndarray]:
    probed = ModelProto()
    probed.CopyFrom(model)
    probed.graph.output.extend(helper.make_empty_tensor_value_info(name) for name in also)
    session = onnxruntime.InferenceSession(probed.SerializeToString(), providers=["CPUExecutionProvider"])
    return list(session.run(None, {"IMAGE": image}))


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(4).normal(0, 1, (2, 3, 16, 16)).astype(np.float32)


def scales(model: ModelProto, image: np.ndarray) -> dict[str, float]:
    """The largest value of each scale's tensors / 127."""
    plan = quant_plan(model)
    names = tuple(plan.groups)
    found: dict[str, float] = {}
    for name, value in zip(names, run(model, image, also=names)[len(model.graph.output) :], strict=True):
        found[plan.groups[name]] = max(found.get(plan.groups[name], 0.0), float(np.abs(value).max()) / QMAX)
    return found


def test_the_photo_stays_as_it_is_and_joined_tensors_share_a_scale(model: ModelProto) -> None:
    plan = quant_plan(model)
    assert set(plan.convs) == {"second.out", "deep.out", "last.out", "logits"}
    assert set(plan.groups) == {"first", "second", "pooled", "deep", "up", "joined", "last"}
    assert len({plan.groups[name] for name in ("second", "pooled", "up", "joined", "deep")}) == 1
    assert plan.groups["first"] != plan.groups["second"]


def test_a_kept_convolution_is_left_out(model: ModelProto) -> None:
    assert set(quant_plan(model, keep=("deep.out", "last.out", "logits")).convs) == {"second.out"}


def test_the_graph_is_valid_and_computes_nearly_the_same(model: ModelProto, image: np.ndarray) -> None:
    right = scales(model, image)
    before, errors = run(model, image)[0], []
    for factor in (1, 8):  # eight times too coarse: the error must show that the scales are what is used
        quantized = write_qdq(model, quant_plan(model), {name: factor * value for name, value in right.items()})
        onnx.checker.check_model(quantized, full_check=True)
        errors.append(np.abs(before - run(quantized, image)[0]).mean())
    assert before.std() > 0.2
    assert 0 < errors[0] < 0.03 * before.std()
    assert errors[1] > 4 * errors[0]


def test_every_quantized_convolution_reads_int8_and_biases_stay_float(model: ModelProto, image: np.ndarray) -> None:
    plan = quant_plan(model)
    graph = write_qdq(model, plan, scales(model, image)).graph
    made_by = {name: node for node in graph.node for name in node.output}
    initial = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    for node in (node for node in graph.node if node.output[0] in plan.convs):
        assert [made_by[name].op_type for name in node.input[:2]] == ["DequantizeLinear"] * 2
        assert initial[node.input[2]].dtype == np.float32
        narrow, by_channel, zeros = (initial[name] for name in made_by[node.input[1]].input)
        assert narrow.dtype == np.int8
        assert by_channel.shape == (len(narrow),)
        assert not zeros.any()
        assert np.abs(narrow).reshape(len(narrow), -1).max(1).tolist() == [QMAX] * len(narrow)
    assert not any(name.endswith(".weight") and initial[name].dtype == np.float32 and f"{name}_int8" in initial
                   for name in initial)  # fmt: skip
    points = [initial[node.input[2]] for node in graph.node if node.op_type == "QuantizeLinear"]
    assert len(points) == len(plan.groups)
    assert not np.any(points)


def test_weight_scales_are_by_channel_and_never_zero() -> None:
    weights = np.zeros((2, 1, 1, 2), np.float32)
    weights[1] = [[[-2.54, 1.0]]]
    assert weight_scales(weights) == pytest.approx([1e-12, 0.02])
