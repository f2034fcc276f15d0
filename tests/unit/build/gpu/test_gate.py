"""The gate's verdicts, with the builder's answers made up; the real builder is in tests/quality/test_gate.py."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import onnx
import pytest

from cutout_build.__main__ import main
from cutout_build.errors import BuildError
from cutout_build.gpu import gate as gate_module
from cutout_build.gpu.gate import gate
from cutout_build.gpu.graphs import built_graphs
from tests.unit.build.gpu.quantized import quantized_graph

FINE: dict[str, Any] = {"layers": 5, "parse_error": "", "build_errors": {}, "plan_bytes": 9, "seconds": 0.1}
UNBUILT = FINE | {"build_errors": {"89": "no kernel"}, "plan_bytes": 0}
UNPARSED = FINE | {"parse_error": "NonZero 'n': not supported"}


@pytest.fixture
def answers(engine: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, Any]]:
    """What the builder answers by precision; `asked` counts its graphs."""
    table: dict[str, Any] = {"fp32": FINE, "int8": FINE, "asked": 0}

    def ask(graphs: Any, batch: tuple[int, int, int]) -> list[dict[str, Any]]:
        assert batch == (1, 4, 16)
        table["asked"] += len(graphs)
        return [table[graph.precision] for graph in graphs]

    monkeypatch.setattr(gate_module, "_ask", ask)
    return table


def statuses() -> dict[str, str]:
    return {verdict.precision: verdict.status for verdict in gate(built_graphs(), say=lambda line: None)}


def test_what_builds_passes_and_is_not_asked_again(answers: dict[str, Any]) -> None:
    assert statuses() == {"fp32": "passed", "int8": "passed"}
    assert statuses() == {"fp32": "passed", "int8": "passed"}
    assert answers["asked"] == 2


def test_a_quantized_graph_that_this_builder_alone_refuses_is_shown_as_refused(answers: dict[str, Any]) -> None:
    answers["int8"] = UNBUILT
    verdicts = {verdict.precision: verdict for verdict in gate(built_graphs())}
    assert verdicts["int8"].status == "refused"
    assert verdicts["int8"].reasons == ("not built for SM 89: no kernel",)


def test_a_refusal_is_a_failure_where_the_plain_graph_does_not_build_either(answers: dict[str, Any]) -> None:
    answers["fp32"] = answers["int8"] = UNBUILT
    assert statuses() == {"fp32": "failed", "int8": "failed"}


def test_what_is_not_parsed_fails_with_the_nodes_name(answers: dict[str, Any]) -> None:
    answers["int8"] = UNPARSED
    (verdict,) = (verdict for verdict in gate(built_graphs()) if verdict.precision == "int8")
    assert verdict.status == "failed"
    assert "NonZero 'n'" in verdict.reasons[0]


def test_wrong_placement_fails_although_it_builds(answers: dict[str, Any], engine: Path) -> None:
    model = quantized_graph()
    model.graph.node[2].attribute[0].i = 1
    onnx.save(model, engine / "model_int8.onnx")
    assert statuses()["int8"] == "failed"


def test_int8_without_qdq_fails(answers: dict[str, Any], engine: Path) -> None:
    (engine / "model_int8.onnx").write_bytes((engine / "model.onnx").read_bytes())
    assert statuses()["int8"] == "failed"


def test_the_command_writes_the_report_and_its_status_tells(
    answers: dict[str, Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["gate", "--out", str(tmp_path / "out")]) == 0
    assert "net int8: passed" in capsys.readouterr().out
    report = json.loads((tmp_path / "out" / "gate.json").read_text())
    assert [(row["status"], row["batch"]) for row in report["graphs"]] == [("passed", [1, 4, 16])] * 2
    assert "| net | int8 | 1, 4, 16 | passed | 5 | 0.0 | 1 of 1 |" in (tmp_path / "out" / "gate.md").read_text()
    answers["fp32"] = UNPARSED
    assert main(["gate", "--force"]) == 1


def test_no_engine_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CUTOUT_CACHE", str(tmp_path))
    with pytest.raises(BuildError, match="make models"):
        built_graphs()


@pytest.mark.parametrize(("model", "command"), [("segmentation", "models"), ("segmentation_high", "models HIGH=1")])
def test_an_engine_of_an_earlier_version_is_refused_with_the_command(engine: Path, model: str, command: str) -> None:
    engine.rename(engine.with_name(model))
    manifest = engine.with_name(model) / "model.json"
    data = json.loads(manifest.read_text())
    manifest.write_text(json.dumps({key: value for key, value in data.items() if key != "graphs"}))
    with pytest.raises(BuildError, match=rf"The engine of {model} is damaged, .*: run `make {command}`"):
        built_graphs()


def test_a_missing_graph_is_told(engine: Path) -> None:
    (engine / "model_int8.onnx").unlink()
    assert [graph.precision for graph in built_graphs(precisions=["fp32"])] == ["fp32"]
    with pytest.raises(BuildError, match="run `make models`"):
        built_graphs()


def test_graphs_with_other_rows_are_asked_apart(answers: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, tuple[int, int, int]]] = []

    def ask(graphs: Any, batch: tuple[int, int, int]) -> list[dict[str, Any]]:
        asked.extend((graph.precision, batch) for graph in graphs)
        return [FINE | {"layers": batch[1]} for _ in graphs]

    monkeypatch.setattr(gate_module, "_ask", ask)
    fp32, int8 = built_graphs()
    verdicts = gate([replace(fp32, batch=(1, 2, 16)), int8], say=lambda line: None)
    assert asked == [("fp32", (1, 2, 16)), ("int8", (1, 4, 16))]
    assert [(verdict.layers, verdict.batch) for verdict in verdicts] == [(2, (1, 2, 16)), (4, (1, 4, 16))]
