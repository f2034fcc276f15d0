"""The check on a GPU with a fake one: rows, bounds, and what is written where there is none."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from cutout_build.catalogue import Catalogue
from cutout_build.certificate.cases import Case
from cutout_build.errors import BuildError
from cutout_build.gpu.cuda import Cuda
from cutout_build.gpu.graphs import Graph, file_sha256
from cutout_build.gpu.peaks import Work, roofline_share
from cutout_build.gpu.plan import Machine
from tests.gpu import accuracy
from tests.gpu import check as gpu_check
from tests.gpu.accuracy import Yardstick, bounds_of
from tests.unit.build.gpu.fake_tensorrt import FakeDriver, fake_tensorrt

TRUTH = np.array([[1, 0], [1, 0]], np.float32)
#: More than one run takes; the fake plan answers each with its mean.
CASES = [
    Case(f"case {i}", b"", {"IMAGE": np.full((1, 2, 2), i / 20, np.float32)}, f"{i}", TRUTH if i % 2 else None)
    for i in range(20)
]
REFERENCE = np.stack([case.inputs["IMAGE"] for case in CASES])
FIGURES = {"mae": 0.003, "gt_band_loss": 0.0, "gt_iou_loss": 0.0}


@pytest.fixture
def catalogue(engine: Path, tmp_path: Path) -> Path:
    """One whose `net` has bounds for the graphs of the fixture `engine`."""
    path = tmp_path / "models.toml"
    sha256 = hashlib.sha256(b"").hexdigest()
    path.write_text(f"""
        [net]
        model = "segmentation"
        input_size = 32
        mean = [0.5, 0.5, 0.5]
        std = [0.5, 0.5, 0.5]
        divide_by_max = false
        opset = 17
        batch = [1, 8, 16]
        source = {{ file = "none", sha256 = "{sha256}" }}
        license = {{ spdx = "CC0-1.0", attribution = "a test", homepage = "none" }}
        check = {{ fp32_max = 1e-3, fp32_mean = 1e-4 }}
        [net.precisions]
        fp16 = {{ mae = 0.004, gt_loss = 0.02, keep = [] }}
        int8 = {{ mae = 0.01, gt_loss = 0.01, source = {{ file = "none", sha256 = "{sha256}" }} }}
        """)
    return path


@pytest.fixture
def driver(engine: Path, catalogue: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    driver, trt = FakeDriver(), fake_tensorrt()
    (engine / "check.json").write_text(json.dumps({"graph": {"gmac": 8.1}}))
    monkeypatch.setattr(gpu_check, "find_machine", lambda: Machine(Cuda(driver).gpu, trt.__version__, trt))
    monkeypatch.setattr(gpu_check, "Cuda", lambda: Cuda(driver))
    monkeypatch.setattr(accuracy, "certificate_cases", lambda engine, count: CASES)
    monkeypatch.setattr(accuracy, "answers", lambda *_: REFERENCE)
    return driver


def run(tmp_path: Path, *rows: dict[str, Any]) -> tuple[int, dict[str, Any]]:
    out, certificate, catalogue = (tmp_path / name for name in ("gpu.json", "engines.json", "models.toml"))
    certificate.write_text(json.dumps(rows))
    arguments = ["--out", out, "--certificate", certificate, "--catalogue", catalogue]
    status = gpu_check.main([str(argument) for argument in arguments])
    return status, json.loads(out.read_text())


def about(engine: Path, **figures: object) -> dict[str, Any]:
    """A certificate's row of the graph in int8."""
    names = {"engine": "net", "precision": "int8", "runtime": "openvino", "arithmetic": "int8", "certified": True}
    return names | {"graph_sha256": file_sha256(engine / "model_int8.onnx"), "pictures": 20} | FIGURES | figures


def test_every_graph_is_run_measured_and_compared_with_its_certificate(
    driver: FakeDriver, engine: Path, tmp_path: Path
) -> None:
    rows = (
        about(engine),
        about(engine, gt_band_loss=-0.04),
        about(engine, **dict.fromkeys(FIGURES)),
        about(engine, graph_sha256="0" * 64),
    )
    status, report = run(tmp_path, *rows)
    assert (status, report["status"], report["gpu"]["name"]) == (0, "measured", "Tesla T4")
    fp32, int8 = report["plans"]
    assert (fp32["mae"], fp32["iou"], fp32["gt_band_loss"]) == (pytest.approx(0, abs=1e-6), 1.0, 0.0)
    assert (fp32["passed"], fp32["pictures"], fp32["certificate"]) == (True, 20, [])
    assert (fp32["bounds"], int8["bounds"]) == ({"mae": 0.004, "gt_loss": 0.02}, {"mae": 0.01, "gt_loss": 0.01})
    assert fp32["reason"].startswith("Within every bound")
    same, other, none = int8["certificate"]
    assert same["differences"] == pytest.approx({"mae": -0.003, "gt_band_loss": 0.0, "gt_iou_loss": 0.0}, abs=1e-6)
    assert (same["agrees"], other["agrees"], none["agrees"]) == (True, False, None)
    assert [(entry["batch"], entry["median_ms"], entry["rate"]) for entry in fp32["latencies"]] == [
        (1, 2.0, 500.0),
        (8, 2.0, 4000.0),
        (16, 2.0, 8000.0),
    ]
    # 8 rows of 8.1 GMAC are 129.6 GFLOP: 16 ms at 8.1 TFLOP/s.
    assert fp32["latencies"][1]["roofline_share"] == pytest.approx(8.0, rel=0.01)
    assert driver.launches == 2 * 3 * 200
    assert driver.memory == {}


