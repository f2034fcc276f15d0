"""`python -m cutout_build.quantize ENGINE`: the engine's INT8 graph, by distillation from its own fp32 graph."""

from __future__ import annotations

import argparse
from dataclasses import fields
from pathlib import Path

import onnx

from cutout_build.build_engine import build_engine
from cutout_build.catalogue import Catalogue
from cutout_build.quantize.distill import DistillSettings, distill
from cutout_core.contract.engine import GRAPH_NAME
from cutout_core.contract.paths import cache_root


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(prog="python -m cutout_build.quantize", description=__doc__)
    parser.add_argument("engine", help="name in the catalogue, such as u2netp")
    parser.add_argument("--out", type=Path, help="default: build/weights/ENGINE_int8.onnx")
    parser.add_argument("--folder", type=Path, help="of the run, which goes on where it was left")
    for field in fields(DistillSettings):
        name = "--" + field.name.replace("_", "-")
        parser.add_argument(name, type=type(field.default), default=field.default, metavar="N")
    arguments = parser.parse_args(argv)
    settings = DistillSettings(**{field.name: getattr(arguments, field.name) for field in fields(DistillSettings)})
    built = build_engine(Catalogue.load().engine(arguments.engine))
    folder = arguments.folder or cache_root() / "quantize" / arguments.engine
    quantized = distill(onnx.load(built.folder / GRAPH_NAME), built.manifest, folder, settings)
    quantized.doc_string = f"INT8 (Q/DQ) of {arguments.engine}, graph {built.manifest.graph_sha256}, {settings}"
    onnx.checker.check_model(quantized, full_check=True)
    out = arguments.out or Path("build/weights") / f"{arguments.engine}_int8.onnx"
    onnx.save(quantized, out)
    print(f"{out}: {out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
