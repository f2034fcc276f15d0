"""The commands `gate` and `plans` of `python -m cutout_build`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cutout_build.errors import BuildError
from cutout_build.gpu.graphs import built_graphs


def add(commands: Any) -> None:
    """Adds both to the command line's sub-commands."""
    gate = commands.add_parser("gate", help="parse and build every engine's graphs with TensorRT-RTX, without a GPU")
    gate.add_argument("--out", type=Path, metavar="DIR", help="write gate.json and gate.md into this folder")
    gate.add_argument("--force", action="store_true", help="ask again about graphs whose verdict is known")
    plans = commands.add_parser("plans", help="build the TensorRT plans for the GPU of this machine")
    plans.add_argument("--precision", metavar="NAME", help="of all; default: int8, fp16 or fp32, the first certified")
    plans.add_argument(
        "--uncertified",
        action="store_true",
        help="build --precision even where it has no certificate; every response is marked",
    )
    plans.add_argument("--version-compatible", action="store_true", help="let the plans run on later TensorRT 10 or 11")
    plans.add_argument("--force", action="store_true", help="build again even if the plans fit")
    plans.add_argument("--check", action="store_true", help="build nothing; say whether the plans fit this machine")


def run_gate(options: argparse.Namespace) -> int:
    """Prints a line a graph; 1 where one failed. Raises BuildError."""
    # Imported here because `models` needs none of it.
    from cutout_build.gpu.gate import gate
    from cutout_build.gpu.gate_report import write_gate

    verdicts = gate(built_graphs(), force=options.force)
    for verdict in verdicts:
        print(f"{verdict.engine} {verdict.precision}: {verdict.status}")
        for reason in verdict.reasons:
            print(f"  {reason}")
    if options.out is not None:
        print(write_gate(options.out, verdicts))
    return int(any(verdict.status == "failed" for verdict in verdicts))


def run_plans(options: argparse.Namespace) -> None:
    """Builds or checks the plans. Raises BuildError."""
    from cutout_build.gpu.plan import build_plans, check_plans

    if options.uncertified and options.precision is None:
        raise BuildError("--uncertified needs --precision: it builds what is named, certified or not.")
    if options.check:
        check_plans()
    else:
        build_plans(
            options.precision,
            uncertified=options.uncertified,
            version_compatible=options.version_compatible,
            force=options.force,
        )
