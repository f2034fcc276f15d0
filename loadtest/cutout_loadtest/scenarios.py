"""The three scenarios as phases, relative to what the service can do at all, and what each must reach."""

from __future__ import annotations

from collections.abc import Sequence

from cutout_loadtest.schedule import Phase
from cutout_loadtest.slo import Slo

#: Steps of the ramp, as shares of capacity.
RAMP = (0.2, 0.4, 0.6, 0.7, 0.8, 0.9, 1.0, 1.1, 1.25)
#: The soak's rate, and the burst's before, within and after, as shares of capacity.
SOAK, CALM, BURST = 0.8, 0.5, 2.0

#: Requirements of a scenario where --slo gives none.
DEFAULT_SLOS: dict[str, tuple[str, ...]] = {
    "ramp": (),
    "soak": ("errors<=0", "p99_over_p50<=3", "memory_slope_mb_per_min<=1"),
    "burst": ("goodput_share>=0.9", "refusal_p95_ms<=50", "recovery_s<=5"),
}


def phases(scenario: str, capacity: float, seconds: float) -> list[Phase]:
    """The phases of a scenario. seconds: of one step of the ramp, of the whole soak, or of the burst itself.

    Raises ValueError for another scenario.
    """
    if scenario == "ramp":
        return [Phase(f"{share:.0%}", share * capacity, seconds) for share in RAMP]
    if scenario == "soak":
        return [Phase("soak", SOAK * capacity, seconds)]
    if scenario == "burst":
        calm = CALM * capacity
        return [
            Phase("before", calm, seconds),
            Phase("burst", BURST * capacity, seconds),
            Phase("after", calm, seconds),
        ]
    raise ValueError(f"there is no scenario {scenario!r}; known are {', '.join(DEFAULT_SLOS)}")


def slos(scenario: str, given: Sequence[str]) -> list[Slo]:
    """The requirements: those given, else the scenario's own. Raises ValueError for one that cannot be read."""
    return [Slo.parse(text) for text in given or DEFAULT_SLOS[scenario]]
