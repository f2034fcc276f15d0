"""What a run means: samples and the monitor's watch to one JSON-ready object."""

from __future__ import annotations

import math
import os
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from cutout_loadtest.ideal_queue import ideal_p99_over_p50
from cutout_loadtest.monitor import Watch
from cutout_loadtest.open_loop import Sample
from cutout_loadtest.schedule import Phase
from cutout_loadtest.slo import Slo
from cutout_loadtest.stats import Step, knee, percentile, recovery_s, slope, sustained

#: Codes by which the service refuses work that it has no room for.
REFUSALS = ("overloaded",)
#: The memory slope leaves this first part of a run out, in which caches and heaps fill.
_WARM_SHARE = 0.2
#: Seconds of an answer that still counts as good, where --deadline gives none.
DEADLINE_S = 30.0

Json = dict[str, Any]


def build_report(
    setup: Json,
    phases: Sequence[Phase],
    samples: Sequence[Sample],
    watch: Watch,
    slos: Sequence[Slo],
) -> Json:
    """The report. setup: what the run was given (scenario, capacity, deadline_s ...), told as it is.

    Figures that could not be measured are None.
    """
    deadline_s = float(setup.get("deadline_s", DEADLINE_S))
    rows = []
    begin = 0.0
    for index, phase in enumerate(phases):
        rows.append(_phase(phase, begin, [s for s in samples if s.phase == index], samples, deadline_s))
        begin += phase.seconds
    steps = [
        Step(r["offered"], r["goodput"], r["latency_ms"]["p50"], r["latency_ms"]["p99"], r["sent"] / r["seconds"])
        for r in rows
    ]
    is_ramp = setup["scenario"] == "ramp"
    found = knee(steps) if is_ramp else None
    held = sustained(steps, float(setup.get("p99_target_ms", math.inf))) if is_ramp else None
    summary = _summary(setup, rows, phases, samples, watch, deadline_s)
    verdicts = [{"slo": str(slo), "value": clean(summary.get(slo.figure)), "met": slo.met(summary)} for slo in slos]
    report = {
        **setup,
        "phases": rows,
        "summary": summary,
        "slo": verdicts,
        "knee": asdict(found) if found else None,
        "sustained": asdict(held) if held else None,
        "stages_ms": _stages(samples),
        "kinds": _kinds(samples),
        "server": _server(watch, samples),
        "generator": _generator(watch, samples),
    }
    cleaned: Json = clean(report)
    return cleaned


