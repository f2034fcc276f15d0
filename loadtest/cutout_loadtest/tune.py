"""`python -m cutout_loadtest.tune`: which settings serve most on this machine.

Each candidate is a service of its own, started with `CUTOUT_` variables, and the same closed loop runs against all of
them, in an order drawn anew for each round. The best becomes an env file; variables that the operator has set are fixed
and not swept. `--batchers` measures the four on/off combinations of the two batchers instead and recommends nothing.
"""

from __future__ import annotations

import argparse
import itertools
import os
import random
import re
import statistics
import sys
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cutout_core.contract.cpu import available_cores
from cutout_loadtest.closed_loop import LoadReport, run_closed_loop
from cutout_loadtest.mix import MIXES, make_shots, read_mix
from cutout_loadtest.service import running_service
from cutout_loadtest.shot import Shot

#: The variables that a candidate sets.
SLOTS, ROWS = "CUTOUT_BATCH_SLOTS", "CUTOUT_MAX_BATCH_ROWS"
THREADS, INSTANCES, REPOSITORY = "CUTOUT_THREADS", "CUTOUT_INSTANCES", "CUTOUT_MODEL_REPOSITORY"
#: More than any candidate has in flight, so that each is filled.
CALLERS = 24
#: A candidate within this share of the fastest is as good, and the one with the lower p95 is taken.
_ALIKE = 0.03


@dataclass(slots=True)
class Candidate:
    """name: for the table. environment: what its service is started with. runs: one report a round."""

    name: str
    environment: dict[str, str]
    runs: list[LoadReport] = field(default_factory=list)

    @property
    def rate(self) -> float:
        """Images a second, median of the rounds."""
        return statistics.median(run.images_per_s for run in self.runs)

    @property
    def p95_ms(self) -> float:
        return statistics.median(run.p95_ms for run in self.runs)

    @property
    def spread(self) -> float:
        """Between the fastest and the slowest round, as a share of the median."""
        rates = [run.images_per_s for run in self.runs]
        return (max(rates) - min(rates)) / self.rate


