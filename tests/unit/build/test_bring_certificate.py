"""Which rows of a report come to a built engine."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from cutout_build import bring_certificate as bring_module
from cutout_build.bring_certificate import bring_certificate
from cutout_build.build_engine import build_engine
from cutout_build.catalogue import Engine
from cutout_core.contract.certificate import PrecisionError, choose
from tests.unit.build.test_build_engine import catalogue
from tests.unit.build.test_certify import certified, engine

__all__ = ["catalogue", "engine"]

pytestmark = pytest.mark.slow


def test_rows_of_another_graph_do_not_come_along(engine: Engine, tmp_path: Path) -> None:
    built = build_engine(engine, say=lambda line: None)
    rows = certified(engine, built, tmp_path)
    report = tmp_path / "engines.json"
    report.write_text(json.dumps(rows))
    assert {row.precision for row in bring_certificate(built.manifest, built.folder, built.report, report)} == {
        "fp32",
        "bf16",
        "fp16",
        "int8",
    }
    changed = replace(built.manifest, graphs=built.manifest.graphs | {"int8": "0" * 64})
    kept = bring_certificate(changed, built.folder, built.report, report)
    assert {row.precision for row in kept} == {"fp32", "bf16", "fp16"}
    report.write_text("[1]")
    kept = bring_certificate(built.manifest, built.folder, built.report, report)
    assert {row.precision for row in kept} == {"fp32", "bf16", "fp16"}, "what is in the folder is kept"


def test_a_second_build_brings_the_committed_certificate(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build_engine(engine, say=lambda line: None)
    report = tmp_path / "engines.json"
    report.write_text(json.dumps(certified(engine, built, tmp_path)))
    monkeypatch.setattr("cutout_build.bring_certificate.committed_report", lambda: report)
    again = build_engine(engine, say=pytest.fail)
    assert not again.fresh
    found = json.loads((built.folder / "certificate.json").read_text())
    assert {row["precision"] for row in found} == {"fp32", "bf16", "fp16", "int8"}


def test_rows_of_another_openvino_do_not_come_along(
    engine: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    built = build_engine(engine, say=lambda line: None)
    report = tmp_path / "engines.json"
    report.write_text(json.dumps(certified(engine, built, tmp_path)))

    def bring() -> set[tuple[str, str]]:
        return {
            (row.precision, row.runtime)
            for row in bring_certificate(built.manifest, built.folder, built.report, report)
        }

    assert ("int8", "openvino") in bring()
    monkeypatch.setattr(bring_module, "version", lambda name: "2031.0.0")
    assert bring() == {("fp32", "openvino"), ("fp16", "onnxruntime")}, (
        "what the build proved, and what is no OpenVINO's"
    )
    rows = bring_certificate(built.manifest, built.folder, built.report, report)
    with pytest.raises(
        PrecisionError, match="not certified in int8: its graph is in no certificate; run `make engines`"
    ):
        choose("int8", built.manifest, rows, {"fp32", "int8"})
