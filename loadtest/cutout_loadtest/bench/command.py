"""The command `bench`."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from cutout_loadtest.bench.measure import Journal, make_inputs, measure
from cutout_loadtest.bench.plan import SYSTEMS, cells, quick_cells
from cutout_loadtest.bench.quiet import warnings
from cutout_loadtest.bench.report import write_bench
from cutout_loadtest.bench.rows import label, make_rows
from cutout_loadtest.bench.setting import setting
from cutout_loadtest.bench.systems import CutoutServer, started
from cutout_loadtest.bench.targets import check
from cutout_loadtest.provenance import about

_QUALITIES = ("fast", "standard", "high")
_REPEATS, _SECONDS = 3, 5.0
#: Where the published report lies, and where that of a part of the plan goes, which must not replace it.
_REPORTS, _TRIALS = Path("reports"), Path("out/bench")


def add_parser(commands: Any) -> None:
    """Adds the command to the command line's."""
    parser: argparse.ArgumentParser = commands.add_parser("bench", help="beside rembg; some 20 minutes, can be resumed")
    parser.set_defaults(run=run)
    parser.add_argument("--photo", type=Path, required=True, help="the photo that all inputs are made from")
    parser.add_argument("--repeats", type=int, default=_REPEATS, help="default %(default)s")
    parser.add_argument("--seconds", type=float, default=_SECONDS, help="of one cell at least, default %(default)s")
    parser.add_argument("--quick", action="store_true", help="a few cells, once, a second each: does it work?")
    parser.add_argument("--fresh", action="store_true", help="forget what an interrupted run has measured")
    parser.add_argument("--systems", nargs="+", choices=SYSTEMS, default=list(SYSTEMS))
    parser.add_argument("--qualities", nargs="+", choices=_QUALITIES, default=list(_QUALITIES))
    parser.add_argument("--only", default="", metavar="TEXT", help="only cells whose name has this, e.g. '4 MP jpeg'")
    parser.add_argument("--work", type=Path, default=_TRIALS, metavar="DIR", help="inputs and the journal")
    parser.add_argument(
        "--out",
        type=Path,
        metavar="DIR",
        help=f"default {_REPORTS} for the whole plan; {_TRIALS} with --quick, --only, fewer systems or qualities, or "
        "less than the default repeats or seconds",
    )


def out_folder(options: argparse.Namespace) -> Path:
    """Where the report goes: what was asked for, else by whether the plan is whole, as often and as long as usual."""
    whole = (
        not (options.quick or options.only)
        and set(options.systems) == set(SYSTEMS)
        and set(options.qualities) == set(_QUALITIES)
        and options.repeats >= _REPEATS
        and options.seconds >= _SECONDS
    )
    given: Path | None = options.out
    return given or (_REPORTS if whole else _TRIALS)


def run(options: argparse.Namespace) -> int:
    """Returns 0: a missed target is told, not failed. Raises OSError, ValueError or RuntimeError."""
    repeats, seconds = (1, 1.0) if options.quick else (options.repeats, options.seconds)
    origin = about()
    journal = Journal(options.work, setting(options.photo, seconds))
    if options.fresh:
        journal.path.unlink(missing_ok=True)
    files = make_inputs(options.photo, options.work)
    with started(set(options.systems), "high" in options.qualities and not options.quick) as systems:
        servers = [server for server in systems.values() if isinstance(server, CutoutServer)]
        installed = {quality for server in servers for quality in server.qualities()}
        qualities = [quality for quality in options.qualities if quality in installed or not servers]
        plan = quick_cells(qualities) if options.quick else cells(qualities)
        plan = [cell for cell in plan if cell.server in systems and options.only in str(cell)]
        results = measure(systems, plan, files, journal, repeats=repeats, seconds=seconds)
    if not results:
        raise ValueError("no cell is left to measure: --only, --systems or --qualities leave nothing")
    rows = make_rows(results, plan)
    notes = warnings([r.calibration_ms for r in results], {label(row): row["foreign_cores"] for row in rows})
    missing = [quality for quality in options.qualities if quality not in qualities]
    if missing:
        notes.append(f"Not installed, so not measured: {', '.join(missing)}.")
    if options.quick:
        notes.append("A quick run: one repeat of a second a cell; its figures mean little.")
    verdicts = check(rows)
    page = write_bench(rows, verdicts, notes, origin, out_folder(options))
    for note in notes:
        print(f"WARNING: {note}")
    for verdict in verdicts:
        if verdict.reached is not None:
            word = "reached" if verdict.reached else "MISSED "
            print(f"{word} {verdict.target.text} ({verdict.target.quality}): {verdict.value:.2f}")
    print(f"report: {page}")
    return 0
