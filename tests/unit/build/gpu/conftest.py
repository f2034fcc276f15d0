"""A cache with one engine in fp32 and int8."""

from __future__ import annotations

import json
from pathlib import Path

import onnx
import pytest

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
    (folder / "model.json").write_text(json.dumps({"engine": "net"}))
    return folder
