"""A run's report on disk: JSON, a page of Markdown, and plots."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path

from cutout_loadtest.charts import line_chart
from cutout_loadtest.report import Json


def write_report(report: Json, folder: Path) -> Path:
    """Writes loadtest_<scenario>.{json,md} and its plots into `folder`, with `_constant` in the names where requests
    came at equal gaps; returns the page."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"loadtest_{report['scenario']}" + ("_constant" if report["arrivals"] == "constant" else "")
    plots: dict[str, str] = {}
    if report["scenario"] == "ramp":
        plots["curve"] = _curve(report)
    if report["server"].get("times_s"):
        plots["memory"] = line_chart(
            "Memory of the server's processes (PSS)",
            "seconds",
            "MB",
            {"PSS": list(zip(report["server"]["times_s"], report["server"]["series_mb"], strict=True))},
        )
    for plot, svg in plots.items():
        (folder / f"{name}_{plot}.svg").write_text(svg)
    (folder / f"{name}.json").write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n")
    page = folder / f"{name}.md"
    page.write_text(markdown(report, [f"{name}_{plot}.svg" for plot in plots]))
    return page


def _curve(report: Json) -> str:
    rows = report["phases"]
    lines = {
        percent: [(row["offered"], _number(row["latency_ms"][percent])) for row in rows]
        for percent in ("p50", "p95", "p99")
    }
    knee, held = report["knee"], report["sustained"]
    marks = {"knee": knee["offered"]} if knee else {}
    if held:
        marks["sustained"] = held["offered"]
    return line_chart("Latency from the intended start, by offered rate", "requests/s", "ms", lines, marks)


def markdown(report: Json, plots: Sequence[str] = ()) -> str:
    """The page."""
    server, generator = report["server"], report["generator"]
    lines = [
        f"# Load test: {report['scenario']}",
        "",
        f"{report['began']}, commit {report['commit']}; sent from {report['cores']} cores ({report['cpu']}). "
        f"{report['protocol']}, {report['arrivals']} arrivals, seed {report['seed']}. Capacity "
        f"{report['capacity']:.2f} images/s ({report['capacity_from']}). Latency counts from the intended start; good "
        f"is an answer within {report['deadline_s']:g} s.",
        "",
        *_verdicts(report),
        *_ideal(report),
        "| phase | offered /s | goodput /s | sent | p50 ms | p95 ms | p99 ms | p99.9 ms | errors | refused p95 ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in report["phases"]:
        latency = row["latency_ms"]
        errors = ", ".join(f"{code} {count}" for code, count in sorted(row["errors"].items())) or "none"
        figures = " | ".join(_shown(latency[name]) for name in ("p50", "p95", "p99", "p99.9"))
        lines.append(
            f"| {row['name']} | {row['offered']:.2f} | {row['goodput']:.2f} | {row['sent']} | {figures} | {errors} | "
            f"{_shown(row['refusal_ms']['p95'])} |"
        )
    if report["knee"]:
        lines += ["", f"Knee (most goodput for its latency): **{report['knee']['offered']:.2f} requests/s**."]
    if report["sustained"]:
        lines.append(
            f"Highest step that, with all below it, kept 95 % of what was offered and the p99 asked for: "
            f"**{report['sustained']['offered']:.2f} requests/s**."
        )
    lines += ["", "## Where the time goes (ms)", "", "| stage | p50 | p95 | p99 | mean |", "|---|---|---|---|---|"]
    for stage, row in report["stages_ms"].items():
        lines.append(f"| {stage} | " + " | ".join(_shown(row[key]) for key in ("p50", "p95", "p99", "mean")) + " |")
    lines += [
        "",
        "`client` is the whole exchange as seen here, from the actual send; `total` the same by the server's clock, "
        "`outside` the difference. The others are parts of `total`.",
        "",
        "## By kind of request",
        "",
        "| kind | sent | ok | p50 ms | p99 ms |",
        "|---|---|---|---|---|",
    ]
    for kind, row in report["kinds"].items():
        lines.append(f"| {kind} | {row['sent']} | {row['ok']} | {_shown(row['p50_ms'])} | {_shown(row['p99_ms'])} |")
    lines += ["", "## The machine", ""]
    if server["processes"]:
        lines.append(
            f"- Server: {server['processes']} processes, {_shown(server['cores'], 2)} cores, "
            f"{_shown(server['core_ms_per_image'])} core-ms an image; memory {server['pss_mb']['begin']:.0f} MB at the "
            f"beginning, {server['pss_mb']['peak']:.0f} at most, {server['pss_mb']['end']:.0f} at the end; slope "
            f"{_shown(report['summary']['memory_slope_mb_per_min'], 2)} MB/min after the first fifth, "
            f"{_shown(report['summary']['memory_slope_second_half'], 2)} in the second half."
        )
    else:
        lines.append(
            "- Server: CPU and memory were not measured: its processes run on another machine, or this user may not "
            "read them."
        )
    share = generator["share_of_cpu"]
    of_both = "" if share is None else f" ({share:.1%} of what it and the server used)"
    lines += [
        f"- Generator: {_shown(generator['cores'], 3)} cores{of_both}, "
        f"{_shown(generator['cpu_ms_per_request'], 2)} ms a request; it sent "
        f"{_shown(generator['lag_ms']['p99'])} ms late at the 99th percentile.",
        f"- Other processes of the machine used {_shown(generator['foreign_cores'], 2)} cores meanwhile.",
        "",
        *(f"![{plot}]({plot})" for plot in plots),
    ]
    return "\n".join(lines) + "\n"


def _verdicts(report: Json) -> list[str]:
    if not report["slo"]:
        return []
    rows = [f"| {v['slo']} | {_shown(v['value'], 2)} | {'met' if v['met'] else '**missed**'} |" for v in report["slo"]]
    return ["| objective | measured | |", "|---|---|---|", *rows, ""]


def _ideal(report: Json) -> list[str]:
    ideal = report["summary"].get("ideal_p99_over_p50")
    if report["scenario"] != "soak" or ideal is None:
        return []
    return [
        "The same arrivals at a perfect server of this capacity and as many cores, where every request costs the "
        f"same, would have p99 = {_shown(ideal, 2)} × p50: what chance alone makes wait.",
        "",
    ]


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _shown(value: float | None, digits: int = 1) -> str:
    return "–" if value is None else f"{value:.{digits}f}"
