"""Plan, rows, targets, report and cost formula of the benchmark, on results made up with known answers."""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import pytest

from cutout_loadtest.bench.command import add_parser, out_folder
from cutout_loadtest.bench.measure import Journal, Result
from cutout_loadtest.bench.plan import CUTOUT, CUTOUT_HIGH, INPUTS, LIBRARY, SERVER, STAGES, SYSTEMS, Cell, cells
from cutout_loadtest.bench.quiet import warnings
from cutout_loadtest.bench.report import markdown, write_bench
from cutout_loadtest.bench.rows import KEYS, Row, make_rows
from cutout_loadtest.bench.systems import usual_engines
from cutout_loadtest.bench.targets import check
from cutout_loadtest.capacity import Cost, busy, fit
from cutout_loadtest.capacity import check as check_cost
from cutout_loadtest.capacity import markdown as cost_page


def made(cell: Cell, repeat: int = 0, rate: float = 2.0, core_ms: float = 500.0) -> Result:
    return Result(
        cell=cell,
        repeat=repeat,
        images=4,
        images_per_s=rate,
        latencies_ms=[100.0, 110.0, 120.0, 130.0],
        core_ms=core_ms,
        pss_mb=900.0 + repeat,
        bytes_out=1e6,
        errors={},
        generator_cores=0.02,
        foreign_cores=0.01,
        calibration_ms=20.0,
    )


ORIGIN = {"began": "2026-01-02 03:04:05 UTC", "commit": "abc1234+", "cpu": "Some CPU", "cores": 2}


def whole_run(ours: float = 20.0, peer: float = 2.0) -> list[Row]:
    """Every cell once: ours at a rate of `ours` served and 22 in process, the peer at `peer`; 40 core-ms + 25 a MP."""
    rates = {CUTOUT: ours, STAGES: 22.0, SERVER: peer, LIBRARY: peer}
    plan = cells(["fast", "standard"])
    cost = {cell: 40 + 25 * INPUTS[cell.input][0] + 12 * (cell.output == "webp") for cell in plan}
    return make_rows([made(cell, rate=rates[cell.system], core_ms=cost[cell]) for cell in plan], plan)


def test_the_plan_holds_what_is_compared_and_no_cell_twice() -> None:
    plan = cells(["fast", "standard", "high"])
    assert len(plan) == len(set(plan))
    for name in ("512 px jpeg", "4 MP jpeg", "12 MP jpeg"):
        for callers in (1, 4, 8):
            assert Cell(CUTOUT, "fast", name, "png", callers) in plan
            assert Cell(SERVER, "", name, "png", callers) in plan
        assert Cell(STAGES, "standard", name, "png", 2) in plan
    assert {cell.output for cell in plan} == {"png", "webp", "jpeg"}
    assert {cell.input for cell in plan} == set(INPUTS)


def test_rows_are_medians_and_ratios_to_the_peer_at_its_best() -> None:
    ours, peer = Cell(CUTOUT, "fast", "4 MP jpeg", "png", 4), Cell(SERVER, "", "4 MP jpeg", "png", 1)
    better_peer, alone = Cell(SERVER, "", "4 MP jpeg", "png", 8), Cell(STAGES, "fast", "4 MP jpeg", "png", 2)
    results = [made(alone, rate=12.5), made(better_peer, rate=2.0), made(peer, rate=1.0)]
    results += [made(ours, repeat, rate) for repeat, rate in enumerate((9.0, 12.0, 10.0))]
    rows = make_rows(results, [ours, Cell(CUTOUT, "fast", "4 MP png", "png", 4), peer, better_peer, alone])
    assert [row["concurrency"] for row in rows] == [4, 1, 8, 2]  # the plan's order, without the cell that was not run
    row = rows[0]
    assert set(KEYS) <= set(row)
    assert row["images_per_s"] == 10
    assert row["ratio_vs_peer"] == 5
    assert row["share_of_in_process"] == pytest.approx(0.8)
    assert row["spread"] == pytest.approx(0.3)
    assert row["pss_mb"] == 902
    assert (row["p50_ms"], row["images"]) == (115, 12)


