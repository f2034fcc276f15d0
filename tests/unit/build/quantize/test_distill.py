"""A small network through calibration and training, with drawn pictures; skipped where torch is not installed."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from onnx import ModelProto, numpy_helper

torch = pytest.importorskip("torch")

from cutout_build.matting.samples import Frame  # noqa: E402
from cutout_build.quantize import distill as distill_module  # noqa: E402
from cutout_build.quantize.distill import calibration_samples, distill  # noqa: E402
from cutout_build.quantize.equality import proved_difference  # noqa: E402
from cutout_build.quantize.held_out import undrawn  # noqa: E402
from cutout_build.quantize.measure_scales import measure_scales  # noqa: E402
from cutout_build.quantize.photos import Photos  # noqa: E402
from cutout_build.quantize.settings import DistillSettings  # noqa: E402
from cutout_build.quantize.torch_graph import TorchGraph, key  # noqa: E402
from cutout_core.contract.engine import EngineManifest  # noqa: E402

SETTINGS = DistillSettings(steps=1, batch=1, side=16, calibration=2)
MANIFEST = EngineManifest(
    "segmentation", "net", 16, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5), False, "CC0-1.0", "a test", "0", {"fp32": "0"}
)


@pytest.fixture
def photos(monkeypatch: pytest.MonkeyPatch) -> Photos:
    rng = np.random.default_rng(1)
    frames = []
    for _ in range(20):
        image = rng.integers(0, 256, (64, 64, 3), dtype=np.uint8)
        frames.append(Frame("stamp", image, image[..., 0], image[..., 0]))
    made = Photos(frames, [frames[0].image])
    monkeypatch.setattr(distill_module.Photos, "load", lambda count, seed, bank: made)
    return made


def sample() -> dict[str, torch.Tensor]:
    return {"IMAGE": torch.from_numpy(np.random.default_rng(4).normal(0, 1, (1, 3, 16, 16)).astype(np.float32))}


def test_the_network_in_pytorch_is_proved_equal(model: ModelProto) -> None:
    assert proved_difference(model, TorchGraph(model), sample()) < 1e-6


@pytest.mark.parametrize("wrong", [0.01, float("nan")])
def test_another_network_is_refused(model: ModelProto, wrong: float) -> None:
    graph = TorchGraph(model)
    with torch.no_grad():
        graph.weights[key("deep.weight")][0] += wrong
    with pytest.raises(ValueError, match="is not the ONNX graph: max"):
        proved_difference(model, graph, sample())


def test_a_run_says_how_equal_it_is_and_keeps_what_it_was_told(
    model: ModelProto, photos: Photos, tmp_path: Path
) -> None:
    said: list[str] = []
    graph = distill(model, MANIFEST, tmp_path, SETTINGS, ("deep.out",), said.append).graph
    assert "PyTorch against ONNX Runtime" in said[0]
    names = {tensor.name for tensor in graph.initializer}
    assert {"deep.weight", "last.weight_int8", "second.weight_int8"} <= names
    assert not {"deep.weight_int8", "last.weight"} & names


def test_a_file_of_scales_gives_the_graph_of_a_run_without_training(
    model: ModelProto, photos: Photos, tmp_path: Path
) -> None:
    settings = replace(SETTINGS, steps=0)
    kept = [node.name or node.output[0] for node in model.graph.node if node.output[0] == "deep.out"]
    graph = distill(model, MANIFEST, tmp_path, settings, ("deep.out",), lambda line: None)
    found = measure_scales(model, MANIFEST, "0" * 64, settings, kept, lambda line: None)
    made = found.quantize(model).graph
    assert made.node == graph.graph.node
    for one, other in zip(made.initializer, graph.graph.initializer, strict=True):
        assert one.name == other.name
        left, right = numpy_helper.to_array(one), numpy_helper.to_array(other)
        # a run keeps the logarithms of its scales: their last bit may differ, and with it a weight's rounding
        np.testing.assert_allclose(left, right, rtol=1e-6, atol=1 if left.dtype == np.int8 else 0)
    with pytest.raises(ValueError, match="no place for trained weights"):
        measure_scales(model, MANIFEST, "0" * 64, SETTINGS, kept, lambda line: None)


def test_another_run_is_not_gone_on_with(model: ModelProto, photos: Photos, tmp_path: Path) -> None:
    distill(model, MANIFEST, tmp_path, SETTINGS, ("deep.out",), lambda line: None)
    distill(model, MANIFEST, tmp_path, SETTINGS, ("deep.out",), lambda line: None)
    for settings, keep in ((SETTINGS, ()), (replace(SETTINGS, seed=2), ("deep.out",))):
        with pytest.raises(ValueError, match="other settings"):
            distill(model, MANIFEST, tmp_path, settings, keep, lambda line: None)


def test_a_network_that_pytorch_computes_otherwise_is_not_trained(
    model: ModelProto, photos: Photos, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(distill_module.TorchGraph.forward.__globals__["_OPERATORS"], "Relu", lambda a, x: x)
    with pytest.raises(ValueError, match="Nothing was trained"):
        distill(model, MANIFEST, tmp_path, SETTINGS, say=lambda line: None)


def test_the_pictures_to_judge_by_are_not_those_of_calibration(photos: Photos, monkeypatch: pytest.MonkeyPatch) -> None:
    settings, drawn, real = DistillSettings(calibration=6), set(), Photos.drawn
    monkeypatch.setattr(Photos, "drawn", lambda self, rng: drawn.add(place := real(self, rng)) or place)
    list(calibration_samples(photos, MANIFEST, settings))
    assert 1 < len(drawn) <= 6
    found = undrawn(photos, settings, 8)
    assert len(set(found)) == 8
    assert not drawn & set(found)
