"""What the served product is to reach, as data, and whether it did."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from cutout_loadtest.bench.plan import CUTOUT, LIBRARY, LIBRARY_THREADS, SERVER
from cutout_loadtest.bench.rows import Row, best

_SIZES = ("512 px jpeg", "4 MP jpeg", "12 MP jpeg")


@dataclass(frozen=True, slots=True)
class Target:
    """One figure of one quality. at_least: the sense; else the figure may be at most `bound`."""

    text: str
    quality: str
    bound: float
    measure: Callable[[Sequence[Row]], float | None]
    at_least: bool = True


@dataclass(frozen=True, slots=True)
class Verdict:
    """value: None where the run has not the rows for it."""

    target: Target
    value: float | None

    @property
    def reached(self) -> bool | None:
        if self.value is None:
            return None
        return self.value >= self.target.bound if self.target.at_least else self.value <= self.target.bound


def check(rows: Sequence[Row]) -> list[Verdict]:
    """A verdict on every target."""
    return [Verdict(target, target.measure(rows)) for target in TARGETS]


def largest_memory(rows: Sequence[Row]) -> Row | None:
    """The row of the service with the highest PSS, whatever its input, quality and callers; None without one."""
    return max((row for row in rows if row["system"] == CUTOUT), key=lambda row: row["pss_mb"], default=None)


def _best(rows: Sequence[Row], system: str, size: str, *, quality: str = "", callers: int | None = None) -> Row | None:
    """The fastest row of a system that gives PNG; the peer's quality is empty. callers None: at any concurrency."""
    wanted = {"system": system, "quality": quality, "input": size, "output": "png"}
    own = [row for row in rows if all(row[key] == value for key, value in wanted.items())]
    return best([row for row in own if callers in (None, row["concurrency"])])


def _rate(quality: str, size: str) -> Callable[[Sequence[Row]], float | None]:
    """Best rate over the best of the peer's server."""

    def measure(rows: Sequence[Row]) -> float | None:
        own = _best(rows, CUTOUT, size, quality=quality)
        return own["ratio_vs_peer"] if own else None

    return measure


def _rate_vs_library(quality: str, size: str) -> Callable[[Sequence[Row]], float | None]:
    """Best rate over that of the peer's library on four threads."""

    def measure(rows: Sequence[Row]) -> float | None:
        own = _best(rows, CUTOUT, size, quality=quality)
        peer = _best(rows, LIBRARY, size, callers=LIBRARY_THREADS)
        return own["images_per_s"] / peer["images_per_s"] if own and peer else None

    return measure


def _latency(quality: str, size: str) -> Callable[[Sequence[Row]], float | None]:
    """The p50 of the peer's server over ours, one caller each."""

    def measure(rows: Sequence[Row]) -> float | None:
        own = _best(rows, CUTOUT, size, quality=quality, callers=1)
        peer = _best(rows, SERVER, size, callers=1)
        return peer["p50_ms"] / own["p50_ms"] if own and peer else None

    return measure


def _tail(quality: str) -> Callable[[Sequence[Row]], float | None]:
    """p95 / p50 with eight callers, the worst size."""

    def measure(rows: Sequence[Row]) -> float | None:
        own = [_best(rows, CUTOUT, size, quality=quality, callers=8) for size in _SIZES]
        return max((row["p95_ms"] / row["p50_ms"] for row in own if row), default=None)

    return measure


def _share(quality: str) -> Callable[[Sequence[Row]], float | None]:
    """Best served rate over the in-process rate, the worst size."""

    def measure(rows: Sequence[Row]) -> float | None:
        own = [_best(rows, CUTOUT, size, quality=quality) for size in _SIZES]
        shares = [row["share_of_in_process"] for row in own if row]
        return min((share for share in shares if share is not None), default=None)

    return measure


def _memory(quality: str) -> Callable[[Sequence[Row]], float | None]:
    """Peak PSS of all processes, 12 MP with eight callers, GB."""

    def measure(rows: Sequence[Row]) -> float | None:
        own = _best(rows, CUTOUT, _SIZES[2], quality=quality, callers=8)
        return own["pss_mb"] / 1000 if own else None

    return measure


def _targets() -> list[Target]:
    made: list[Target] = []
    bounds = {"fast": ((4.6, 8, 11), (4, 7, 10)), "standard": ((3.2, 6, 9), (3, 5.5, 9))}
    for quality, (rates, latencies) in bounds.items():
        for size, bound in zip(_SIZES[:2], rates[:2], strict=True):
            made.append(Target(f"rate against the peer's server, {size}", quality, bound, _rate(quality, size)))
        size = _SIZES[2]
        made.append(
            Target(
                f"rate against the peer's library on 4 threads, {size}",
                quality,
                rates[2],
                _rate_vs_library(quality, size),
            )
        )
        for size, bound in zip(_SIZES, latencies, strict=True):
            made.append(
                Target(f"p50 against the peer's server, 1 caller, {size}", quality, bound, _latency(quality, size))
            )
        made += [
            Target("p95 / p50 with 8 callers, worst size", quality, 1.5, _tail(quality), at_least=False),
            Target("share of the in-process rate, worst size", quality, 0.85, _share(quality)),
            Target("peak memory, 12 MP with 8 callers, GB", quality, 1.5, _memory(quality), at_least=False),
        ]
    return made


TARGETS = _targets()
