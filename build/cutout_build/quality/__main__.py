"""The command line: `python -m cutout_build.quality benchmark`, `... report` and `... sheet`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from itertools import islice
from pathlib import Path

from cutout_build.errors import BuildError
from cutout_build.quality.benchmark import COUNTS, PEER_SETS, measure
from cutout_build.quality.benchmark_report import Context, write_benchmark
from cutout_build.quality.cases import cases
from cutout_build.quality.composites import composites
from cutout_build.quality.engine import Segmentation
from cutout_build.quality.measure import MIN_PIXELS, measure_composites, measure_scenes
from cutout_build.quality.method_sheet import write_method_sheets
from cutout_build.quality.methods import Methods
from cutout_build.quality.ours import MATTING_GRAPH, MATTING_INT8, Pipeline
from cutout_build.quality.peers import Peers
from cutout_build.quality.published import PublishedNetworks
from cutout_build.quality.report import write_report
from cutout_build.quality.sheet import write_sheet
from cutout_build.quality.timing import measure_times
from cutout_core import allocator
from cutout_core.contract.cpu import has_int8_dot_products


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one command; 0 when it is done, 1 with one sentence on stderr when it cannot be."""
    options = _parser().parse_args(arguments)
    commands = {"benchmark": _benchmark, "report": _report, "sheet": _sheet}
    try:
        print(commands[options.command](options))
    except BuildError as error:
        print(f"cutout_build.quality: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _benchmark(options: argparse.Namespace) -> Path:
    allocator.tune()  # as the service does: without, a sixth of the time of pixel work goes into page faults
    counts = {name: min(count, options.count or count) for name, count in COUNTS.items()}
    pipeline = Pipeline(options.matting, options.threads)
    has_int8 = options.matting == MATTING_GRAPH and has_int8_dot_products()
    int8 = Pipeline(MATTING_INT8, options.threads, int8=True) if has_int8 else None
    with Peers() as peers:
        methods = Methods(pipeline, PublishedNetworks(options.threads), peers, int8)
        results = measure(methods, counts, options.seed)
        times = [] if options.skip_times else measure_times(int8 or pipeline, peers, options.seed)
        for name in PEER_SETS:
            shown = islice(cases(name, counts[name], options.seed), options.sheets)
            for path in write_method_sheets(options.sheet_folder, name, methods, shown):
                print(path)
    graphs = {q: pipeline.segmentation(q).manifest.graph_sha256 for q in ("standard", "high")}
    graphs = {"segmentation": graphs["standard"], "segmentation_high": graphs["high"]}
    command = f"python -m cutout_build.quality benchmark --seed {options.seed}"
    command += f" --count {options.count}" if options.count else ""
    context = Context(command, {**graphs, "matting": pipeline.matting_sha256}, "int8" if int8 else "fp32")
    return write_benchmark(options.out, options.images, results, times, context)


def _report(options: argparse.Namespace) -> Path:
    engine = Segmentation(options.threads)
    results = measure_composites(engine, options.count, options.seed)
    verdicts = measure_scenes(engine, options.count, options.seed)
    settings = {"count": options.count, "seed": options.seed}
    return write_report(options.out, engine.manifest, results, verdicts, settings)


def _sheet(options: argparse.Namespace) -> Path:
    made = islice(composites("test", options.count, options.seed, MIN_PIXELS), options.count)
    return write_sheet(options.out, Segmentation(options.threads), made)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m cutout_build.quality", description="Measure the engines on ground truth."
    )
    commands = parser.add_subparsers(dest="command", required=True)
    benchmark = commands.add_parser("benchmark", help="every method against ground truth; an hour the first time")
    benchmark.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="default: reports")
    benchmark.add_argument("--images", type=Path, default=Path("docs/images"), metavar="DIR", help="of the charts")
    benchmark.add_argument("--sheets", type=int, default=4, help="contact sheets of each set, default 4")
    benchmark.add_argument("--sheet-folder", type=Path, default=Path("out/quality"), metavar="DIR")
    benchmark.add_argument("--matting", type=Path, default=MATTING_GRAPH, metavar="FILE", help="another matting graph")
    benchmark.add_argument("--skip-times", action="store_true", help="measure no seconds")
    report = commands.add_parser("report", help="measure recipes, bf16 and the no-subject rule; minutes")
    report.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR", help="default: reports")
    sheet = commands.add_parser("sheet", help="a contact sheet to look at: photo, mask, cut-out, truth")
    sheet.add_argument("--out", type=Path, default=Path("out/quality.png"), metavar="FILE")
    for command, count in ((report, 24), (sheet, 8)):
        command.add_argument("--count", type=int, default=count, help=f"composites of each set, default {count}")
    benchmark.add_argument("--count", type=int, help="pictures of each set at most, default all")
    for command in (benchmark, report, sheet):
        command.add_argument("--seed", type=int, default=0)
        command.add_argument("--threads", type=int, default=1, help="threads of the network, default 1")
    return parser


if __name__ == "__main__":
    sys.exit(main())
