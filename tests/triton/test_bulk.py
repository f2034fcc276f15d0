"""A small bulk job through the gateway's stream and the real models."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from cutout_client.cli import main
from tests.integration.gateway_process import running_gateway

pytestmark = [pytest.mark.triton, pytest.mark.timeout(300)]


def test_a_bulk_job_on_real_models(tmp_path: Path, small_jpeg: bytes) -> None:
    photos, out = tmp_path / "photos", tmp_path / "out"
    photos.mkdir()
    for number in range(6):
        (photos / f"{number}.jpg").write_bytes(small_jpeg)
    (photos / "bad.jpg").write_bytes(small_jpeg[:200])
    with running_gateway(tmp_path) as gateway:
        server = f"grpc://{gateway.grpc}"
        arguments = ["bulk", str(photos), "-o", str(out), "--server", server, "--output", "webp", "-q"]
        assert main(arguments) == 1
        assert main(arguments) == 1
        assert gateway.log.count(" grpc_stream ok ") == 6
    for number in range(6):
        image = Image.open(BytesIO((out / f"{number}.webp").read_bytes()))
        assert (image.format, image.mode, image.size) == ("WEBP", "RGBA", (96, 64))
    (dead,) = [json.loads(line) for line in (out / ".cutout-bulk" / "failed.ndjson").read_text().splitlines()]
    assert dead["_code"] == "truncated_image"
