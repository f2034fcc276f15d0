from __future__ import annotations

import itertools
import statistics

import pytest

from cutout_loadtest.schedule import Phase, arrivals


def test_constant_arrivals_are_evenly_spaced_within_their_phases() -> None:
    made = arrivals([Phase("a", 2, 2), Phase("b", 4, 1)], "constant", 0)
    assert [(a.at, a.phase) for a in made] == [
        (0, 0), (0.5, 0), (1, 0), (1.5, 0), (2, 1), (2.25, 1), (2.5, 1), (2.75, 1)
    ]  # fmt: skip


def test_poisson_gaps_are_exponential_and_seeded() -> None:
    phases = [Phase("a", 50, 200)]
    made = arrivals(phases, "poisson", 3)
    assert made == arrivals(phases, "poisson", 3) != arrivals(phases, "poisson", 4)
    gaps = [b.at - a.at for a, b in itertools.pairwise(made)]
    assert len(made) == pytest.approx(10_000, rel=0.04)  # four standard deviations
    assert statistics.stdev(gaps) == pytest.approx(1 / 50, rel=0.05)  # mean and deviation are equal
    assert min(gaps) >= 0
    assert made[-1].at < 200


def test_what_is_no_load_is_refused() -> None:
    with pytest.raises(ValueError, match="rate and seconds"):
        Phase("a", 0, 1)
    with pytest.raises(ValueError, match="no arrival process"):
        arrivals([Phase("a", 1, 1)], "bursty", 0)