def test_targets_are_judged_in_their_own_sense() -> None:
    verdicts = {(v.target.text, v.target.quality): v for v in check(whole_run())}
    assert len(verdicts) == 18
    rate = verdicts["rate against the peer's server, 4 MP jpeg", "fast"]
    assert (rate.value, rate.reached) == (10, True)
    assert verdicts["rate against the peer's library on 4 threads, 12 MP jpeg", "fast"].reached is False  # 10 of 11
    assert verdicts["p50 against the peer's server, 1 caller, 512 px jpeg", "fast"].reached is False  # equal latencies
    assert verdicts["p95 / p50 with 8 callers, worst size", "standard"].reached is True
    assert verdicts["share of the in-process rate, worst size", "fast"].value == pytest.approx(20 / 22)
    assert verdicts["peak memory, 12 MP with 8 callers, GB", "fast"].reached is True
    assert all(verdict.reached is None for verdict in check([]))


def test_the_report_is_rows_with_the_promised_keys(tmp_path: Path) -> None:
    rows = whole_run()
    page = write_bench(rows, check(rows), ["something was odd"], ORIGIN, tmp_path).read_text()
    assert "**Warning.** something was odd" in page
    assert "**missed**" in page
    assert "\n2026-01-02 03:04:05 UTC, commit abc1234+; 2 cores (Some CPU), " in page
    stored = json.loads((tmp_path / "bench.json").read_text())
    assert len(stored) == len(rows)
    assert all(set(KEYS) <= set(row) for row in stored)
    assert all(ORIGIN.items() <= row.items() for row in stored)
    assert (tmp_path / "bench_rate.svg").read_text().startswith("<svg")


def test_the_journal_survives_an_interrupted_write(tmp_path: Path) -> None:
    journal = Journal(tmp_path, "setting")
    result = made(Cell(SERVER, "", "4 MP jpeg", "png", 1))
    journal.add(result)
    with journal.path.open("a") as file:
        file.write('{"cell": {"system"')
    journal.add(result)
    assert Journal(tmp_path, "setting").read() == [result, result]
    assert Journal(tmp_path, "another").read() == []


def test_a_loud_machine_is_told() -> None:
    assert warnings([20.0, 21.0], {"one": 0.01, "two": 0.1}) == []
    (told,) = warnings([20.0], {"one": 0.05, "two": 0.11, "three": 0.9, "four": 0.0})
    assert "in 2 of 4 rows other processes used more than 0.1 cores, 0.90 in the worst (three)" in told
    assert "up to 50% longer" in warnings([20.0, 30.0], {"one": 0.0})[0]


def test_noisy_rows_are_marked_and_no_others() -> None:
    rows = whole_run()
    assert "†" not in markdown(rows, [], [], ORIGIN)
    rows[3]["foreign_cores"] = 0.2
    page = markdown(rows, [], [], ORIGIN)
    lines = page[page.index("## All rows") :].splitlines()[4:]
    assert [number for number, line in enumerate(lines) if "†" in line] == [3, len(rows) + 1]  # the row and the legend
    assert lines[-1] == "† In a repeat of this row other processes used more than 0.1 cores."


def test_the_most_memory_of_the_service_is_told_beside_the_targets() -> None:
    rows = whole_run()
    for row in rows:
        row["pss_mb"] = 5000.0 if row["system"] != CUTOUT else 1400.0
    rows[0]["pss_mb"] = 2011.0
    assert "service: 2.01 GB (cutout fast · 512 px jpeg → png · 1)." in markdown(rows, check(rows), [], ORIGIN)
    memory = [verdict for verdict in check(rows) if verdict.target.text.startswith("peak memory")]
    assert [verdict.value for verdict in memory] == [1.4, 1.4]
    peers = [row for row in rows if row["system"] != CUTOUT]
    assert "Most memory" not in markdown(peers, [], [], ORIGIN)


