"""Sweeps with NVIDIA's perf_analyzer, through the gateway: each model, both protocols, several concurrencies.

`python -m cutout_loadtest.perf_analyzer --program FILE --photos DIR`. The ensembles get real photos, the engines random
tensors of perf_analyzer's own.
"""

from __future__ import annotations

import argparse
import base64
import csv
import io
import json
import os
import platform
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from cutout_core.contract.tensors import ENSEMBLES
from cutout_loadtest.service import running_service

#: What is measured where nothing else is asked for: the default qualities and their engines.
MODELS = ("cutout_fast", "cutout", "segmentation", "matting")
PROTOCOLS = ("http", "grpc")
CONCURRENCIES = (1, 2, 4)

_PHOTO_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp")


@dataclass(frozen=True, slots=True)
class Row:
    """One measurement. Times in milliseconds; server_*: Triton's own counters, averages a request."""

    model: str
    protocol: str
    concurrency: int
    requests: int
    infer_per_s: float
    p50_ms: float
    p95_ms: float
    p99_ms: float
    server_queue_ms: float
    server_compute_ms: float


class PerfAnalyzerError(RuntimeError):
    """The program failed; the message ends with what it said."""


def input_data(photos: Iterable[bytes]) -> str:
    """perf_analyzer's JSON of requests with an encoded photo each.

    It sends base64 content as the tensor's raw bytes, so the length before the BYTES element is part of it.
    """
    requests = [
        {
            "IMAGE": {"b64": base64.b64encode(struct.pack("<I", len(photo)) + photo).decode()},
            "OPTIONS": [""],
        }
        for photo in photos
    ]
    return json.dumps({"data": requests})


def measure(
    program: Path, address: str, protocol: str, model: str, concurrency: int, requests: int, data: Path | None
) -> Row:
    """Runs the program once. address: host:port of the protocol. Raises PerfAnalyzerError."""
    with tempfile.TemporaryDirectory(prefix="cutout-perf-") as folder:
        report = Path(folder) / "report.csv"
        command = [str(program), "-m", model, "-i", protocol, "-u", address, "--request-count", str(requests)]
        command += ["--concurrency-range", str(concurrency), "-f", str(report)]
        if data is not None:
            command += ["--input-data", str(data)]
        env = {**os.environ, "LD_LIBRARY_PATH": str(program.parent)}
        done = subprocess.run(command, capture_output=True, text=True, env=env, cwd=folder)
        if done.returncode != 0 or not report.exists():
            raise PerfAnalyzerError(f"perf_analyzer failed on {model}: {(done.stdout + done.stderr)[-1500:]}")
        return parse(report.read_text(), model, protocol, requests)


def parse(text: str, model: str, protocol: str, requests: int) -> Row:
    """The first line of perf_analyzer's CSV (times in microseconds) as a row."""
    entry = next(csv.DictReader(io.StringIO(text)))

    def milliseconds(*names: str) -> float:
        return sum(float(entry.get(name) or 0) for name in names) / 1000

    return Row(
        model=model,
        protocol=protocol,
        concurrency=int(entry["Concurrency"]),
        requests=requests,
        infer_per_s=float(entry["Inferences/Second"]),
        p50_ms=milliseconds("p50 latency"),
        p95_ms=milliseconds("p95 latency"),
        p99_ms=milliseconds("p99 latency"),
        server_queue_ms=milliseconds("Server Queue"),
        server_compute_ms=milliseconds("Server Compute Input", "Server Compute Infer", "Server Compute Output"),
    )