def sweep(cores: int, environment: Mapping[str, str]) -> list[Candidate]:
    """Slots, rows of a batch, and how the cores are shared; a variable that `environment` holds is fixed at that value.

    The cores are all threads of one instance of every model, or halved between two. Of slots × rows only what keeps 4
    to 16 images in flight is tried, unless one of the two is fixed.
    """
    shares = [{THREADS: str(cores // count), INSTANCES: str(count)} for count in ((1, 2) if cores > 1 else (1,))]
    batches = [{SLOTS: slots, ROWS: rows} for slots in ("2", "3", "4") for rows in ("1", "2", "4", "8")]
    fixed = {name: environment[name] for name in (SLOTS, ROWS, THREADS, INSTANCES) if name in environment}
    if not fixed.keys() & {SLOTS, ROWS}:
        batches = [one for one in batches if 4 <= int(one[SLOTS]) * int(one[ROWS]) <= 16]
    chosen = [batch | share | fixed for batch, share in itertools.product(batches, shares)]
    unique = {tuple(variables.items()): variables for variables in chosen}
    return [Candidate(_name(variables), variables) for variables in unique.values()]


def batchers(source: Path, folder: Path) -> list[Candidate]:
    """The gateway's batches (8 rows or 1) with and without Triton's dynamic batching."""
    without = without_dynamic_batching(source, folder)
    found = []
    for rows, repository in itertools.product(("8", "1"), (source, without)):
        # With batches of one row the gateway needs a slot for each row that it would have batched.
        variables = {ROWS: rows, SLOTS: "2" if rows == "8" else "16", REPOSITORY: str(repository)}
        name = f"gateway {'on' if rows == '8' else 'off'}, Triton {'on' if repository == source else 'off'}"
        found.append(Candidate(name, variables))
    return found


def without_dynamic_batching(source: Path, folder: Path) -> Path:
    """A copy of the model repository in `folder` whose models run each request alone; `source` is only read."""
    for path in source.rglob("*"):
        copy = folder / path.relative_to(source)
        if path.is_dir():
            copy.mkdir(parents=True, exist_ok=True)
        elif path.suffix == ".pbtxt":
            copy.write_text(_without_block(path.read_text(), "dynamic_batching"))
        elif "__pycache__" not in path.parts:
            copy.write_bytes(path.read_bytes())
    return folder


def measure(candidates: Sequence[Candidate], shots: Sequence[Shot], rounds: int, requests: int, callers: int) -> None:
    """Appends `rounds` reports to each. Raises RuntimeError where a service does not start or fails a request."""
    shuffled = list(candidates)
    for number in range(rounds):
        random.Random(number).shuffle(shuffled)
        for candidate in shuffled:
            with running_service(candidate.environment) as service:
                run_closed_loop(service.http, shots, requests=2 * callers, concurrency=callers)
                report = run_closed_loop(service.http, shots, requests=requests, concurrency=callers)
            if report.errors:
                raise RuntimeError(f"{candidate.name}: {report.errors}")
            candidate.runs.append(report)
            print(f"round {number + 1}, {candidate.name}: {report}", file=sys.stderr, flush=True)


def best(candidates: Sequence[Candidate]) -> Candidate:
    """The lowest p95 among those whose rate is within `_ALIKE` of the highest."""
    top = max(candidate.rate for candidate in candidates)
    return min((c for c in candidates if c.rate >= (1 - _ALIKE) * top), key=lambda c: c.p95_ms)


def table(candidates: Sequence[Candidate]) -> str:
    """Markdown, the fastest first."""
    lines = ["| settings | images/s | spread | p95 ms |", "|---|---|---|---|"]
    for c in sorted(candidates, key=lambda c: -c.rate):
        lines.append(f"| {c.name} | {c.rate:.2f} | {c.spread:.0%} | {c.p95_ms:.0f} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> int:
    """0 when the files are written, 2 where nothing could be run."""
    options = _parser().parse_args(arguments)
    try:
        shots = make_shots(read_mix(options.mix), options.photos, options.quality, seed=0)
        options.out.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix="cutout-tune-") as folder:
            if options.batchers:
                candidates = batchers(options.repository.resolve(), Path(folder))
            else:
                candidates = sweep(available_cores(), os.environ)
            measure(candidates, shots, options.rounds, options.requests, options.callers)
    except (OSError, ValueError, RuntimeError) as error:
        print(f"cutout_loadtest.tune: {error}", file=sys.stderr)
        return 2
    text = table(candidates)
    name = "batchers" if options.batchers else "tune"
    (options.out / f"{name}.md").write_text(text)
    print(text, end="")
    if not options.batchers:
        lines = [f"{variable}={value}" for variable, value in best(candidates).environment.items()]
        (options.out / "tune.env").write_text("\n".join(lines) + "\n")
        print(f"best: {' '.join(lines)}  ({options.out / 'tune.env'})")
    return 0


def _without_block(config: str, field_name: str) -> str:
    """A configuration in protobuf's text format without that message at its top level."""
    found = re.search(rf"^{field_name}\s*:?\s*{{", config, re.MULTILINE)
    if found is None:
        return config
    depth, end = 1, found.end()
    while depth:
        depth += {"{": 1, "}": -1}.get(config[end], 0)
        end += 1
    return config[: found.start()] + config[end:]


def _name(variables: Mapping[str, str]) -> str:
    return ", ".join(f"{name.removeprefix('CUTOUT_').lower()} {value}" for name, value in variables.items())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m cutout_loadtest.tune", description=__doc__)
    parser.add_argument("photos", type=Path, metavar="DIR", help="the photos that the mix is made of")
    parser.add_argument("--mix", default="real", help=f"{' or '.join(MIXES)}, or a JSON file; default %(default)s")
    parser.add_argument("--quality", default="standard", help="default %(default)s")
    parser.add_argument("--batchers", action="store_true", help="the four combinations of the two batchers")
    parser.add_argument("--repository", type=Path, default=Path("model_repository"), metavar="DIR")
    parser.add_argument("--rounds", type=int, default=3, help="default %(default)s")
    parser.add_argument("--requests", "-n", type=int, default=150, help="of a run (default %(default)s)")
    parser.add_argument("--callers", "-c", type=int, default=CALLERS, help="default %(default)s")
    parser.add_argument("--out", type=Path, default=Path("out"), metavar="DIR")
    return parser


if __name__ == "__main__":
    sys.exit(main())
