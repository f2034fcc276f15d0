"""The command `cutout`: removes the backgrounds of files, folders and standard input."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from cutout_client._bulk.command import main as bulk
from cutout_client._cli_arguments import Parser, add_connection, count_from, key_of, positive
from cutout_client._cli_options import FLAG_OPTIONS, add_options
from cutout_client._cli_plan import Plan, UsageError, make_plan
from cutout_client._cli_report import Report
from cutout_client._cli_run import RunSettings, run_jobs
from cutout_client._config import Retry, Timeout
from cutout_client._endpoint import Endpoint
from cutout_client._exceptions import ProtocolError
from cutout_client._options import CutoutOptions
from cutout_client._version import __version__
from cutout_core.contract import OPTION_HELP, CutoutError, Options
from cutout_core.contract.options import FLAGS
from cutout_core.contract.presets import PRESETS

DONE, SOME_FAILED, UNREACHABLE, INTERRUPTED = 0, 1, 3, 130

_EPILOG = """\
examples:
  cutout photo.jpg                          writes photo.cutout.png beside it
  cutout photo.jpg -o out.webp              the suffix chooses the format
  cutout a.jpg b.jpg -o results/            results/a.png and results/b.png
  cutout shop/ -o results/ -f jpeg --background white -j 8
                                            a whole folder, sub-folders kept
  cutout photo.jpg -f mask -o mask.png      the 8-bit grey mask
  cutout mug.jpg -o mug-shop.jpg --background white --canvas 2000x2000 --scale 85%
                                            a square for a shop, the subject fills 85 %
  cutout mug.jpg -o mug-shop.jpg --preset amazon
  curl -s https://example.org/p.jpg | cutout - > p.png
  cutout shop/ -o results/ --json | jq -r 'select(.status == "failed").path'
  CUTOUT_SERVER=grpc://10.0.0.7:8081 cutout photo.jpg
  cutout bulk manifest.csv -o results/      many thousands, taken up again where they were left: cutout bulk --help

The path of each file that was written is a line on standard output; all else goes to standard error.
An existing result is skipped unless --overwrite is given, so that an interrupted run is taken up again by the
same command. Files are written whole or not at all. Folders give their image files (by suffix); hidden files are
left out. Photos of one name (a.jpg, a.webp) become a.jpg.png and a.webp.png.

exit status:
  0 all done   1 some failed (listed at the end)   2 wrong usage   3 no Cutout server answers   130 interrupted
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs the command and returns its exit status; wrong usage raises SystemExit(2)."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if arguments[:1] == ["bulk"]:
        return bulk(arguments[1:])
    parser = _parser()
    args = parser.parse_args(arguments)
    try:
        default = PRESETS[args.preset].options["output"] if args.preset else "png"
        plan = make_plan(args.inputs, args.out, args.output, default)
        settings = _settings(args, plan)
    except OSError as error:
        parser.error(f"{error.filename}: {error.strerror}")
    except (UsageError, CutoutError, ValueError) as error:
        parser.error(error.message if isinstance(error, CutoutError) else str(error))
    if plan.jobs[0].target is None and (args.json or sys.stdout.isatty()):
        parser.error("standard output takes the image: redirect it, leave out --json, or give -o FILE")
    report: Report | None = None
    try:
        piped = sys.stdin.buffer.read() if plan.jobs[0].source is None else b""
        report = Report(len(plan.jobs), args.json, args.quiet)
        asyncio.run(run_jobs(plan.jobs, settings, report, piped))
    except KeyboardInterrupt:
        if report is not None:
            report.close()
        print("interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever read standard output has left; Python must not try to flush it again at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return SOME_FAILED
    report.close()
    if report.unreachable is not None:
        gone = not isinstance(report.unreachable, ProtocolError)
        print(
            f"no {'' if gone else 'Cutout '}server answers at {settings.server}"
            f"{': is `make serve` running?' if gone else '.'} Another address goes into --server or CUTOUT_SERVER.",
            file=sys.stderr,
        )
        return UNREACHABLE
    return SOME_FAILED if report.failures else DONE


def _settings(args: argparse.Namespace, plan: Plan) -> RunSettings:
    """Raises ValueError or `CutoutError` before anything is sent."""
    Endpoint.parse(args.server, key_of(args))
    given = {name: value for name in OPTION_HELP if (value := getattr(args, name)) is not None}
    given["output"] = plan.output
    background_image = None if args.background_image is None else Path(args.background_image).read_bytes()
    Options.parse(given, background_image=background_image is not None)
    flags = {name: FLAGS[value] for name, value in given.items() if name in FLAG_OPTIONS}
    return RunSettings(
        server=args.server,
        timeout=Timeout(total=args.timeout),
        retry=Retry(attempts=args.retries + 1),
        jobs=args.jobs,
        overwrite=args.overwrite,
        options=cast(CutoutOptions, given | flags),
        background_image=background_image,
        api_key=key_of(args),
    )


def _parser() -> argparse.ArgumentParser:
    parser = Parser(
        prog="cutout",
        description="Removes the background of photos with a Cutout server.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument("inputs", nargs="+", metavar="INPUT", help="an image file, a folder, or - for standard input")
    parser.add_argument(
        "-o",
        "--out",
        metavar="PATH",
        help="result file; a folder for several; - for standard output. Default: NAME.cutout.png beside the photo",
    )
    add_connection(parser)
    add_options(parser.add_argument_group("options of the cut-out"))
    running = parser.add_argument_group("running")
    running.add_argument("-j", "--jobs", type=count_from(1), default=4, help="images in flight at a time (4)")
    running.add_argument(
        "--timeout", type=positive, default=60.0, metavar="SECONDS", help="total of one image, retries included (60)"
    )
    running.add_argument(
        "--retries", type=count_from(0), default=2, help="tries after the first, where an error may pass (2)"
    )
    running.add_argument("--overwrite", action="store_true", help="replace existing results instead of skipping them")
    running.add_argument("--json", action="store_true", help="one JSON line for each image, in place of the paths")
    running.add_argument(
        "-q", "--quiet", action="store_true", help="no paths, progress, warnings and summary; only errors"
    )
    running.add_argument("--version", action="version", version=f"cutout {__version__}")
    return parser
