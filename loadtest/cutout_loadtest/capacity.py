"""The cost of an image as a formula, fitted to `reports/bench.json`, and checked against a load test's report.

    core-ms(quality, megapixels, output, input) = base + megapixels × (slope + extra of the output + extra of the input)

The base is the networks' and the protocol's share, the slope that of decoding, refining and encoding a PNG.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from cutout_core.contract.tensors import QUALITY_ENGINES
from cutout_loadtest.bench.plan import CUTOUT, INPUTS
from cutout_loadtest.report import clean
from cutout_loadtest.stats import slope

#: Rows with fewer callers leave cores idle, and their overheads are not those of a loaded server.
_MIN_CALLERS = 4
#: The share of the cores that a sizing plans with where no ramp is given.
UTILISATION = 0.7


@dataclass(frozen=True, slots=True)
class Cost:
    """The formula of one quality; core-ms, and core-ms for each 10⁶ pixels. worst: largest relative error of the fit
    among the rows that it was fitted to."""

    base: float
    slope: float
    outputs: dict[str, float] = field(default_factory=dict)
    inputs: dict[str, float] = field(default_factory=dict)
    worst: float = 0.0

    def core_ms(self, megapixels: float, output: str = "png", encoding: str = "jpeg") -> float:
        """Of one image. Raises ValueError for an output or an encoding that was not measured."""
        for name, known in ((output, {"png": 0.0, **self.outputs}), (encoding, {"jpeg": 0.0, **self.inputs})):
            if name not in known:
                raise ValueError(f"the cost of {name!r} was not measured")
        extra = self.outputs.get(output, 0.0) + self.inputs.get(encoding, 0.0)
        return self.base + megapixels * (self.slope + extra)


def fit(rows: Sequence[Mapping[str, Any]]) -> dict[str, Cost]:
    """The formula of each quality that has rows of at least two sizes, the cheapest quality first."""
    costs: dict[str, Cost] = {}
    loaded = [row for row in rows if row["system"] == CUTOUT and row["concurrency"] >= _MIN_CALLERS]
    for quality in QUALITY_ENGINES:
        own = [row for row in loaded if row["quality"] == quality]
        plain = [row for row in own if row["output"] == "png" and INPUTS[row["input"]][1] == "jpeg"]
        sizes = [INPUTS[row["input"]][0] for row in plain]
        times = [row["core_ms"] for row in plain]
        if len(set(sizes)) < 2:
            continue
        gradient = slope(sizes, times)
        base = sum(times) / len(times) - gradient * sum(sizes) / len(sizes)
        fitted = [base + gradient * size for size in sizes]
        worst = max(abs(a - b) / a for a, b in zip(times, fitted, strict=True))
        costs[quality] = Cost(
            base,
            gradient,
            {row["output"]: _extra(row, plain) for row in own if row["output"] != "png"},
            {INPUTS[row["input"]][1]: _extra(row, plain) for row in own if INPUTS[row["input"]][1] != "jpeg"},
            worst,
        )
    return costs


def check(costs: Mapping[str, Cost], report: Mapping[str, Any]) -> dict[str, float]:
    """Predicted and measured cost and rate of a load test's mix, on the cores of the machine that it ran on.

    Raises ValueError where a kind has no formula, or the report no figures of the server's processes or no cores.
    """
    if "cores" not in report:
        raise ValueError("the load test's report is of an older version, without the machine's cores: run it again")
    predicted = 0.0
    for kind, entry in report["mix"].items():
        if entry["quality"] not in costs:
            raise ValueError(f"the cost of quality {entry['quality']!r} was not measured")
        encoding = kind.split()[2]
        predicted += entry["share"] * costs[entry["quality"]].core_ms(entry["megapixels"], entry["output"], encoding)
    measured = report["server"]["core_ms_per_image"]
    if measured is None:
        raise ValueError("the load test did not see the server's processes, so there is nothing to compare")
    return {
        "predicted_core_ms": predicted,
        "measured_core_ms": measured,
        "predicted_images_per_s": report["cores"] * 1000 / predicted,
        "measured_images_per_s": report["capacity"],
    }


def busy(ramp: Mapping[str, Any]) -> dict[str, float]:
    """The highest rate of a ramp that was answered in time: `share` of the capacity, and the p99 that it was held to
    and that it had (ms). Raises ValueError where the report is no ramp, or no step of it was.
    """
    held = ramp.get("sustained")
    if held is None:
        raise ValueError("the ramp has no step that kept its p99")
    return {
        "share": held["offered"] / ramp["capacity"],
        "p99_target_ms": ramp["p99_target_ms"],
        "p99_ms": held["p99_ms"],
    }


def add_parser(commands: Any) -> None:
    """Adds the command to the command line's."""
    parser: argparse.ArgumentParser = commands.add_parser("capacity", help="fit the cost of an image to bench.json")
    parser.set_defaults(run=run)
    parser.add_argument("--bench", type=Path, default=Path("reports/bench.json"), metavar="FILE")
    parser.add_argument("--check", type=Path, metavar="FILE", help="a load test's JSON to compare the formula with")
    parser.add_argument("--ramp", type=Path, metavar="FILE", help="a ramp's JSON, which tells how busy cores may be")
    parser.add_argument("--rate", type=float, default=50.0, metavar="N", help="images/s of the worked example")
    parser.add_argument("--out", type=Path, default=Path("reports"), metavar="DIR")


