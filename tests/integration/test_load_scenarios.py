"""The open loop against a real gateway before a fake Triton: what it offers, sees, and concludes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cutout_loadtest.__main__ import main
from tests.integration.fake_triton import FakeTriton
from tests.integration.gateway_process import GatewayProcess


def run(photos: Path, scenario: str, url: str, *flags: str) -> tuple[int, dict]:
    out = photos.parent / "reports"
    command = [scenario, "--photos", str(photos), "--url", url, "--mix", "small", "--out", str(out), *flags]
    status = main(command)
    name = f"loadtest_{scenario}_constant" if "constant" in flags else f"loadtest_{scenario}"
    assert (out / f"{name}.md").read_text().startswith(f"# Load test: {scenario}")
    return status, json.loads((out / f"{name}.json").read_text())


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_a_ramp_tells_its_curve_and_the_servers_own_times(
    gateway: GatewayProcess, triton: FakeTriton, photos: Path, protocol: str
) -> None:
    triton.delay_s = 0.02
    url = gateway.http if protocol == "http" else f"grpc://{gateway.grpc}"
    status, report = run(photos, "ramp", url, "--capacity", "20", "--seconds", "0.4", "--arrivals", "constant")
    assert status == 0
    assert report["protocol"] == protocol
    assert [phase["sent"] for phase in report["phases"]] == [2, 4, 5, 6, 7, 8, 8, 9, 10]
    assert all(phase["latency_ms"]["p50"] >= 20 for phase in report["phases"] if phase["ok"])
    assert report["stages_ms"]["engines"]["p50"] == 2.0
    assert report["stages_ms"]["total"]["p50"] <= report["stages_ms"]["client"]["p50"]
    assert report["knee"]["offered"] in [phase["offered"] for phase in report["phases"]]
    assert report["server"]["pss_mb"]["peak"] > 10
    assert 0 < report["generator"]["share_of_cpu"] < 1
    assert (photos.parent / "reports" / "loadtest_ramp_constant_curve.svg").read_text().startswith("<svg")


def test_a_burst_meets_refusals_and_the_exit_code_tells_a_missed_objective(
    gateway: GatewayProcess, triton: FakeTriton, photos: Path
) -> None:
    triton.delay_s = 0.4  # at most four in flight: 10 images a second
    flags = ("--capacity", "12", "--seconds", "2", "--slo", "errors<=0", "--slo", "refusal_p95_ms<=5000")
    status, report = run(photos, "burst", gateway.http, *flags)
    assert status == 1
    burst = report["phases"][1]
    assert burst["errors"]["overloaded"] > 5
    assert burst["refusal_ms"]["p95"] < 400  # refused at once, not after a wait for the work in flight
    assert [verdict["met"] for verdict in report["slo"]] == [False, True]
    assert report["summary"]["goodput"] == burst["goodput"]


def test_latency_counts_from_the_intended_start(gateway: GatewayProcess, triton: FakeTriton, photos: Path) -> None:
    """A server that stalls once is seen by every request that should have been answered meanwhile."""
    triton.delay_s = 0.5
    status, report = run(
        photos,
        "soak",
        gateway.http,
        "--capacity",
        "10",
        "--seconds",
        "0.5",
        "--arrivals",
        "constant",
        "--slo",
        "p50_ms>=500",
    )
    assert status == 0, report["summary"]
    assert report["summary"]["p99_ms"] >= 700  # those that came while the first batch was away waited for it too


def test_of_a_server_elsewhere_no_process_is_measured(
    gateway: GatewayProcess, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that happens to listen on the same port here is not the server."""
    monkeypatch.setattr("cutout_loadtest.service.is_here", lambda host: False)
    flags = ("--capacity", "10", "--seconds", "0.5", "--slo", "peak_pss_mb<=100000")
    status, report = run(photos, "soak", gateway.http, *flags)
    assert set(report["server"].values()) == {None}
    assert status == 1  # what was not measured is not met
    page = (photos.parent / "reports" / "loadtest_soak.md").read_text()
    assert "- Server: CPU and memory were not measured" in page


@pytest.mark.parametrize("url", ["http://127.0.0.1:1", "https://127.0.0.1:1", "127.0.0.1:1"])
def test_grpc_to_another_address_is_the_addresss_to_say(
    photos: Path, url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as refused:
        main(["ramp", "--photos", str(photos), "--mix", "small", "--grpc", "--url", url])
    assert refused.value.code == 2
    assert "with --url, give grpc://host:port instead" in capsys.readouterr().err
    assert main(["ramp", "--photos", str(photos), "--mix", "small", "--grpc", "--url", "grpc://127.0.0.1:1"]) == 2
    assert "answers nothing well" in capsys.readouterr().err


def test_a_server_that_answers_nothing_well_is_told(photos: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["ramp", "--photos", str(photos), "--url", "http://127.0.0.1:1", "--mix", "small"]) == 2
    assert "answers nothing well: {'connection_failed'" in capsys.readouterr().err
