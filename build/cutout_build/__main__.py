"""The command line: `python -m cutout_build --help` lists its commands."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from cutout_build.bring_certificate import certified
from cutout_build.build_engine import Built, build_engine
from cutout_build.catalogue import Catalogue, Engine
from cutout_build.certificate import commands as certificate_command
from cutout_build.errors import BuildError
from cutout_build.gpu import commands as gpu_commands
from cutout_build.perf_analyzer import perf_analyzer
from cutout_build.photos import PHOTOS, copy_photos, demo_folder, photos
from cutout_build.quantize import commands as quantize_commands


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 when it is done, 1 with one sentence on stderr when it cannot be."""
    options = _parser().parse_args(arguments)
    try:
        if options.command == "models":
            _models(options)
        elif options.command == "engines":
            order = [engine.name for engine in Catalogue.load(options.catalogue).engines]
            certificate_command.run(_chosen(options), order, options)
        elif options.command == "gate":
            return gpu_commands.run_gate(options)
        elif options.command == "plans":
            gpu_commands.run_plans(options)
        elif options.command == "quantize":
            quantize_commands.run_quantize(options)
        elif options.command == "sensitivity":
            quantize_commands.run_sensitivity(options)
        elif options.command == "perf-analyzer":
            print(perf_analyzer(_progress))
        else:
            _photos(options.out, folder_only=options.folder)
    except BuildError as error:
        print(f"cutout_build: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cutout_build",
        description="From published weights to checked engines.",
        epilog="Programs of their own: python -m cutout_build.matting, .quality, .quality.calibration, .bench.",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    models = commands.add_parser("models", help="build the engines of the catalogue into the cache")
    models.add_argument("--force", action="store_true", help="build again even if nothing has changed")
    models.add_argument("--quiet", action="store_true", help="say nothing of engines that are up to date")
    gpu_commands.add(commands)
    engines = commands.add_parser("engines", help="build and certify every precision; writes engines.json and .md")
    certificate_command.add(engines)
    for command in (models, engines):
        command.add_argument("--engine", metavar="NAME", help="this one instead of every model's default")
        command.add_argument("--high", action="store_true", help="the engine of quality high too (280 MB to download)")
        command.add_argument("--catalogue", type=Path, metavar="FILE", help="another catalogue than the one that came")
    quantize_commands.add(commands)
    commands.add_parser("perf-analyzer", help="fetch NVIDIA's perf_analyzer and print where it is")
    pictures = commands.add_parser("photos", help="fetch the photographs of the demo and the tests")
    where = pictures.add_mutually_exclusive_group()
    where.add_argument("--out", type=Path, metavar="DIR", help="copy those with a subject into this folder")
    where.add_argument(
        "--folder", action="store_true", help="print the folder of the demo's three photos, nothing else"
    )
    return parser


def _chosen(options: argparse.Namespace) -> tuple[Engine, ...]:
    entries = Catalogue.load(options.catalogue)
    return (entries.engine(options.engine),) if options.engine else entries.defaults(high=options.high)


def _models(options: argparse.Namespace) -> None:
    for engine in _chosen(options):
        began = time.monotonic()
        built = build_engine(engine, force=options.force)
        if options.quiet and not built.fresh:
            continue
        for line in _summary(built, time.monotonic() - began):
            print(line)


def _summary(built: Built, seconds: float) -> list[str]:
    manifest, report = built.manifest, built.report
    if not built.fresh:
        return [f"{manifest.engine} for {manifest.model} is up to date: {built.folder}"]
    graph, license_ = report["graph"], report["license"]
    size = (built.folder / "model.onnx").stat().st_size / 1e6
    return [
        f"{manifest.engine} for {manifest.model}, built in {seconds:.1f} s: {built.folder}",
        f"  graph      {size:.1f} MB, {graph['parameters'] / 1e6:.2f} M parameters, {graph['gmac']:.1f} GMAC an image, "
        f"opset {graph['opset']}",
        *(_comparison(comparison) for comparison in report["comparisons"]),
        f"  certified  {', '.join(certified(built.folder))}",
        f"  licence    {license_['spdx']}; {license_['attribution']}",
        f"  source     {manifest.source}",
    ]


def _comparison(entry: dict[str, Any]) -> str:
    what = f"  {entry['precision']:<10} {entry['runtime']}, {entry['batch']} a run: "
    worst_max = max(photo["max"] for photo in entry["photos"])
    worst_mean = max(photo["mean"] for photo in entry["photos"])
    worst_iou = min(photo["iou"] for photo in entry["photos"])
    return what + (
        f"max |Δ| {worst_max:.1e}, mean {worst_mean:.1e}, IoU {worst_iou:.3f} of the worst of "
        f"{len(entry['photos'])} photos"
    )


def _photos(folder: Path | None, *, folder_only: bool) -> None:
    if folder_only:
        print(demo_folder(_progress))
        return
    if folder is None:
        paths = dict(zip(PHOTOS, photos(_progress), strict=True))
    else:
        names = [entry.name for entry in PHOTOS.values() if entry.subject]
        paths = dict(zip(names, copy_photos(names, folder, _progress), strict=True))
    for name, path in paths.items():
        print(f"{path}  {PHOTOS[name].license}")


def _progress(line: str) -> None:
    """On stderr, so that a script reads only paths on stdout."""
    print(line, file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
