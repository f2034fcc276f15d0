"""A precision that failed its certificate, through the whole service: refused, or served with a warning everywhere."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import httpx
import pytest

from cutout_build.photos import photo
from cutout_core.contract.certificate import CERTIFICATE_NAME
from cutout_core.contract.paths import engines_root
from tests.integration.gateway_process import start_gateway

pytestmark = [pytest.mark.triton, pytest.mark.slow, pytest.mark.timeout(300)]


@pytest.fixture
def failing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> bytes:
    """A photo, and a cache with certificates by which fp16 of `segmentation` failed and that of `matting` passed."""
    for model in ("segmentation", "matting"):
        folder = tmp_path / "engines" / model
        shutil.copytree(engines_root() / model, folder)
        manifest = json.loads((folder / "model.json").read_text())
        rows = [
            {
                "engine": manifest["engine"],
                "precision": precision,
                "runtime": "openvino",
                "arithmetic": "a test",
                "hint": "f32",
                "graph_sha256": manifest["graphs"][precision],
                "certified": precision == "fp32" or model == "matting",
                "mae": 0.25,
                "speedup_vs_fp32": 1.0,
                "reason": "Misses its bound: a test.",
            }
            for precision in ("fp32", "fp16")
        ]
        (folder / CERTIFICATE_NAME).write_text(json.dumps(rows))
    file = photo("coffee").read_bytes()
    monkeypatch.setenv("CUTOUT_CACHE", str(tmp_path))
    return file


def test_a_forced_precision_warns_every_caller_and_shows_in_info_and_metrics(failing: bytes, tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    gateway = start_gateway(tmp_path / "run", "--precision", "fp16", "--precision-force", ready_timeout_s=150)
    try:
        for quality in ("fast", "standard"):
            answer = httpx.post(
                f"{gateway.http}/v1/cutouts", files={"image": failing}, data={"quality": quality}, timeout=60
            )
            assert answer.status_code == 200
            assert "uncertified_precision" in answer.headers["x-cutout-warnings"].split(",")
        engines = httpx.get(f"{gateway.http}/info").json()["engines"]
        metrics = httpx.get(f"{gateway.http}/metrics").text
    finally:
        gateway.stop()
    told = engines["segmentation"]
    assert (told["precision"], told["certified"], told["certificate_mae"]) == ("fp16", "false", "0.250000")
    assert told["certificate"] == "Misses its bound: a test."
    assert engines["matting"]["certified"] == "true"
    sample = (
        f'cutout_engine_info{{certified="false",engine="u2netp",graph="{told["graph_sha256"][:12]}",'
        'model="segmentation",precision="fp16"} 1.0'
    )
    assert sample in metrics
    assert 'cutout_engine_certificate_mae{model="segmentation"} 0.25' in metrics
    assert "served in fp16 without a certificate, because it was forced" in gateway.log


@pytest.mark.usefixtures("failing")
def test_without_force_the_start_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "run").mkdir()
    with pytest.raises(RuntimeError, match="u2netp is not certified in fp16: Misses its bound: a test"):
        start_gateway(tmp_path / "run", "--precision", "fp16", ready_timeout_s=60)
