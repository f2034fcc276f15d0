"""Service-level objectives: `p99_ms<=500`, checked against the figures of a report."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

_FORM = re.compile(r"\s*([a-z0-9_]+)\s*(<=|>=)\s*([0-9.]+)\s*")

#: Figures of a report's summary that an objective may name.
FIGURES = (
    "p50_ms",
    "p95_ms",
    "p99_ms",
    "p99_over_p50",
    "errors",
    "error_share",
    "goodput",
    "goodput_share",
    "refusal_p95_ms",
    "recovery_s",
    "memory_slope_mb_per_min",
    "peak_pss_mb",
)


@dataclass(frozen=True, slots=True)
class Slo:
    """One objective. sense: `<=` or `>=`."""

    figure: str
    sense: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Slo:
        """Raises ValueError with what is allowed."""
        match = _FORM.fullmatch(text)
        if not match or match.group(1) not in FIGURES:
            raise ValueError(f"{text!r} is no objective: FIGURE<=NUMBER or FIGURE>=NUMBER with {', '.join(FIGURES)}")
        return cls(match.group(1), match.group(2), float(match.group(3)))

    def met(self, figures: Mapping[str, float | None]) -> bool:
        """Whether the figure is known and within the bound: what was not measured is not met."""
        value = figures.get(self.figure)
        if value is None or math.isnan(value):
            return False
        return value <= self.bound if self.sense == "<=" else value >= self.bound

    def __str__(self) -> str:
        return f"{self.figure} {self.sense} {self.bound:g}"
