"""The command `cutout bulk`."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cutout_client._bulk import storage
from cutout_client._bulk.items import Item, make_items
from cutout_client._bulk.journal import DONE, FAILED, Journal, JournalInUse, stage
from cutout_client._bulk.manifest import read_rows
from cutout_client._bulk.report import Report
from cutout_client._bulk.runner import JobSettings, JobStopped, Results, Runner, check_server
from cutout_client._cli_arguments import Parser, add_connection, count_from, key_of, positive
from cutout_client._cli_options import option_help
from cutout_client._cli_plan import UsageError
from cutout_client._endpoint import Endpoint
from cutout_core.contract import OPTION_HELP, CutoutError, Options

ALL_DONE, SOME_FAILED, STOPPED, INTERRUPTED = 0, 1, 3, 130

_EPILOG = """\
examples:
  cutout bulk shop/ -o results/ --output jpeg --background white
  cutout bulk manifest.csv -o results/ --server grpc://10.0.0.7:8081 -j 32
  cutout bulk manifest.ndjson -o s3://shop/cutouts --journal job1/
  cutout bulk manifest.csv -o results/ --dry-run
  cutout bulk manifest.csv -o results/ --retry-failed

A manifest is a CSV file with a header or a file of JSON lines. Its columns: `image` (a path beside the manifest, or a
URL), `name` (of the result; optional), and any option by its name; a row's option goes before the command's.

The same command again goes on where the last one ended, however it ended. Failures are final until --retry-failed;
they are listed, as a manifest, in failed.ndjson beside the journal (RESULTS/.cutout-bulk/ or --journal).

exit status:
  0 all done   1 some failed   2 wrong usage   3 stopped (no server, no room on the disk): run it again later
  130 interrupted
