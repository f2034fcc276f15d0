"""`python -m cutout_loadtest SCENARIO`: load on a Cutout service, and what came of it. See docs/loadtest.md."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import sys
from pathlib import Path

import uvloop

from cutout_loadtest import capacity
from cutout_loadtest.bench import command as bench
from cutout_loadtest.closed_loop import run_closed_loop
from cutout_loadtest.mix import MIXES, make_shots, read_mix
from cutout_loadtest.report import DEADLINE_S
from cutout_loadtest.report_files import write_report
from cutout_loadtest.runner import Plan, run_plan
from cutout_loadtest.scenarios import DEFAULT_SLOS, slos
from cutout_loadtest.schedule import ARRIVALS
from cutout_loadtest.service import listening_here, running_service

_SECONDS = {"ramp": 20.0, "soak": 600.0, "burst": 40.0}
_HELP = {
    "ramp": "rising rates; the rate-latency curve with its knee",
    "soak": "80 %% of capacity for ten minutes; errors, tail and memory slope",
    "burst": "twice the capacity, between two calm phases; goodput, refusals and recovery",
}


def main(arguments: list[str] | None = None) -> int:
    """Returns 0; 1 where an objective is missed or a request of `closed` failed; 2 where nothing could be run."""
    parser = _parser()
    options = parser.parse_args(arguments)
    try:
        result: int = options.run(options)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"cutout_loadtest: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        return 130
    return result


def _scenario(options: argparse.Namespace) -> int:
    if options.grpc and options.url and not options.url.startswith("grpc://"):
        options.parser.error("--grpc is for the service that is started; with --url, give grpc://host:port instead")
    wanted = slos(options.scenario, options.slo)
    shots = make_shots(read_mix(options.mix), options.photos, options.quality, options.seed, _key(options))
    with contextlib.ExitStack() as stack:
        if options.url:
            url, pid = options.url, listening_here(options.url)
        else:
            print("starting the service ...", file=sys.stderr, flush=True)
            service = stack.enter_context(running_service())
            url, pid = (service.grpc if options.grpc else service.http), service.pid
        plan = Plan(
            scenario=options.scenario,
            url=url,
            process=options.arrivals,
            seed=options.seed,
            seconds=options.seconds or _SECONDS[options.scenario],
            capacity=options.capacity,
            deadline_s=options.deadline,
            p99_target_ms=options.p99_target,
            pids=(pid,) if pid else (),
        )
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            report = runner.run(run_plan(plan, shots, wanted))
    page = write_report(report, options.out)
    for verdict in report["slo"]:
        print(f"{'met   ' if verdict['met'] else 'MISSED'} {verdict['slo']} (measured {verdict['value']})")
    print(f"report: {page}")
    return 0 if all(verdict["met"] for verdict in report["slo"]) else 1


def _closed(options: argparse.Namespace) -> int:
    images = [photo.read_bytes() for photo in options.photos]
    report = run_closed_loop(
        options.url, images, requests=options.requests, concurrency=options.concurrency, api_key=_key(options)
    )
    print(report)
    return 1 if report.errors else 0


def _key(options: argparse.Namespace) -> str | None:
    """The API key. Its default is read here, so that no help text shows it."""
    return options.api_key or os.environ.get("CUTOUT_API_KEY") or None


def _add_key(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--api-key",
        metavar="KEY",
        help="where the server wants one; other users of this machine may see it in the list of processes, unlike the "
        "environment variable CUTOUT_API_KEY",
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cutout_loadtest", description=__doc__)
    commands = parser.add_subparsers(dest="scenario", required=True)
    for scenario in DEFAULT_SLOS:
        command = commands.add_parser(scenario, help=_HELP[scenario])
        command.set_defaults(run=_scenario, parser=command)
        command.add_argument("--photos", type=Path, required=True, metavar="DIR", help="a folder of PNG or JPEG photos")
        command.add_argument("--url", help="http://host:port or grpc://host:port; without it a service is started")
        command.add_argument("--grpc", action="store_true", help="speak gRPC to the service that is started")
        _add_key(command)
        command.add_argument(
            "--capacity", type=float, metavar="N", help="images/s; measured first where it is not given"
        )
        command.add_argument("--seconds", type=float, help=f"default {_SECONDS[scenario]:g} (of a step, soak or burst)")
        command.add_argument("--arrivals", choices=ARRIVALS, default="poisson")
        command.add_argument("--seed", type=int, default=0, help="of arrivals and mix")
        command.add_argument(
            "--mix", default="real", help=f"{' or '.join(MIXES)}, or a JSON file of kinds (docs/loadtest.md)"
        )
        command.add_argument("--quality", choices=("fast", "standard", "high"), default="standard")
        command.add_argument(
            "--deadline", type=float, default=DEADLINE_S, metavar="S", help="a later answer is not good"
        )
        command.add_argument("--p99-target", type=float, default=1000.0, metavar="MS", help="for the sustained rate")
        command.add_argument("--slo", action="append", default=[], metavar="FIGURE<=N", help="in place of the defaults")
        command.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR")
    closed = commands.add_parser("closed", help="N callers, one request each at a time: images a second")
    closed.set_defaults(run=_closed)
    closed.add_argument("photos", nargs="+", type=Path, help="image files, sent in turn")
    closed.add_argument("--url", default="http://127.0.0.1:8080", help="http://host:port or grpc://host:port")
    _add_key(closed)
    closed.add_argument("--requests", "-n", type=int, default=50, help="requests in all (default %(default)s)")
    closed.add_argument("--concurrency", "-c", type=int, default=4, help="callers (default %(default)s)")
    bench.add_parser(commands)
    capacity.add_parser(commands)
    return parser


if __name__ == "__main__":
    sys.exit(main())
