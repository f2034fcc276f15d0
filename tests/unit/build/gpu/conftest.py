"""A cache with one engine in fp32 and int8."""

from __future__ import annotations

import hashlib
from pathlib import Path

import onnx
import pytest

from cutout_core.contract.engine import EngineManifest, graph_name
from tests.unit.build.gpu.quantized import quantized_graph
from tests.unit.build.graphs import published_graph


@pytest.fixture
def engine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of the built engine `net` of `segmentation`, in a cache of its own."""
    monkeypatch.setenv("CUTOUT_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "engines" / "segmentation"
    folder.mkdir(parents=True)
    published_graph(folder / "model.onnx")
    onnx.save(quantized_graph(), folder / "model_int8.onnx")
    graphs = {
        precision: hashlib.sha256((folder / graph_name(precision)).read_bytes()).hexdigest()
        for precision in ("fp32", "bf16", "int8")
    }
    statistics = ((0.5, 0.5, 0.5), (1.0, 1.0, 1.0), False)
    EngineManifest("segmentation", "net", 2, *statistics, "CC0-1.0", "test", "0" * 64, graphs, (1, 4, 16)).write(folder)
    return folder
