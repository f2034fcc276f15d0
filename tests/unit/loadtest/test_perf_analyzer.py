"""The report of a perf_analyzer run, and the photos that it is given."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from cutout_loadtest.perf_analyzer import PerfAnalyzerError, input_data, measure, parse, write_report
from tests.integration.fake_triton import unpack

#: As perf_analyzer 2.51 writes it for an ensemble: a table of the whole, then one of each composing model.
CSV = """Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,\
Server Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency
2,4.5,144,689729,1490,10,374298,692,4,940194,957644,957745,957846

Composing models:
matting, version: 1
"""


def test_the_csv_as_a_row(tmp_path: Path) -> None:
    row = parse(CSV, "cutout", "grpc", 6)
    assert (row.model, row.protocol, row.concurrency, row.requests) == ("cutout", "grpc", 2, 6)
    assert (row.infer_per_s, row.p50_ms, row.p99_ms) == (4.5, 940.194, 957.846)
    assert (row.server_queue_ms, row.server_compute_ms) == (1.49, 375.0)
    write_report([row], tmp_path)
    assert json.loads((tmp_path / "perf_analyzer.json").read_text())["rows"][0]["p95_ms"] == 957.745
    assert "| `cutout` | grpc | 2 | 4.50 | 940 |" in (tmp_path / "perf_analyzer.md").read_text()


def test_photos_travel_as_bytes_elements() -> None:
    (first, second) = json.loads(input_data([b"one", b"\xff\xd8"]))["data"]
    assert unpack(base64.b64decode(first["IMAGE"]["b64"])) == [b"one"]
    assert unpack(base64.b64decode(second["IMAGE"]["b64"])) == [b"\xff\xd8"]


def test_a_program_that_fails_is_quoted(tmp_path: Path) -> None:
    program = tmp_path / "perf_analyzer"
    program.write_text("#!/bin/sh\necho no such server >&2\nexit 3\n")
    program.chmod(0o755)
    with pytest.raises(PerfAnalyzerError, match="no such server"):
        measure(program, "127.0.0.1:1", "http", "cutout", 1, 1, None)