def clean(value: Any) -> Any:
    """NaN and infinity become None, which JSON can say; floats are rounded."""
    if isinstance(value, float):
        return round(value, 4) if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: clean(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [clean(entry) for entry in value]
    return value


def percentiles(values: Sequence[float]) -> dict[str, float]:
    """p50, p90, p95, p99, p99.9 and the largest."""
    named = {f"p{percent:g}": percentile(values, percent) for percent in (50, 90, 95, 99, 99.9)}
    return {**named, "max": max(values, default=math.nan)}


def _phase(phase: Phase, begin: float, own: Sequence[Sample], everything: Sequence[Sample], deadline_s: float) -> Json:
    end = begin + phase.seconds
    good = [s for s in own if s.ok]
    in_time = [s for s in everything if s.ok and begin <= s.done < end and s.latency_ms <= deadline_s * 1000]
    refused = [(s.first_byte - s.sent) * 1000 for s in own if s.status in REFUSALS]
    return {
        "name": phase.name,
        "offered": phase.rate,
        "seconds": phase.seconds,
        "sent": len(own),
        "ok": len(good),
        "goodput": len(in_time) / phase.seconds,
        "latency_ms": percentiles([s.latency_ms for s in good]),
        "errors": dict(Counter(s.status for s in own if not s.ok)),
        "refusal_ms": percentiles(refused),
    }


def _summary(
    setup: Json,
    rows: Sequence[Json],
    phases: Sequence[Phase],
    samples: Sequence[Sample],
    watch: Watch,
    deadline_s: float,
) -> dict[str, float]:
    """The figures that objectives may name, of the whole run; goodput and refusals of its heaviest phase."""
    heaviest = max(rows, key=lambda row: row["offered"])
    latencies = [s.latency_ms for s in samples if s.ok]
    errors = sum(not s.ok for s in samples)
    capacity = float(setup.get("capacity") or math.nan)
    p50, p99 = percentile(latencies, 50), percentile(latencies, 99)
    recovery = math.nan
    if setup["scenario"] == "burst":
        end = phases[0].seconds + phases[1].seconds
        after = [(s.intended - end, s.latency_ms if s.ok else math.inf) for s in samples if s.intended >= end]
        recovery = recovery_s([s.latency_ms for s in samples if s.ok and s.phase == 0], after)
    own_machine = bool(watch.times) and capacity > 0
    intended = sorted(s.intended for s in samples)
    return {
        "p50_ms": p50,
        "p95_ms": percentile(latencies, 95),
        "p99_ms": p99,
        "p99_over_p50": p99 / p50 if p50 else math.nan,
        "ideal_p99_over_p50": ideal_p99_over_p50(intended, os.cpu_count() or 1, capacity) if own_machine else math.nan,
        "errors": float(errors),
        "error_share": errors / len(samples) if samples else math.nan,
        "goodput": heaviest["goodput"],
        "goodput_share": heaviest["goodput"] / capacity,
        "refusal_p95_ms": heaviest["refusal_ms"]["p95"],
        "recovery_s": recovery,
        "memory_slope_mb_per_min": _memory_slope(watch, _WARM_SHARE),
        "memory_slope_second_half": _memory_slope(watch, 0.5),
        "peak_pss_mb": max(watch.pss_mb, default=math.nan),
    }


def _memory_slope(watch: Watch, left_out: float) -> float:
    """MB a minute after the first `left_out` (0..1) of the run."""
    first = left_out * watch.seconds
    steady = [(at / 60, mb) for at, mb in zip(watch.times, watch.pss_mb, strict=True) if at >= first]
    return slope([at for at, _ in steady], [mb for _, mb in steady])


def _stages(samples: Sequence[Sample]) -> Json:
    """The server's own times of the good answers by stage, and beside them the client's, from the actual send.

    `outside` is what lies between the two: the network, the server's accept queue, and this process.
    """
    stages: dict[str, list[float]] = defaultdict(list)
    for sample in samples:
        if sample.ok:
            client = (sample.done - sample.sent) * 1000
            stages["client"].append(client)
            for name, value in sample.timings_ms.items():
                stages[name].append(value)
            if "total" in sample.timings_ms:
                stages["outside"].append(client - sample.timings_ms["total"])
    ordered = sorted(stages.items(), key=lambda item: -percentile(item[1], 50))
    return {
        name: {"p50": percentile(v, 50), "p95": percentile(v, 95), "p99": percentile(v, 99), "mean": sum(v) / len(v)}
        for name, v in ordered
    }


def _kinds(samples: Sequence[Sample]) -> Json:
    kinds: dict[str, list[Sample]] = defaultdict(list)
    for sample in samples:
        kinds[sample.kind].append(sample)
    return {
        kind: {
            "sent": len(own),
            "ok": sum(s.ok for s in own),
            "p50_ms": percentile([s.latency_ms for s in own if s.ok], 50),
            "p99_ms": percentile([s.latency_ms for s in own if s.ok], 99),
        }
        for kind, own in sorted(kinds.items())
    }


def _server(watch: Watch, samples: Sequence[Sample]) -> Json:
    """Of the server's processes, where they run on this machine; else all None."""
    if not watch.times:
        return {"processes": None, "core_ms_per_image": None, "cores": None, "pss_mb": None}
    good = sum(s.ok for s in samples)
    return {
        "processes": watch.processes,
        "core_ms_per_image": watch.cpu_s * 1000 / good if good else None,
        "cores": watch.cpu_s / watch.seconds,
        "pss_mb": {"begin": watch.pss_mb[0], "peak": max(watch.pss_mb), "end": watch.pss_mb[-1]},
        "times_s": watch.times,
        "series_mb": watch.pss_mb,
    }


def _generator(watch: Watch, samples: Sequence[Sample]) -> Json:
    """What the load itself cost, and how punctual it was: a late generator measures itself."""
    both = watch.own_cpu_s + watch.cpu_s
    return {
        "cores": watch.own_cpu_s / watch.seconds if watch.seconds else None,
        "cpu_ms_per_request": watch.own_cpu_s * 1000 / len(samples) if samples else None,
        "share_of_cpu": watch.own_cpu_s / both if watch.times and both else None,
        "foreign_cores": watch.foreign_cores,
        "lag_ms": percentiles([s.lag_ms for s in samples]),
    }
