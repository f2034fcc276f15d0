"""`make demo`: starts the service, cuts real photos out over HTTP and gRPC, and shows the result.

Needs the photos as arguments: files or folders.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from contact_sheet import SheetRow, write_contact_sheet
from PIL import Image, ImageOps
from pillow_heif import register_heif_opener

from cutout_client import Client, CutoutClientError, CutoutResult
from cutout_loadtest import run_closed_loop

_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".heic", ".heif"}
_STAGES = ("queue", "preprocess", "engines", "postprocess", "total")
_START_TIMEOUT_S = 120.0
_LOAD_REQUESTS = 12


@dataclass(frozen=True, slots=True)
class Done:
    """A photo that was cut out, and the file with the result."""

    file: Path
    written: Path
    result: CutoutResult


@contextlib.contextmanager
def running_service() -> Iterator[tuple[str, str]]:
    """Starts the gateway and its embedded Triton on free loopback ports; yields the HTTP and the gRPC URL."""
    with tempfile.TemporaryDirectory(prefix="cutout-demo-") as folder:
        ready_file, log_file = Path(folder) / "ready.json", Path(folder) / "service.log"
        command = [sys.executable, "-m", "cutout_gateway", "--http-port", "0", "--grpc-port", "0"]
        with log_file.open("wb") as log:
            process = subprocess.Popen([*command, "--ready-file", str(ready_file)], stdout=log, stderr=log)
        try:
            end = time.monotonic() + _START_TIMEOUT_S
            while not ready_file.exists():
                if process.poll() is not None or time.monotonic() > end:
                    raise SystemExit(f"the service did not start; its log:\n{log_file.read_text()}")
                time.sleep(0.05)
            ports = json.loads(ready_file.read_text())
            yield f"http://127.0.0.1:{ports['http_port']}", f"grpc://127.0.0.1:{ports['grpc_port']}"
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(30)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def find_photos(paths: Sequence[Path]) -> list[Path]:
    """The image files among `paths` and directly in the folders among them. Raises SystemExit without any."""
    photos: list[Path] = []
    for path in paths:
        if path.is_dir():
            photos += sorted(entry for entry in path.iterdir() if entry.suffix.lower() in _SUFFIXES)
        elif path.is_file():
            photos.append(path)
        else:
            raise SystemExit(f"there is no file or folder {path}")
    if not photos:
        raise SystemExit(f"no image files in {', '.join(map(str, paths))}")
    return photos


def output_paths(photos: Sequence[Path], out: Path) -> list[Path]:
    """A file for each photo's cut-out: `photo.png`, or `photo.jpg.png` where two photos share a stem."""
    stems = Counter(photo.stem for photo in photos)
    stems["contact_sheet"] += 1
    return [out / (f"{photo.name}.png" if stems[photo.stem] > 1 else f"{photo.stem}.png") for photo in photos]


def cut_out(photos: Sequence[Path], urls: dict[str, str], out: Path) -> tuple[list[Done], int]:
    """Sends every photo over both protocols, writes the cut-outs; returns those done and the number of failures."""
    rows: list[Done] = []
    failures = 0
    with contextlib.ExitStack() as stack:
        clients = {name: stack.enter_context(Client(url, timeout=60)) for name, url in urls.items()}
        print(f"\n{'photo':<22}{'over':<6}{'size':>12}" + "".join(f"{stage:>13}" for stage in _STAGES) + "   (ms)")
        for photo, path in zip(photos, output_paths(photos, out), strict=True):
            data = photo.read_bytes()
            results: dict[str, CutoutResult] = {}
            for name, client in clients.items():
                try:
                    results[name] = client.remove_background(data)
                except CutoutClientError as error:
                    print(f"{photo.name:<22}{name:<6}failed: {error}")
                    failures += 1
                    continue
                print_result(photo.name, name, results[name])
            if results:
                result = next(iter(results.values()))
                result.save(path)
                rows.append(Done(photo, path, result))
    return rows, failures


def print_result(photo: str, protocol: str, result: CutoutResult) -> None:
    """One line of the table."""
    stages = "".join(f"{result.timings_ms.get(stage, 0.0):>13.1f}" for stage in _STAGES)
    warnings = f"   warnings: {', '.join(result.warnings)}" if result.warnings else ""
    print(f"{photo:<22}{protocol:<6}{f'{result.width}x{result.height}':>12}{stages}{warnings}")


def sheet_row(photo: Path, result: CutoutResult) -> SheetRow:
    """The photo as a viewer shows it, transparent parts on white, beside its cut-out."""
    original = ImageOps.exif_transpose(Image.open(photo))
    if original.mode.startswith("I"):  # 16 bits a pixel, which Pillow would clip
        original = original.convert("I").point(lambda value: value / 257).convert("L")
    shown = Image.new("RGBA", original.size, "white")
    shown.alpha_composite(original.convert("RGBA"))
    return SheetRow(photo.name, shown, Image.open(io.BytesIO(result.data)))


def main() -> int:
    """Runs the demo. Returns 0, or 1 where a photo failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("photos", nargs="+", type=Path)
    parser.add_argument("--out", type=Path, default=Path("out"))
    options = parser.parse_args()
    register_heif_opener()
    photos = find_photos([path.expanduser() for path in options.photos])
    options.out.mkdir(parents=True, exist_ok=True)
    sheet = options.out / "contact_sheet.png"
    print("starting Triton and the gateway ...", flush=True)
    started = time.monotonic()
    with running_service() as (http_url, grpc_url):
        print(f"ready after {time.monotonic() - started:.1f} s", flush=True)
        rows, failures = cut_out(photos, {"http": http_url, "grpc": grpc_url}, options.out)
        if rows:
            write_contact_sheet([sheet_row(row.file, row.result) for row in rows], sheet)
            images = [row.file.read_bytes() for row in rows]
            requests = max(_LOAD_REQUESTS, len(images))
            print(f"\nmeasuring the rate: {requests} requests by 4 callers ...", flush=True)
            report = run_closed_loop(http_url, images, requests=requests, concurrency=4)
            print(f"rate over HTTP, 4 callers: {report}")
        print("stopping the service ...", flush=True)
    if rows:
        print()
        for row in rows:
            print(f"cut-out:       {row.written.resolve()}")
        print(f"contact sheet: {sheet.resolve()}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
