"""What the cut-outs are to reach, held against what was measured. Nothing here changes a measure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from cutout_build.quality import decontamination, timing
from cutout_build.quality.benchmark import Results
from cutout_build.quality.cases import SETS
from cutout_build.quality.methods import (
    CLOSED_FORM,
    END_TO_END,
    GIVEN,
    HIGH,
    HIGH_INT8,
    ONE_PASS,
    REMBG,
    REMBG_CLOSED_FORM,
    STANDARD,
    TILES,
    UPSCALED,
)
from cutout_build.quality.metrics import Scores
from cutout_build.quality.timing import TimeRow

#: Metric to whether more is better.
METRICS = {"sad": False, "mse": False, "mae": False, "grad": False, "band": False, "iou": True}


@dataclass(frozen=True, slots=True)
class Target:
    """One aim. measured and bound: the figure and what it may be at most; a ratio's bound is the aimed ratio."""

    name: str
    measured: float
    bound: float

    @property
    def reached(self) -> bool:
        return self.measured <= self.bound


def targets(results: Results, times: Sequence[TimeRow]) -> list[Target]:
    """Every target for which both sides were measured."""
    found = []
    for name in SETS:
        found += [*_given(results, name), *_standard(results, name), *_high(results, name), *_colors(results, name)]
    return found + list(_times(times))


def _given(results: Results, name: str) -> Iterator[Target]:
    mask, peer = (results.scores(name, GIVEN, method) for method in (UPSCALED, CLOSED_FORM))
    one, tiles = (results.scores(name, GIVEN, method) for method in (ONE_PASS, TILES))
    if mask is None or peer is None or one is None or tiles is None:
        return
    yield Target(f"{name}, true mask: band of the native tiles ÷ closed form's", tiles.band / peer.band, 0.9)
    yield Target(f"{name}, true mask: the same, stretch", tiles.band / peer.band, 0.7)
    yield Target(f"{name}, true mask: band of the 512² pass ÷ closed form's", one.band / peer.band, 1.0)
    yield Target(f"{name}, true mask: MAE of the 512² pass ÷ the upscaled mask's", one.mae / mask.mae, 1.0)
    yield Target(f"{name}, true mask: MAE of the native tiles ÷ the upscaled mask's", tiles.mae / mask.mae, 1.0)


def _standard(results: Results, name: str) -> Iterator[Target]:
    standard = results.scores(name, END_TO_END, STANDARD)
    rembg, matted = (results.scores(name, END_TO_END, method) for method in (REMBG, REMBG_CLOSED_FORM))
    if standard is None or rembg is None or matted is None:
        return
    for metric in METRICS:
        yield Target(f"{name}, end to end: standard's {metric} ÷ rembg's", _worse(standard, rembg, metric), 1.0)
    for metric in ("band", "grad"):
        aim = f"{name}, end to end: standard's {metric} ÷ that of rembg with closed form"
        yield Target(aim, _worse(standard, matted, metric), 1.0)


def _high(results: Results, name: str) -> Iterator[Target]:
    standard, high = (results.scores(name, END_TO_END, method) for method in (STANDARD, HIGH))
    if standard is None or high is None:
        return
    rows = [row for row in results.rows if row.set == name and row.setting == END_TO_END]
    others = [row for row in rows if row.method not in (HIGH, HIGH_INT8)]
    for metric in METRICS:
        worst = max(others, key=lambda row, m=metric: _worse(high, row.scores, m))  # type: ignore[misc]
        aim = f"{name}, end to end: high's {metric} ÷ the best other's ({worst.method})"
        yield Target(aim, _worse(high, worst.scores, metric), 1.0)
    if name == "hair":
        yield Target("hair (over 1 MP, native detail): band of high ÷ standard's", high.band / standard.band, 0.85)


def _colors(results: Results, name: str) -> Iterator[Target]:
    ours, peer = (results.color_error(name, m) for m in (decontamination.OURS, decontamination.MULTILEVEL))
    if ours is not None and peer is not None:
        yield Target(f"{name}: colour error in the band ÷ multilevel's", ours / peer, 1.1)


def _times(times: Sequence[TimeRow]) -> Iterator[Target]:
    seconds = {(row.megapixels, row.method): row.seconds for row in times}
    for size in sorted({row.megapixels for row in times}):
        for ours, peer, bound in (
            (timing.MATTING, timing.CLOSED_FORM, 1 / 50),
            (timing.TILES, timing.CLOSED_FORM, 1 / 50),
            (timing.COLORS, timing.MULTILEVEL, 1 / 20),
        ):
            yield Target(f"{size:.1f} MP: seconds, {ours} ÷ {peer}", seconds[size, ours] / seconds[size, peer], bound)


def _worse(ours: Scores, other: Scores, metric: str) -> float:
    """Ours relative to the other's, below 1 where ours is better; of IoU, what is missing to 1 is compared."""
    mine, theirs = getattr(ours, metric), getattr(other, metric)
    return float((1 - mine) / (1 - theirs)) if METRICS[metric] else float(mine / theirs)
