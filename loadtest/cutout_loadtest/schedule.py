"""When requests are sent: phases of a rate, and the instants of an arrival process, drawn before the run.

A schedule that is fixed beforehand is what makes a load open: a slow server cannot delay the next arrival.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

#: Poisson: exponential gaps, as of many independent callers. Constant: equal gaps.
ARRIVALS = ("poisson", "constant")


@dataclass(frozen=True, slots=True)
class Phase:
    """`rate` requests a second for `seconds`. Raises ValueError where either is not above 0."""

    name: str
    rate: float
    seconds: float

    def __post_init__(self) -> None:
        if not (self.rate > 0 and self.seconds > 0):
            raise ValueError(f"phase {self.name!r} needs a rate and seconds above 0")


@dataclass(frozen=True, slots=True)
class Arrival:
    """One intended start: seconds from the beginning of the run, and the index of its phase."""

    at: float
    phase: int


def arrivals(phases: Sequence[Phase], process: str, seed: int) -> list[Arrival]:
    """The intended starts of all phases in order; equal arguments give equal schedules.

    Raises ValueError where `process` is none of ARRIVALS.
    """
    if process not in ARRIVALS:
        raise ValueError(f"{process!r} is no arrival process; known are {', '.join(ARRIVALS)}")
    generator = random.Random(seed)
    result: list[Arrival] = []
    begin = 0.0
    for index, phase in enumerate(phases):
        instants = _poisson(phase.rate, generator) if process == "poisson" else _constant(phase.rate)
        for at in instants:
            if at >= phase.seconds:
                break
            result.append(Arrival(begin + at, index))
        begin += phase.seconds
    return result


def _poisson(rate: float, generator: random.Random) -> Iterator[float]:
    at = 0.0
    while True:
        at += generator.expovariate(rate)
        yield at


def _constant(rate: float) -> Iterator[float]:
    for number in itertools.count():
        yield number / rate