def test_a_plan_that_misses_the_catalogues_bounds_fails(
    driver: FakeDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accuracy, "answers", lambda *_: REFERENCE - 0.006)
    status, report = run(tmp_path)
    assert status == 1
    fp32, int8 = report["plans"]
    assert (fp32["mae"], int8["mae"]) == (pytest.approx(0.006), pytest.approx(0.006))
    assert not fp32["passed"]
    assert "Misses its bound: mean |Δ| from fp32 0.00600 (bound 0.004)" in fp32["reason"]


def test_a_plan_that_does_not_load_is_a_row_and_the_others_are_measured(
    driver: FakeDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = gpu_check.find_machine()
    real = here.module.Runtime.deserialize_cuda_engine
    here.module.Runtime.deserialize_cuda_engine = lambda self, plan: None if b"Quantize" in plan else real(self, plan)
    monkeypatch.setattr(gpu_check, "find_machine", lambda: here)
    status, report = run(tmp_path)
    assert status == 1
    fp32, int8 = report["plans"]
    assert fp32["passed"]
    assert not int8["passed"]
    assert "TensorRT cannot load the plan" in int8["reason"]


def test_an_engine_of_another_catalogue_is_timed_and_said_to_have_no_bounds(
    driver: FakeDriver, catalogue: Path, tmp_path: Path
) -> None:
    catalogue.write_text(catalogue.read_text().replace("[net", "[other"))
    status, report = run(tmp_path)
    assert status == 1
    for row in report["plans"]:
        assert len(row["latencies"]) == 3
        assert not row["passed"]
        assert "There is no engine 'net' in the catalogue" in row["reason"]


def test_the_alpha_of_matting_is_judged_in_the_edge_band(engine: Path, catalogue: Path) -> None:
    reference = np.zeros((2, 1, 64, 64), np.float32)
    reference[..., 32:] = 1
    found = reference.copy()
    found[..., :8] = 0.1  # far from the edge
    cases = [Case(f"{i}", b"", {"IMAGE": np.zeros(1)}, f"{i}", reference[i, 0]) for i in range(2)]
    stick = Yardstick(replace(Catalogue.load(catalogue).engine("net"), model="matting"), cases, reference)
    graph = Graph("net", "matting", "int8", engine / "model_int8.onnx", "")
    row = stick.judge(graph, SimpleNamespace(run=lambda inputs: found), 16, [])  # type: ignore[arg-type]
    assert (row["passed"], row["mae"]) == (True, 0.0)


def test_without_a_bound_there_is_no_verdict(catalogue: Path) -> None:
    catalogue.write_text("\n".join(line for line in catalogue.read_text().splitlines() if "fp16" not in line))
    with pytest.raises(BuildError, match="no bound for fp32: The catalogue gives 'net' no precision 'fp16'"):
        bounds_of(Catalogue.load(catalogue).engine("net"), "fp32")


def test_without_a_gpu_the_report_says_not_run_and_keeps_a_measurement(
    driver: FakeDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing() -> Machine:
        raise BuildError("There is no NVIDIA GPU on this machine.")

    monkeypatch.setattr(gpu_check, "find_machine", missing)
    status, report = run(tmp_path)
    assert (status, report["status"], report["reason"]) == (2, "not run", "There is no NVIDIA GPU on this machine.")
    (tmp_path / "gpu.json").write_text(json.dumps({"status": "measured"}))
    assert run(tmp_path) == (2, {"status": "measured"})


def test_the_roofline_takes_the_slower_of_arithmetic_and_memory() -> None:
    arithmetic = roofline_share("NVIDIA L4", "fp16", Work(60.5, 0, 0), 1, 0.002)
    memory = roofline_share("NVIDIA L4", "fp16", Work(0.0, 300_000_000, 0), 1, 0.002)
    assert (arithmetic, memory) == (pytest.approx(0.5), pytest.approx(0.5))
    assert roofline_share("some other GPU", "fp16", Work(1.0, 1, 1), 1, 1.0) is None