def write_report(rows: Sequence[Row], folder: Path) -> None:
    """Writes perf_analyzer.json and perf_analyzer.md."""
    folder.mkdir(parents=True, exist_ok=True)
    machine = {"cores": os.cpu_count(), "python": platform.python_version(), "load_average": os.getloadavg()[0]}
    document = {"machine": machine, "rows": [asdict(row) for row in rows]}
    (folder / "perf_analyzer.json").write_text(json.dumps(document, indent=1) + "\n")
    lines = [
        "# perf_analyzer through the gateway",
        "",
        f"NVIDIA's perf_analyzer over KServe v2, closed loop, on {machine['cores']} cores; load average at the "
        f"end {machine['load_average']:.1f}. Ensembles with real photos, engines with random tensors; no gateway "
        "batching on this path, Triton's only. Queue and compute are Triton's counters, averages a request.",
        "",
        "| model | protocol | callers | infer/s | p50 ms | p95 ms | p99 ms | Triton queue ms | Triton compute ms |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        lines.append(
            f"| `{row.model}` | {row.protocol} | {row.concurrency} | {row.infer_per_s:.2f} | {row.p50_ms:.0f} | "
            f"{row.p95_ms:.0f} | {row.p99_ms:.0f} | {row.server_queue_ms:.0f} | {row.server_compute_ms:.0f} |"
        )
    (folder / "perf_analyzer.md").write_text("\n".join(lines) + "\n")


def _sweep(options: argparse.Namespace, addresses: dict[str, str]) -> list[Row]:
    photos = sorted(path for path in options.photos.iterdir() if path.suffix.lower() in _PHOTO_SUFFIXES)
    if not photos:
        raise PerfAnalyzerError(f"{options.photos} holds no photo.")
    rows = []
    with tempfile.TemporaryDirectory(prefix="cutout-perf-") as folder:
        data = Path(folder) / "photos.json"
        data.write_text(input_data(path.read_bytes() for path in photos))
        for model in options.models:
            for concurrency in options.concurrency:
                for protocol in PROTOCOLS:  # innermost, so that a change of the machine's pace hits both alike
                    given = data if model in ENSEMBLES.values() else None
                    requests = options.requests * concurrency
                    address = addresses[protocol]
                    row = measure(options.program, address, protocol, model, concurrency, requests, given)
                    print(
                        f"{model} {protocol} x{concurrency}: {row.infer_per_s:.2f} infer/s, p50 {row.p50_ms:.0f} ms, "
                        f"p99 {row.p99_ms:.0f} ms",
                        flush=True,
                    )
                    rows.append(row)
    return rows


def main(arguments: list[str] | None = None) -> int:
    """Runs the sweep. Returns 0, or 1 with one sentence where the service or the program failed."""
    parser = argparse.ArgumentParser(prog="python -m cutout_loadtest.perf_analyzer", description=__doc__)
    parser.add_argument("--program", type=Path, required=True, help="perf_analyzer, its libraries beside it")
    parser.add_argument("--photos", type=Path, required=True, help="folder of photos for the ensembles")
    parser.add_argument("--server", metavar="HTTP,GRPC", help="host:port,host:port of a gateway (default: start one)")
    parser.add_argument("--models", nargs="+", default=MODELS, help="default: %(default)s")
    parser.add_argument("--concurrency", nargs="+", type=int, default=CONCURRENCIES, help="default: %(default)s")
    parser.add_argument("--requests", type=int, default=20, help="requests for each caller (default %(default)s)")
    parser.add_argument("--out", type=Path, default=Path("reports"), help="folder of the report")
    options = parser.parse_args(arguments)
    try:
        if options.server:
            rows = _sweep(options, dict(zip(PROTOCOLS, options.server.split(","), strict=True)))
        else:
            with running_service() as service:
                addresses = (service.http.partition("//")[2], service.grpc.partition("//")[2])
                rows = _sweep(options, dict(zip(PROTOCOLS, addresses, strict=True)))
    except (OSError, RuntimeError, ValueError) as error:
        print(f"perf_analyzer: {error}", file=sys.stderr)
        return 1
    write_report(rows, options.out)
    print(f"wrote {options.out / 'perf_analyzer.json'} and {options.out / 'perf_analyzer.md'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
