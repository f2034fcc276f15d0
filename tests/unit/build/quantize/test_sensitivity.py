"""The measurement layer by layer, of a small graph in OpenVINO: it finds the layer that INT8 ruins, and can go on."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

from cutout_build.quantize import sensitivity as sensitivity_module
from cutout_build.quantize.plan import quant_plan
from cutout_build.quantize.qdq import write_qdq
from cutout_build.quantize.sensitivity import Sensitivity, partial_graph, sensitivity
from cutout_build.quantize.sensitivity_report import entry, write_report
from cutout_build.quantize.unit_scale import unit_scales
from cutout_core.contract.engine import EngineManifest
from tests.unit.build.quantize.test_qdq import run, scales
from tests.unit.build.quantize.unsigned_graph import unsigned


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(4).normal(0, 1, (2, 3, 16, 16)).astype(np.float32)


@pytest.fixture
def fragile(model: ModelProto) -> ModelProto:
    """One weight of each output of `last` is so large that INT8 leaves nothing of the others. What it reads is cut
    off by a bias far below, so that in floats it never counts."""
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    weights = numpy_helper.to_array(values["last.weight"]).copy()
    weights[:, 8, 1, 1] = 300
    values["last.weight"].CopyFrom(numpy_helper.from_array(weights, "last.weight"))
    bias = numpy_helper.to_array(values["second.bias"]).copy()
    bias[0] = -1000
    values["second.bias"].CopyFrom(numpy_helper.from_array(bias, "second.bias"))
    return model


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTOUT_CACHE", str(tmp_path / "cache"))


def test_only_the_costliest_are_left_out_one_by_one(
    model: ModelProto, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sensitivity_module, "LEFT_OUT", 2)
    assert [cost.mae_without is None for cost in measured(model, image).layers] == [False, False, True, True]


def measured(model: ModelProto, image: np.ndarray) -> Sensitivity:
    return sensitivity(model, scales(model, image), [{"IMAGE": row} for row in image], in_band=False)


def test_the_layer_that_int8_ruins_comes_first_and_keeping_it_helps(fragile: ModelProto, image: np.ndarray) -> None:
    found = measured(fragile, image)
    names = [cost.layer.name for cost in found.layers]
    assert names[0] == "last.out"
    assert set(names) == {"second.out", "deep.out", "last.out", "logits"}
    everything, worst, *_ = found.kept
    assert (everything.layers, worst.layers) == ((), ("last.out",))
    assert found.layers[0].mae_alone > 5 * found.layers[1].mae_alone
    assert worst.mae < 0.3 * everything.mae
    assert worst.mae == found.layers[0].mae_without  # the same graph
    assert worst.bytes > everything.bytes
    assert min(kept.ms for kept in found.kept) > 0


def test_the_figure_is_the_distance_from_fp32(model: ModelProto, image: np.ndarray) -> None:
    found = measured(model, image)
    whole = quant_plan(model)
    quantized = partial_graph(model, whole, scales(model, image), ())
    served = unsigned(quantized, {"IMAGE": image})
    expected = np.abs(run(served, image)[0] - run(model, image)[0]).mean()
    assert found.kept[0].mae == pytest.approx(expected, rel=0.1)  # two runtimes


def test_a_graph_with_one_layer_in_int8_has_the_scales_of_the_whole(model: ModelProto, image: np.ndarray) -> None:
    whole, values = quant_plan(model), scales(model, image)
    scaled, units = unit_scales(model, whole, values)
    assert partial_graph(model, whole, values, ()) == write_qdq(scaled, whole, units)
    alone = partial_graph(model, whole, values, [name for name in whole.convs if name != "second.out"])
    narrow = [tensor.name for tensor in alone.graph.initializer if tensor.name.endswith("_int8") and tensor.dims]
    assert narrow == ["second.weight_int8"]
    (scale,) = (tensor for tensor in alone.graph.initializer if tensor.name.endswith("_scale"))
    assert float(numpy_helper.to_array(scale)) == pytest.approx(values[whole.groups["first"]])


def test_an_interrupted_run_goes_on_where_it_was(
    model: ModelProto, image: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, runs = sensitivity_module._Trial._losses, []

    def losses(trial: Any, graph: ModelProto) -> Any:
        if len(runs) == 3:
            raise KeyboardInterrupt
        runs.append(graph)
        return real(trial, graph)

    monkeypatch.setattr(sensitivity_module._Trial, "_losses", losses)
    with pytest.raises(KeyboardInterrupt):
        measured(model, image)
    runs[:] = []
    with pytest.raises(KeyboardInterrupt):
        measured(model, image)
    runs[:] = []
    monkeypatch.setattr(
        sensitivity_module._Trial, "_losses", lambda trial, graph: runs.append(graph) or real(trial, graph)
    )
    first = measured(model, image)
    # Four layers alone and left out, the whole, and two in float together: ten graphs, six of them measured before.
    assert len(runs) == 4
    assert measured(model, image).layers == first.layers
    assert len(runs) == 4


def test_the_report_keeps_the_other_engines(model: ModelProto, image: np.ndarray, tmp_path: Path) -> None:
    found = measured(model, image)
    manifests = [
        EngineManifest(
            "segmentation", name, 16, (0, 0, 0), (1, 1, 1), False, "CC0-1.0", "a test", "0", {"fp32": "ab" * 32}
        )
        for name in ("one", "two", "one")
    ]
    for pictures, manifest in enumerate(manifests):
        page = write_report(tmp_path, entry(manifest, found, pictures, in_band=False))
    stored = json.loads((tmp_path / "sensitivity.json").read_text("utf-8"))
    assert [(row["engine"], row["pictures"]) for row in stored] == [("one", 2), ("two", 1)]
    assert stored[0]["layers"][0]["mae_alone"] == found.layers[0].mae_alone
    assert stored[0]["kept"][1]["layers"] == list(found.kept[1].layers)
    text = page.read_text("utf-8")
    assert text.count("| and the worst layer |") == 2
    assert f"| `{found.layers[0].layer.name}` | 3×3, " in text
