"""The benchmark: every method on every set in both settings, each mode, foreground colours, and time.

What is slow (the peers, the networks' masks) is kept on disk, so a run that was stopped goes on where it was.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from tqdm import tqdm

from cutout_build.quality.cases import SETS, cases
from cutout_build.quality.composites import Composite
from cutout_build.quality.decontamination import color_errors
from cutout_build.quality.methods import Methods
from cutout_build.quality.metrics import Scores, score

#: Pictures of each set: every stamp of the test split once, and procedural subjects.
COUNTS = {"stamps": 26, "hair": 10, "hard": 8, "mixed": 8}
#: Sets on which the peers run too; closed form takes minutes on a picture full of hair.
PEER_SETS = ("stamps", "hair")


@dataclass(frozen=True, slots=True)
class Row:
    """The mean of one method in one setting over the pictures of one set."""

    set: str
    setting: str
    method: str
    count: int
    scores: Scores
    median_band: float


@dataclass(frozen=True, slots=True)
class ModeRow:
    """The mean of `standard` in one mode, one setting and one set."""

    set: str
    setting: str
    mode: str
    count: int
    scores: Scores


@dataclass(frozen=True, slots=True)
class ColorRow:
    """Mean error of foreground colours in one set, 0..255."""

    set: str
    method: str
    count: int
    error: float


@dataclass(slots=True)
class Results:
    """Everything that was measured."""

    rows: list[Row] = field(default_factory=list)
    modes: list[ModeRow] = field(default_factory=list)
    colors: list[ColorRow] = field(default_factory=list)

    def scores(self, name: str, setting: str, method: str) -> Scores | None:
        """The mean of one method, None where it was not run."""
        found = [row for row in self.rows if (row.set, row.setting, row.method) == (name, setting, method)]
        return found[0].scores if found else None

    def color_error(self, name: str, method: str) -> float | None:
        """The mean colour error of one method, None where it was not run."""
        found = [row for row in self.colors if (row.set, row.method) == (name, method)]
        return found[0].error if found else None


def measure(methods: Methods, counts: dict[str, int], seed: int, sets: Sequence[str] = SETS) -> Results:
    """Runs everything on `counts` pictures of each of `sets`. `methods` without peers leaves out what needs them."""
    results = Results()
    for name in sets:
        _measure_set(methods, name, counts[name], seed, results)
    return results


def _measure_set(methods: Methods, name: str, count: int, seed: int, results: Results) -> None:
    peers = methods.peers if name in PEER_SETS else None
    own = Methods(methods.pipeline, methods.networks, peers, methods.int8)
    scores: dict[tuple[str, str], list[Scores]] = defaultdict(list)
    modes: dict[tuple[str, str], list[Scores]] = defaultdict(list)
    colors: dict[str, list[float]] = defaultdict(list)
    made: Composite
    for made in tqdm(cases(name, count, seed), total=count, desc=name, unit="image"):
        for outcome in own.outcomes(made):
            scores[outcome.setting, outcome.method].append(score(outcome.alpha, made.alpha))
        for mode, outcome in own.modes(made):
            modes[outcome.setting, mode].append(score(outcome.alpha, made.alpha))
        if peers is not None:
            for method, error in color_errors(made, peers):
                colors[method].append(error)
    for (setting, method), values in scores.items():
        median = float(np.median([value.band for value in values]))
        results.rows.append(Row(name, setting, method, len(values), Scores.mean(values), median))
    for (setting, mode), values in modes.items():
        results.modes.append(ModeRow(name, setting, mode, len(values), Scores.mean(values)))
    for method, errors in colors.items():
        results.colors.append(ColorRow(name, method, len(errors), float(np.nanmean(errors))))
