"""What is no activation is read through a factor, and keeps its own steps beside the activations that it joins."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from cutout_build.quantize.gains import with_gains
from cutout_build.quantize.plan import QuantPlan, quant_plan
from cutout_build.quantize.unit_scale import equalized, gained_groups
from cutout_build.quantize.write import int8_graph
from tests.unit.build.quantize.test_qdq import run, scales
from tests.unit.build.quantize.test_unit_scale import by_openvino


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(5).uniform(-0.5, 0.5, (2, 3, 16, 16)).astype(np.float32)


def own_scales(model: ModelProto, plan: QuantPlan, image: np.ndarray) -> dict[str, float]:
    """Of the activations and gains that meet a gain, by their largest values."""
    made_by = {node.output[0]: node for node in model.graph.node}
    gained = gained_groups(model, plan)
    names = [name for name in plan.groups if made_by[name].op_type in ("Relu", "Mul") and plan.groups[name] in gained]
    values = run(model, image, also=tuple(names))[len(model.graph.output) :]
    return {name: float(np.abs(value).max()) / 127 for name, value in zip(names, values, strict=True)}


def test_a_first_layer_is_quantized_through_a_factor_of_one(model: ModelProto, image: np.ndarray) -> None:
    gained = with_gains(model)
    onnx.checker.check_model(gained, full_check=True)
    assert set(quant_plan(gained).convs) == {*quant_plan(model).convs, "first.out"}
    assert np.array_equal(run(gained, image)[0], run(model, image)[0])


def test_the_factor_stands_before_what_moves_and_behind_what_joins(evidence: ModelProto) -> None:
    gained = with_gains(evidence)
    factors = [list(node.input) for node in gained.graph.node if node.op_type == "Mul"]
    assert factors == [["twice", "twice_gain"]]
    readers = [node.op_type for node in gained.graph.node if "twice_scaled" in node.input]
    assert readers == ["Reshape", "Reshape"]
    assert not any("twice" in node.input for node in gained.graph.node if node.op_type != "Mul")


def test_what_stays_in_float_and_what_mixes_heads_get_no_factor(model: ModelProto, evidence: ModelProto) -> None:
    kept = with_gains(model, keep=("first.out",))
    assert [node.op_type for node in kept.graph.node] == [node.op_type for node in model.graph.node]
    only_last = with_gains(evidence, keep=("stem.out", "head.out"))
    assert len(only_last.graph.node) == len(evidence.graph.node)


def test_evidence_keeps_its_steps_beside_wide_activations(evidence: ModelProto, image: np.ndarray) -> None:
    gained = with_gains(evidence)
    plan = quant_plan(gained)
    assert plan.groups["joined"] == plan.groups["stem"] == plan.groups["twice_scaled"]
    own = own_scales(gained, plan, image)
    assert own["stem"] > 8 * own["twice_scaled"]
    ready = equalized(gained, plan, own)
    before = run(evidence, image)[0]
    assert np.abs(run(ready, image)[0] - before).max() < 1e-5
    again = own_scales(ready, plan, image)
    assert again == pytest.approx(dict.fromkeys(again, 1.0), rel=1e-3)
    errors = []
    for graph in (gained, ready):
        int8 = int8_graph(graph, plan, scales(graph, image))
        onnx.checker.check_model(int8, full_check=True)
        errors.append(np.abs(run(int8, image)[0] - before).mean())
        assert np.abs(by_openvino(int8, image) - run(int8, image)[0]).mean() < 0.01 * before.std()
    assert before.std() > 0.05
    assert errors[1] < 0.6 * errors[0]
    assert errors[1] < 0.02 * before.std()


def test_added_activations_are_quantized_before_they_are_added(image: np.ndarray) -> None:
    from tests.unit.build.quantize.test_unit_scale import residual

    plan = quant_plan(residual())
    assert {"second", "first", "sum"} <= set(plan.groups)
    assert plan.groups["second"] != plan.groups["sum"]
