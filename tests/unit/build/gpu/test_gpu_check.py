"""The check on a GPU with a fake one: rows, bounds, and what is written where there is none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from cutout_build.errors import BuildError
from cutout_build.gpu.cuda import Cuda
from cutout_build.gpu.peaks import Work, roofline_share
from cutout_build.gpu.plan import Machine
from tests.gpu import check as gpu_check
from tests.unit.build.gpu.fake_tensorrt import FakeDriver, fake_tensorrt

REFERENCE = np.full((2, 1, 2, 2), 0.75, np.float32)


@pytest.fixture
def driver(engine: Path, monkeypatch: pytest.MonkeyPatch) -> FakeDriver:
    driver, trt = FakeDriver(), fake_tensorrt()
    (engine / "check.json").write_text(json.dumps({"graph": {"gmac": 8.1}}))
    monkeypatch.setattr(gpu_check, "find_machine", lambda: Machine(Cuda(driver).gpu, trt.__version__, trt))
    monkeypatch.setattr(gpu_check, "Cuda", lambda: Cuda(driver))
    monkeypatch.setattr(gpu_check, "photo_inputs", lambda graph: {"IMAGE": REFERENCE})
    monkeypatch.setattr(gpu_check, "on_cpu", lambda graph, inputs: REFERENCE)
    return driver


def run(tmp_path: Path) -> tuple[int, dict]:
    out, certificate = tmp_path / "gpu.json", tmp_path / "engines.json"
    certificate.write_text(json.dumps([{"engine": "net", "precision": "int8", "runtime": "openvino", "mae": 0.003}]))
    status = gpu_check.main(["--out", str(out), "--certificate", str(certificate)])
    return status, json.loads(out.read_text())


def test_every_graph_is_run_measured_and_put_beside_its_certificate(driver: FakeDriver, tmp_path: Path) -> None:
    status, report = run(tmp_path)
    assert (status, report["status"], report["gpu"]["name"]) == (0, "measured", "Tesla T4")
    fp32, int8 = report["plans"]
    assert (fp32["mae"], fp32["iou"], fp32["passed"], fp32["certificate"]) == (0.0, 1.0, True, [])
    assert int8["certificate"][0]["mae"] == 0.003
    assert [(entry["batch"], entry["median_ms"], entry["rate"]) for entry in fp32["latencies"]] == [
        (1, 2.0, 500.0),
        (8, 2.0, 4000.0),
        (16, 2.0, 8000.0),
    ]
    # 8 rows of 8.1 GMAC are 129.6 GFLOP: 16 ms at 8.1 TFLOP/s.
    assert fp32["latencies"][1]["roofline_share"] == pytest.approx(8.0, rel=0.01)
    assert driver.launches == 2 * 3 * 200
    assert driver.memory == {}


def test_a_plan_that_is_far_from_the_cpu_fails(
    driver: FakeDriver, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gpu_check, "on_cpu", lambda graph, inputs: REFERENCE - 0.3)
    status, report = run(tmp_path)
    assert status == 1
    assert report["plans"][0]["mae"] == pytest.approx(0.3)
    assert report["plans"][0]["iou"] == 0.0
    assert not report["plans"][0]["passed"]


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
