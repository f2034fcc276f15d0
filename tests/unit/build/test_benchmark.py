"""What is concluded from the benchmark's figures, the report and the chart, and the peers' worker."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from cutout_build.errors import BuildError
from cutout_build.quality import decontamination, peers, timing
from cutout_build.quality.benchmark import ColorRow, ModeRow, Results, Row
from cutout_build.quality.benchmark_report import Context, write_benchmark
from cutout_build.quality.methods import (
    CLOSED_FORM,
    END_TO_END,
    FAST,
    GIVEN,
    HIGH,
    ONE_PASS,
    REMBG,
    REMBG_CLOSED_FORM,
    STANDARD,
    TILES,
    UPSCALED,
)
from cutout_build.quality.metrics import Scores
from cutout_build.quality.peers import Peers
from cutout_build.quality.targets import targets
from cutout_build.quality.timing import TimeRow

TIMES = [
    TimeRow(0.5, timing.CLOSED_FORM, 10.0),
    TimeRow(0.5, timing.MATTING, 0.1),
    TimeRow(0.5, timing.TILES, 0.4),
    TimeRow(0.5, timing.MULTILEVEL, 1.0),
    TimeRow(0.5, timing.COLORS, 0.02),
]


def scores(error: float, iou: float = 0.9) -> Scores:
    """Every error is the same."""
    return Scores(error, error, error, error, error, iou)


def results(**given: float) -> Results:
    """The set `stamps`; `given` overrides the error of a method end to end."""
    ends = {REMBG: 10.0, REMBG_CLOSED_FORM: 8.0, "isnet": 6.0, FAST: 9.0, STANDARD: 7.0, HIGH: 5.0} | given
    trues = {UPSCALED: 10.0, CLOSED_FORM: 6.0, ONE_PASS: 6.0, TILES: 5.1}
    rows = [Row("stamps", END_TO_END, name, 2, scores(error, 1 - error / 100), error) for name, error in ends.items()]
    rows += [Row("stamps", GIVEN, name, 2, scores(error), error) for name, error in trues.items()]
    colors = [
        ColorRow("stamps", decontamination.MULTILEVEL, 2, 10.0),
        ColorRow("stamps", decontamination.OURS, 2, 12.0),
    ]
    return Results(rows, [ModeRow("stamps", GIVEN, "auto", 2, scores(6.0))], colors)


def missed(found: Results) -> list[str]:
    return [aim.name for aim in targets(found, TIMES) if not aim.reached]


def test_targets_tell_what_was_reached_and_what_not() -> None:
    assert missed(results()) == [
        "stamps, true mask: the same, stretch",
        "stamps: colour error in the band ÷ multilevel's",
        "0.5 MP: seconds, matting stage, native tiles ÷ closed form (pymatting)",
    ]


def test_high_is_held_against_the_best_method_whichever_it_is() -> None:
    names = missed(results(isnet=4.0))
    assert [name for name in names if "isnet" in name] == [
        f"stamps, end to end: high's {metric} ÷ the best other's (isnet)"
        for metric in ("sad", "mse", "mae", "grad", "band", "iou")
    ]


def test_standard_must_beat_rembg_in_iou_too() -> None:
    found = results()
    found.rows[0] = Row("stamps", END_TO_END, REMBG, 2, scores(10.0, 0.95), 10.0)
    assert "stamps, end to end: standard's iou ÷ rembg's" in missed(found)


def test_what_was_not_measured_is_no_target() -> None:
    assert targets(Results(), []) == []


def test_the_report_has_every_row_and_names_what_was_missed(tmp_path: Path) -> None:
    context = Context("benchmark", {"matting": "ab" * 32}, "int8")
    page = write_benchmark(tmp_path, tmp_path / "images", results(), TIMES, context).read_text()
    data = json.loads((tmp_path / "quality.json").read_text())
    assert len(data["rows"]) == 10
    assert sum(not aim["reached"] for aim in data["targets"]) == page.count("**not reached**") == 3
    assert "| ours, high | 5.00 | 5.00 | 5.00 | 5.0000 | 5.0 | 0.9500 | 5.0 |" in page
    chart = (tmp_path / "images" / "quality_stamps.svg").read_text()
    assert chart.count("#1769aa") == 5
    assert "rembg (u2netp) + closed form" in chart


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A worker that answers with the inverted mask, run by this Python."""
    worker = tmp_path / "worker.py"
    worker.write_text(
        "import json, sys\nimport numpy as np\nprint('{}', flush=True)\n"
        "for line in sys.stdin:\n"
        "    request = json.loads(line)\n"
        "    if request['method'] == 'broken': sys.exit(3)\n"
        "    np.save(request['out'], 255 - np.load(request['mask']))\n"
        "    print(json.dumps({'seconds': 1.5}), flush=True)\n"
    )
    monkeypatch.setenv("CUTOUT_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(peers, "_WORKER", worker)
    monkeypatch.setattr(peers, "peers_python", lambda: Path(sys.executable))
    monkeypatch.setattr(peers, "fetch", lambda artifact: worker)
    return worker


PHOTO, MASK = np.zeros((2, 3, 3), np.uint8), np.full((2, 3), 55, np.uint8)


def test_a_peers_result_is_kept(stand_in: Path) -> None:
    with Peers() as first:
        alpha, seconds = first.run("closed_form", PHOTO, MASK)
        assert first.measure("closed_form", PHOTO, MASK) == 1.5
    assert alpha.tolist() == [[200] * 3] * 2
    stand_in.unlink()
    with Peers() as second:
        again, kept = second.run("closed_form", PHOTO, MASK)
    assert again.tolist() == alpha.tolist()
    assert kept == seconds == 1.5


@pytest.mark.usefixtures("stand_in")
def test_a_worker_that_ends_is_an_error() -> None:
    with Peers() as started, pytest.raises(BuildError, match="status 3"):
        started.run("broken", PHOTO, MASK)
