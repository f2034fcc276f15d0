"""The real gate on the built engines: TensorRT-RTX's builder, without a GPU. The first run installs it (270 MB)."""

from __future__ import annotations

import platform
from pathlib import Path

import pytest
from onnx import ModelProto

from cutout_build.gpu.gate import Verdict, gate
from cutout_build.gpu.graphs import Graph, built_graphs, file_sha256
from tests.unit.build.gpu.quantized import quantized_graph

# Elsewhere there are no wheels. Where they cannot be installed the test fails: a gate that is skipped lets all through.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(1200),
    pytest.mark.skipif((platform.system(), platform.machine()) != ("Linux", "x86_64"), reason="no wheels"),
]


def test_every_graph_of_the_default_engines_goes_through_tensorrts_parser_and_builder() -> None:
    verdicts = gate(built_graphs(("segmentation", "matting")))
    assert {verdict.engine for verdict in verdicts} >= {"u2netp", "cutout-matting"}
    for verdict in verdicts:
        assert verdict.status != "failed", verdict
        assert verdict.plan_bytes or verdict.status == "refused"


def judge(tmp_path: Path, model: ModelProto) -> Verdict:
    path = tmp_path / "model_int8.onnx"
    path.write_bytes(model.SerializeToString())
    (verdict,) = gate([Graph("net", "segmentation", "int8", path, file_sha256(path))], force=True)
    return verdict


def test_a_small_quantized_graph_builds_and_an_unknown_node_is_named(tmp_path: Path) -> None:
    model = quantized_graph()
    assert judge(tmp_path, model).status == "passed"
    model.graph.node[4].op_type = "Multinomial"
    model.graph.node[4].name = "dice"
    verdict = judge(tmp_path, model)
    assert verdict.status == "failed"
    assert "Multinomial 'dice'" in " ".join(verdict.reasons)