"""


def main(argv: Sequence[str]) -> int:
    """Runs the command and returns its exit status; wrong usage raises SystemExit(2)."""
    parser = _parser()
    args = parser.parse_args(argv)
    try:
        return _bulk(args)
    except (UsageError, CutoutError, ValueError, storage.StorageError) as error:
        parser.error(error.message if isinstance(error, CutoutError) else str(error))
    except JournalInUse as error:
        print(f"cutout bulk: {error}", file=sys.stderr)
        return STOPPED
    except OSError as error:
        parser.error(f"{error.filename or args.source}: {error.strerror or error}")


def _bulk(args: argparse.Namespace) -> int:
    Endpoint.parse(args.server, key_of(args))
    defaults = {name: value for name in OPTION_HELP if (value := getattr(args, f"option_{name}")) is not None}
    Options.parse(defaults)
    folder = _journal_folder(args)
    local = None if storage.is_url(args.out) else args.out
    if local is not None and os.path.realpath(local) == os.path.realpath(args.source):
        raise UsageError(f"the results would mix with the photos in {args.source}: give another folder with -o")
    items, repeated = make_items(read_rows(args.source, leave_out=local), defaults)
    if repeated and not args.quiet:
        print(f"{repeated} rows repeat another row and are left out", file=sys.stderr)
    if args.dry_run and not (folder / "journal.ndjson").exists():
        return _show(items, Counter(), args)
    journal = Journal(folder)
    try:
        results = Results(args.out, journal)
        if args.dry_run:
            return _show(
                [item for item in items if _is_open(item, journal, args.retry_failed)], _count(items, journal), args
            )
        return _run(items, journal, results, args)
    finally:
        journal.close()


def _run(items: Sequence[Item], journal: Journal, results: Results, args: argparse.Namespace) -> int:
    if storage.is_url(args.out):
        storage.exists(args.out)  # a store that cannot be opened is found out before anything is sent
    done = [item for item in items if journal.status(item.key) == DONE]
    recovered = sum(results.staging(item).exists() for item in done)
    try:
        finished = {item.key for item in done if results.is_done(item)}
    except OSError as error:
        print(f"stopped: a finished result cannot be put into its place: {error}", file=sys.stderr)
        return STOPPED
    to_do = [item for item in items if item.key not in finished and _is_open(item, journal, args.retry_failed, True)]
    settings = JobSettings(
        args.server,
        args.out,
        args.jobs,
        args.timeout,
        args.retries + 1,
        args.patience,
        args.overwrite,
        key_of(args),
    )
    report = Report(len(to_do), len(finished), args.json, args.quiet, recovered=recovered)
    outcome = _Outcome()
    try:
        asyncio.run(_work(settings, to_do, journal, results, report, outcome))
    except KeyboardInterrupt:
        outcome.status = INTERRUPTED
    except JobStopped as error:
        outcome.status, outcome.message = STOPPED, f"stopped: {error}; the same command goes on later"
    report.close(outcome.refusals, outcome.peak)
    failed = [item for item in items if journal.status(item.key) == FAILED]
    path = journal.folder / "failed.ndjson"
    if failed:
        _write_failures(path, journal, failed)
        print(f"{len(failed)} failures are listed in {path}; --retry-failed tries them again", file=sys.stderr)
    else:
        path.unlink(missing_ok=True)
    if outcome.message:
        print(outcome.message, file=sys.stderr)
    if outcome.status == INTERRUPTED:
        print("interrupted; the same command goes on later", file=sys.stderr)
    if outcome.status is not None:
        return outcome.status
    return SOME_FAILED if failed or report.failed else ALL_DONE


@dataclass
class _Outcome:
    status: int | None = None
    message: str = ""
    refusals: int = 0
    peak: int = 0


async def _work(
    settings: JobSettings,
    items: Sequence[Item],
    journal: Journal,
    results: Results,
    report: Report,
    outcome: _Outcome,
) -> None:
    if not items:
        return
    await check_server(settings)
    runner = Runner(settings, journal, results, report)
    try:
        await runner.run(items)
    finally:
        outcome.refusals, outcome.peak = runner.pace.refusals, runner.pace.peak


def _is_open(item: Item, journal: Journal, retry_failed: bool, lost: bool = False) -> bool:
    """Whether the item is to be done. lost: also where the journal calls it done, since its result is gone."""
    status = journal.status(item.key)
    return status is None or (status == FAILED and retry_failed) or (status == DONE and lost)


def _count(items: Sequence[Item], journal: Journal) -> Counter[str]:
    return Counter(status for item in items if (status := journal.status(item.key)) is not None)


def _show(items: Sequence[Item], counts: Counter[str], args: argparse.Namespace) -> int:
    """The dry run: what would be done, and every row whose options are wrong."""
    wrong = 0
    for item in items:
        wrong += item.error is not None
        if args.json:
            line: dict[str, object] = {"image": item.row.image, "output": item.target, "options": dict(item.options)}
            line |= {"error": item.error.message} if item.error is not None else {}
            print(json.dumps(line, ensure_ascii=False))
        else:
            options = " ".join(f"{name}={value}" for name, value in item.options.items())
            error = f"   WRONG: {item.error.message}" if item.error is not None else ""
            print(f"{item.row.image} -> {item.target}   {options}{error}".rstrip())
    print(
        f"{len(items)} to do ({wrong} of them with wrong options), {counts[DONE]} done, {counts[FAILED]} failed",
        file=sys.stderr,
    )
    return SOME_FAILED if wrong else ALL_DONE


def _write_failures(path: Path, journal: Journal, failed: Sequence[Item]) -> None:
    """The dead letters: a manifest of what failed, with why in columns that a manifest may have as notes."""
    lines = []
    for item in failed:
        entry = journal.entries[item.key]
        image = item.row.image
        if not storage.is_url(image):
            image = os.path.relpath(image, journal.folder)
        notes = {f"_{name}": value for name, value in entry["error"].items()} | {"_attempts": entry["attempts"]}
        record = {"image": image, "name": item.target, **item.options, **notes}
        lines.append(json.dumps(record, ensure_ascii=False) + "\n")
    staged = path.with_suffix(".part")
    stage(staged, "".join(lines).encode())
    os.replace(staged, path)


def _journal_folder(args: argparse.Namespace) -> Path:
    if args.journal is not None:
        return Path(args.journal)
    if storage.is_url(args.out):
        raise UsageError("results at a URL need a local place for the job's journal: --journal FOLDER")
    if os.path.exists(args.out) and not os.path.isdir(args.out):
        raise UsageError(f"{args.out} is a file; the results need a folder")
    return Path(args.out) / ".cutout-bulk"


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="cutout bulk",
        description="Removes the background of very many photos; taken up again where it was left.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("source", metavar="SOURCE", help="a manifest (.csv, .ndjson, .jsonl) or a folder; may be a URL")
    parser.add_argument("-o", "--out", metavar="RESULTS", required=True, help="folder or URL that the results go to")
    add_connection(parser)
    options = parser.add_argument_group("options of the cut-out, for rows that say nothing else")
    for name in OPTION_HELP:
        flags = [f"--{name.replace('_', '-')}", *(["-f"] if name == "output" else [])]
        options.add_argument(*flags, dest=f"option_{name}", metavar="VALUE", help=option_help(name))
    running = parser.add_argument_group("running")
    running.add_argument(
        "-j",
        "--jobs",
        type=count_from(1),
        default=16,
        help="most images in flight; fewer where the server refuses (16)",
    )
    running.add_argument("--timeout", type=positive, default=120.0, metavar="SECONDS", help="of one attempt (120)")
    running.add_argument(
        "--retries", type=count_from(0), default=4, help="attempts after the first, where an error may pass (4)"
    )
    running.add_argument(
        "--patience",
        type=positive,
        default=300.0,
        metavar="SECONDS",
        help="how long the server may be away or refuse everything before the job stops (300)",
    )
    running.add_argument("--journal", metavar="FOLDER", help="folder of the job's journal (RESULTS/.cutout-bulk)")
    running.add_argument("--retry-failed", action="store_true", help="try again what failed in an earlier run")
    running.add_argument("--overwrite", action="store_true", help="replace files that this job did not write")
    running.add_argument("--dry-run", action="store_true", help="show what would be done; nothing is sent or written")
    running.add_argument("--json", action="store_true", help="one JSON line for each image and a summary, on stdout")
    running.add_argument("-q", "--quiet", action="store_true", help="no progress and no summary; failures only")
    return parser