def run(options: argparse.Namespace) -> int:
    """Writes capacity.{json,md}. Raises OSError or ValueError where the reports do not hold what is needed."""
    costs = fit(json.loads(options.bench.read_text()))
    if not costs:
        raise ValueError(f"{options.bench} has no quality with two sizes at {_MIN_CALLERS} or more callers")
    report = json.loads(options.check.read_text()) if options.check else None
    compared = check(costs, report) if report else None
    held = busy(json.loads(options.ramp.read_text())) if options.ramp else None
    options.out.mkdir(parents=True, exist_ok=True)
    data = {"costs": {name: asdict(cost) for name, cost in costs.items()}, "check": compared, "ramp": held}
    (options.out / "capacity.json").write_text(json.dumps(clean(data), indent=1) + "\n")
    page = options.out / "capacity.md"
    page.write_text(markdown(costs, compared, held, options.rate))
    print(page.read_text())
    return 0


def markdown(
    costs: Mapping[str, Cost], compared: Mapping[str, float] | None, held: Mapping[str, float] | None, rate: float
) -> str:
    """The page: the formula's numbers, a table of sizes, a worked sizing, and the check."""
    lines = [
        "# Cost of an image",
        "",
        "core-ms = base + megapixels × (slope + extra of the output + extra of the input); JPEG in, PNG out has "
        "no extra.",
        "",
        "| quality | base | slope | extras a megapixel | fit's worst error |",
        "|---|---|---|---|---|",
    ]
    for quality, cost in costs.items():
        named = [f"{name} out {v:+.1f}" for name, v in cost.outputs.items()]
        named += [f"{name} in {v:+.1f}" for name, v in cost.inputs.items()]
        extras = ", ".join(named) or "–"
        lines.append(f"| {quality} | {cost.base:.0f} | {cost.slope:.1f} | {extras} | {cost.worst:.0%} |")
    lines += ["", "| core-ms, JPEG to PNG | 0.26 MP | 1 MP | 4 MP | 12 MP | 24 MP |", "|---|---|---|---|---|---|"]
    for quality, cost in costs.items():
        lines.append(f"| {quality} | " + " | ".join(f"{cost.core_ms(mp):.0f}" for mp in (0.26, 1, 4, 12, 24)) + " |")
    quality, cost = next(iter(costs.items()))
    one = cost.core_ms(4)
    share = min(1.0, held["share"]) if held else UTILISATION
    why = "so that the tail stays short"
    if held:
        why = (
            f"at which a ramp of the mixed load had a p99 of {held['p99_ms']:.0f} ms "
            f"(at most {held['p99_target_ms']:.0f})"
        )
    lines += [
        "",
        f"Worked: {rate:g} images/s of 4 MP in `{quality}` are {rate:g} × {one:.0f} core-ms = "
        f"{rate * one / 1000:.1f} cores of work; planned to {share:.0%} of the cores, {why}, "
        f"**{rate * one / 1000 / share:.1f} cores**.",
    ]
    if compared:
        error = compared["predicted_core_ms"] / compared["measured_core_ms"] - 1
        lines += [
            "",
            f"Check with a mixed load: predicted {compared['predicted_core_ms']:.0f} core-ms an image, measured "
            f"{compared['measured_core_ms']:.0f} ({error:+.0%}); predicted {compared['predicted_images_per_s']:.2f} "
            f"images/s at most, measured {compared['measured_images_per_s']:.2f} (closed loop).",
        ]
    return "\n".join(lines) + "\n"


def _extra(row: Mapping[str, Any], plain: Sequence[Mapping[str, Any]]) -> float:
    """What a row costs above the plain row of its size and callers, for each 10⁶ pixels."""
    megapixels = INPUTS[row["input"]][0]
    alike = [
        base["core_ms"]
        for base in plain
        if INPUTS[base["input"]][0] == megapixels and base["concurrency"] == row["concurrency"]
    ]
    if not alike:
        raise ValueError(f"there is no row of {row['input']} in JPEG and PNG to compare the others with")
    return float((row["core_ms"] - alike[0]) / megapixels)