@pytest.mark.parametrize(
    ("flags", "whole"),
    [
        ([], True),
        (["--repeats", "5"], True),
        (["--systems", *reversed(SYSTEMS)], True),
        (["--quick"], False),
        (["--only", "4 MP jpeg"], False),
        (["--systems", CUTOUT], False),
        (["--qualities", "fast", "standard"], False),
        (["--repeats", "1"], False),
        (["--seconds", "1"], False),
    ],
)
def test_a_part_of_the_plan_does_not_replace_the_published_report(flags: list[str], whole: bool) -> None:
    parser = argparse.ArgumentParser()
    add_parser(parser.add_subparsers())
    options = parser.parse_args(["bench", "--photo", "a.png", *flags])
    assert out_folder(options) == Path("reports" if whole else "out/bench")
    options = parser.parse_args(["bench", "--photo", "a.png", *flags, "--out", "elsewhere"])
    assert out_folder(options) == Path("elsewhere")


def test_the_cost_formula_is_found_again_and_checked() -> None:
    costs = fit(whole_run())
    assert set(costs) == {"fast", "standard"}
    assert costs["fast"].base == pytest.approx(40)
    assert costs["fast"].slope == pytest.approx(25)
    assert costs["fast"].core_ms(10, "webp") == pytest.approx(40 + 10 * (25 + 12 / 4))
    with pytest.raises(ValueError, match="'tiff' was not measured"):
        costs["fast"].core_ms(1, "png", "tiff")
    mix = {"1 MP jpeg → png, fast": {"share": 1.0, "megapixels": 1, "output": "png", "quality": "fast"}}
    report = {"mix": mix, "server": {"core_ms_per_image": 70.0}, "capacity": 25.0, "cores": 2}
    compared = check_cost(costs, report)
    assert compared["predicted_core_ms"] == pytest.approx(65)
    assert compared["predicted_images_per_s"] == pytest.approx(2000 / 65)
    assert compared["measured_images_per_s"] == 25.0
    assert "predicted 65 core-ms an image, measured 70 (-7%)" in cost_page(costs, compared, None, 50)


def test_a_sizing_plans_with_what_a_ramp_kept() -> None:
    costs = {"fast": Cost(100.0, 25.0)}
    step = {"offered": 16.0, "goodput": 15.9, "p50_ms": 300.0, "p99_ms": 900.0}
    held = busy({"sustained": step, "capacity": 20.0, "p99_target_ms": 1000.0})
    assert held == {"share": 0.8, "p99_target_ms": 1000.0, "p99_ms": 900.0}
    page = cost_page(costs, None, held, 50)
    assert "planned to 80% of the cores" in page
    assert "p99 of 900 ms (at most 1000), **12.5 cores**" in page
    assert "planned to 70% of the cores" in cost_page(costs, None, None, 50)
    with pytest.raises(ValueError, match="no step"):
        busy({"sustained": None, "capacity": 20.0, "p99_target_ms": 1000.0})


def test_quality_high_has_a_server_of_its_own_and_the_other_none_of_its_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan = cells(["fast", "standard", "high"])
    assert {cell.server for cell in plan if cell.quality == "high"} == {CUTOUT_HIGH, STAGES}
    assert {cell.server for cell in plan if cell.quality != "high"} == {CUTOUT, STAGES, SERVER, LIBRARY}
    monkeypatch.setenv("CUTOUT_CACHE", str(tmp_path))
    for name in ("segmentation", "segmentation_high", "matting"):
        (tmp_path / "engines" / name).mkdir(parents=True)
        (tmp_path / "engines" / name / "model.onnx").write_text(name)
    with usual_engines() as cache:
        assert sorted(path.name for path in (cache / "engines").iterdir()) == ["matting", "segmentation"]
        assert (cache / "engines" / "matting" / "model.onnx").read_text() == "matting"
    assert not cache.exists()
    assert (tmp_path / "engines" / "matting" / "model.onnx").is_file()
