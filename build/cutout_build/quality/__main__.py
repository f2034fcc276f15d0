"""The command line: `python -m cutout_build.quality report` and `... sheet`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from cutout_build.errors import BuildError
from cutout_build.quality.composites import composites
from cutout_build.quality.engine import Segmentation
from cutout_build.quality.measure import MIN_PIXELS, measure_composites, measure_scenes
from cutout_build.quality.report import write_report
from cutout_build.quality.sheet import write_sheet


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 when it is done, 1 with one sentence on stderr when it cannot be."""
    options = _parser().parse_args(arguments)
    try:
        engine = Segmentation(options.threads)
        if options.command == "report":
            results = measure_composites(engine, options.count, options.seed)
            verdicts = measure_scenes(engine, options.count, options.seed)
            settings = {"count": options.count, "seed": options.seed}
            print(write_report(options.out, engine.manifest, results, verdicts, settings))
        else:
            made = islice(composites("test", options.count, options.seed, MIN_PIXELS), options.count)
            print(write_sheet(options.out, engine, made))
    except BuildError as error:
        print(f"cutout_build.quality: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="cutout_build.quality", description="Measure the engines on ground truth.")
    commands = parser.add_subparsers(dest="command", required=True)
    report = commands.add_parser("report", help="measure recipes, bf16 and the no-subject rule; minutes")
    report.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="default: reports")
    sheet = commands.add_parser("sheet", help="a contact sheet to look at: photo, mask, cut-out, truth")
    sheet.add_argument("--out", type=Path, default=Path("out/quality.png"), metavar="FILE")
    for command, count in ((report, 24), (sheet, 8)):
        command.add_argument("--count", type=int, default=count, help=f"composites of each set, default {count}")
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--threads", type=int, default=1, help="threads of the network, default 1")
    return parser


if __name__ == "__main__":
    sys.exit(main())
