"""A file of scales: the same INT8 graph as from the measured scales, and refused where it belongs to something else."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto

from cutout_build.errors import BuildError
from cutout_build.quantize.gains import with_gains
from cutout_build.quantize.plan import quant_plan
from cutout_build.quantize.scales_file import Calibration, read_calibration, write_calibration
from cutout_build.quantize.unit_scale import equalized
from cutout_build.quantize.write import int8_graph
from tests.unit.build.quantize.test_gains import own_scales
from tests.unit.build.quantize.test_qdq import run, scales

WEIGHTS = "ab" * 32


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(5).uniform(-0.5, 0.5, (2, 3, 16, 16)).astype(np.float32)


@pytest.fixture
def measured(evidence: ModelProto, image: np.ndarray) -> tuple[Calibration, ModelProto]:
    """What a run would find for `evidence`, and the graph that it would write."""
    gained = with_gains(evidence)
    plan = quant_plan(gained)
    alone = own_scales(gained, plan, image)
    ready = equalized(gained, plan, alone)
    found = {name: float(scale) for name, scale in scales(ready, image).items()}
    return Calibration(WEIGHTS, "a test", (), alone, found), int8_graph(ready, plan, found)


def test_the_file_gives_the_graph_that_was_measured(
    evidence: ModelProto, measured: tuple[Calibration, ModelProto], image: np.ndarray, tmp_path: Path
) -> None:
    calibration, graph = measured
    path = tmp_path / "net_int8.json"
    write_calibration(path, calibration)
    made = read_calibration(path, WEIGHTS).quantize(evidence)
    assert made.SerializeToString(deterministic=True) == graph.SerializeToString(deterministic=True)
    assert {"QuantizeLinear", "DequantizeLinear"} <= {node.op_type for node in made.graph.node}
    assert np.abs(run(made, image)[0] - run(evidence, image)[0]).mean() < 0.02


def test_what_is_kept_stays_in_float(model: ModelProto, image: np.ndarray) -> None:
    names = [node.name or node.output[0] for node in model.graph.node if node.output[0] == "deep.out"]
    gained = with_gains(model, ("deep.out",))
    plan = quant_plan(gained, ("deep.out",))
    found = dict.fromkeys(plan.scales, 0.01)
    alone = dict.fromkeys(own_scales(gained, plan, image), 0.01)
    made = Calibration(WEIGHTS, "a test", tuple(names), alone, found).quantize(model)
    stored = {tensor.name for tensor in made.graph.initializer}
    assert {"deep.weight", "second.weight_int8"} <= stored


@pytest.mark.parametrize("table", ["scales", "alone"])
def test_the_scales_of_another_graph_are_refused(
    evidence: ModelProto, measured: tuple[Calibration, ModelProto], table: str
) -> None:
    calibration, _ = measured
    values = dict(getattr(calibration, table))
    values["other"] = values.pop(sorted(values)[0])
    with pytest.raises(ValueError, match=r"are not the graph's: missing \['\w.*'\], unknown \['other'\]"):
        replace(calibration, **{table: values}).quantize(evidence)
    with pytest.raises(ValueError, match="no convolution 'nowhere'"):
        replace(calibration, keep=("nowhere",)).quantize(evidence)


def test_files_that_do_not_belong_are_refused(measured: tuple[Calibration, ModelProto], tmp_path: Path) -> None:
    path = tmp_path / "net_int8.json"
    write_calibration(path, measured[0])
    with pytest.raises(BuildError, match="made with the weights abababababab; these are 000000000000"):
        read_calibration(path, "0" * 64)
    entries = json.loads(path.read_text())
    for text in ("{", "[]", "{}", json.dumps(entries | {"more": 1})):
        path.write_text(text)
        with pytest.raises(BuildError, match="holds no scales as `quantize` writes them"):
            read_calibration(path, WEIGHTS)
