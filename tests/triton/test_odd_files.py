"""Hundreds of broken and odd files one after another: a cut-out or a clear refusal, and the service stays as it was.

In quality `fast`: what is odd is the file, which all qualities read by the same code.
"""

from __future__ import annotations

import io
from collections import Counter
from pathlib import Path

import httpx
import psutil
import pytest
from PIL import Image

from cutout_core.contract import ERROR_TABLE, ErrorCode
from tests.integration.gateway_process import running_gateway
from tests.triton.odd_files import odd_files, viewer_opens

pytestmark = [pytest.mark.triton, pytest.mark.slow, pytest.mark.timeout(600)]

#: What a refusal of a file may be; everything else would blame the server or the caller's options.
REFUSALS = {
    ErrorCode.EMPTY_BODY,
    ErrorCode.NOT_AN_IMAGE,
    ErrorCode.UNSUPPORTED_FORMAT,
    ErrorCode.TRUNCATED_IMAGE,
    ErrorCode.CORRUPT_IMAGE,
    ErrorCode.TOO_MANY_PIXELS,
}

#: Growth over the second half of the run that counts as flat, bytes over all processes.
FLAT = 150 * 1024 * 1024


def memory(pid: int) -> int:
    process = psutil.Process(pid)
    return sum(p.memory_info().rss for p in [process, *process.children(recursive=True)])


def test_odd_files(tmp_path: Path) -> None:
    with running_gateway(tmp_path) as gateway:
        outcomes: Counter[str] = Counter()
        wrong: list[str] = []
        sizes: list[int] = []
        with httpx.Client(base_url=gateway.http, timeout=60) as client:
            for file in odd_files():
                response = client.post("/v1/cutouts", content=file.data, params={"quality": "fast"})
                sizes.append(memory(gateway.process.pid))
                if response.status_code == 200:
                    outcomes["cut out"] += 1
                    Image.open(io.BytesIO(response.content)).load()
                    continue
                code = ErrorCode(response.json()["error"]["code"])
                outcomes[code.value] += 1
                if code not in REFUSALS or response.status_code != ERROR_TABLE[code].http_status:
                    wrong.append(f"{file.name}: {response.status_code} {response.text}")
                elif viewer_opens(file.data):
                    wrong.append(f"{file.name}: a viewer opens it, but: {response.text}")
            restarts = client.get("/metrics").text
        assert gateway.stop() == 0
    print(f"\n{sum(outcomes.values())} files: {dict(outcomes)}")
    assert not wrong, "\n".join(wrong)
    assert sum(outcomes.values()) >= 200
    assert outcomes["cut out"] >= 100
    assert "cutout_child_restarts_total 0.0" in restarts
    half = len(sizes) // 2
    growth = max(sizes[-20:]) - max(sizes[half - 20 : half])
    assert growth < FLAT, f"memory grew by {growth / 1e6:.0f} MB over the second half"
