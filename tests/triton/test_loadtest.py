"""A short load on the real service that the command itself starts, and stops."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from cutout_build.photos import demo_folder
from cutout_loadtest.__main__ import main

pytestmark = [pytest.mark.triton, pytest.mark.timeout(300)]


def test_a_short_open_loop_over_the_real_service(tmp_path: Path) -> None:
    command = ["soak", "--photos", str(demo_folder()), "--mix", "small", "--quality", "fast", "--grpc"]
    flags = ["--capacity", "2.5", "--seconds", "4", "--slo", "errors<=0", "--out", str(tmp_path)]
    assert main([*command, *flags]) == 0
    report = json.loads((tmp_path / "loadtest_soak.json").read_text())
    assert report["summary"]["errors"] == 0
    assert report["phases"][0]["ok"] == report["phases"][0]["sent"] > 0
    stages = report["stages_ms"]
    assert (
        0
        < stages["preprocess"]["mean"] + stages["engines"]["mean"]
        < stages["total"]["mean"]
        < stages["client"]["mean"]
    )
    server = report["server"]
    assert server["processes"] >= 5  # gateway, guardian, Triton, a stub for each model
    assert server["core_ms_per_image"] > 10
    assert server["pss_mb"]["peak"] > 100
