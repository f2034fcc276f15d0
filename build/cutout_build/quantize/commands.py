"""The commands `quantize` and `sensitivity` of `python -m cutout_build`. PyTorch is imported when they run."""

from __future__ import annotations

import argparse
import importlib.util
import sys
from dataclasses import fields
from pathlib import Path
from typing import Any

from cutout_build.build_engine import build_engine
from cutout_build.catalogue import Catalogue
from cutout_build.errors import BuildError
from cutout_build.quantize.scales_file import SUFFIX, write_calibration
from cutout_build.quantize.settings import DistillSettings
from cutout_core.contract.engine import GRAPH_NAME
from cutout_core.contract.paths import cache_root
from cutout_core.contract.tensors import MATTING, OPTIONAL_MODELS


def add(commands: Any) -> None:
    """Adds both to the command line's sub-commands."""
    quantize = commands.add_parser("quantize", help="write the INT8 graph of an engine (needs PyTorch)")
    quantize.add_argument("--engine", metavar="NAME", required=True, help="name in the catalogue, such as u2netp")
    quantize.add_argument(
        "--out",
        type=Path,
        metavar="FILE",
        help="a graph, or with .json its scales alone; default: build/weights/ENGINE_int8.onnx",
    )
    quantize.add_argument("--folder", type=Path, metavar="DIR", help="of the run, which goes on where it was left")
    quantize.add_argument(
        "--keep", nargs="+", default=[], metavar="LAYER", help="convolutions that stay in float, by their nodes' names"
    )
    quantize.add_argument(
        "--low-rank",
        nargs="+",
        default=[],
        metavar="LAYER=RANK[,RANK]",
        help="convolutions that read a projection to fewer channels, a rank for each tensor of their concatenation",
    )
    sensitivity = commands.add_parser(
        "sensitivity", help="measure what INT8 costs layer by layer; writes sensitivity.json and .md (needs PyTorch)"
    )
    sensitivity.add_argument("--engine", metavar="NAME", help="this one instead of those that are always served")
    sensitivity.add_argument("--reports", type=Path, metavar="DIR", default=Path("reports"), help="default: reports")
    for command in (quantize, sensitivity):
        command.add_argument("--catalogue", type=Path, metavar="FILE", help="another catalogue than the one that came")
    for field in fields(DistillSettings):
        name = "--" + field.name.replace("_", "-")
        quantize.add_argument(name, type=type(field.default), default=field.default, metavar="N")


def run_quantize(options: argparse.Namespace) -> None:
    """Writes one engine's INT8 graph. Raises BuildError."""
    engine = Catalogue.load(options.catalogue).engine(options.engine)
    _need_torch(options.command)
    import onnx

    from cutout_build.quantize.distill import distill, training_samples
    from cutout_build.quantize.layers import outputs_of
    from cutout_build.quantize.low_rank import parse_ranks
    from cutout_build.quantize.measure_scales import measure_scales
    from cutout_build.quantize.refit import PICTURES, refitted

    settings = DistillSettings(**{field.name: getattr(options, field.name) for field in fields(DistillSettings)})
    built = build_engine(engine)
    model = onnx.load(built.folder / GRAPH_NAME)
    folder = options.folder or cache_root() / "quantize" / engine.name
    out = options.out or Path("build/weights") / f"{engine.name}_int8.onnx"
    try:
        ranks = parse_ranks(options.low_rank)
        if ranks and out.suffix == SUFFIX:
            raise ValueError("a file of scales has no place for projections: write the graph")
        if ranks:
            model = refitted(model, ranks, list(training_samples(built.manifest, settings, PICTURES)))
        if out.suffix == SUFFIX:
            write_calibration(out, measure_scales(model, built.manifest, engine.sources_sha256, settings, options.keep))
        else:
            quantized = distill(model, built.manifest, folder, settings, outputs_of(model, options.keep))
            kept = f", in float: {' '.join(options.keep)}" if options.keep else ""
            kept += f", low rank: {' '.join(options.low_rank)}" if ranks else ""
            quantized.doc_string = (
                f"INT8 (Q/DQ) of {engine.name}, graph {built.manifest.graph_sha256}, {settings}{kept}"
            )
            onnx.checker.check_model(quantized, full_check=True)
            onnx.save(quantized, out)
    except (ValueError, NotImplementedError) as error:
        raise BuildError(str(error)) from error
    print(f"{out}: {out.stat().st_size / 1e6:.2f} MB")


def run_sensitivity(options: argparse.Namespace) -> None:
    """Measures the engines' layers and puts the figures into the report. Raises BuildError."""
    catalogue = Catalogue.load(options.catalogue)
    always = [engine for engine in catalogue.defaults() if engine.model not in OPTIONAL_MODELS]
    chosen = [catalogue.engine(options.engine)] if options.engine else always
    _need_torch(options.command)
    import onnx

    from cutout_build.quantize.held_out import trial
    from cutout_build.quantize.sensitivity import sensitivity
    from cutout_build.quantize.sensitivity_report import entry, write_report

    for engine in chosen:
        built = build_engine(engine)
        if "int8" not in built.manifest.graphs and not options.engine:
            continue
        print(f"layers of {engine.name} ...", file=sys.stderr)
        in_band = engine.model == MATTING.name
        try:
            made = trial(onnx.load(built.folder / GRAPH_NAME), built.manifest, DistillSettings())
            found = sensitivity(made.model, made.scales, made.pictures, in_band=in_band)
        except (ValueError, NotImplementedError) as error:
            raise BuildError(str(error)) from error
        row = entry(built.manifest, found, len(made.pictures), in_band=in_band)
        print(f"written: {write_report(options.reports, row)}")


def _need_torch(command: str) -> None:
    if importlib.util.find_spec("torch") is None:
        raise BuildError(
            f"`{command}` needs PyTorch, which is not installed: `make {command}` installs it first, and so does "
            "`pip install --group train` in a checkout."
        )
