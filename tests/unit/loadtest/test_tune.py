"""What `make tune` tries, and which of it it takes."""

from __future__ import annotations

from pathlib import Path

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cutout_loadtest.closed_loop import LoadReport
from cutout_loadtest.tune import (
    INSTANCES,
    ROWS,
    SLOTS,
    THREADS,
    Candidate,
    batchers,
    best,
    sweep,
    table,
    without_dynamic_batching,
)

SOURCE = Path(__file__).parents[3] / "model_repository"


def candidate(name: str, rate: float, latency_ms: float) -> Candidate:
    report = LoadReport(10, rate, [latency_ms] * 10, 0, {})
    return Candidate(name, {SLOTS: name}, [report])


def test_variables_that_are_set_are_not_swept() -> None:
    depths = {int(one.environment[SLOTS]) * int(one.environment[ROWS]) for one in sweep(2, {})}
    assert depths == {4, 6, 8, 12, 16}
    assert len(sweep(2, {})) == len(sweep(16, {})) == 8 * 2
    assert len(sweep(1, {})) == 8
    fixed = sweep(2, {SLOTS: "7", THREADS: "1", "HOME": "/home/somebody"})
    assert [one.environment for one in fixed] == [
        {SLOTS: "7", ROWS: rows, THREADS: "1", INSTANCES: instances}
        for rows in ("1", "2", "4", "8")
        for instances in ("1", "2")
    ]


def test_the_cores_are_one_instance_s_or_halved_between_two() -> None:
    shares = {(one.environment[THREADS], one.environment[INSTANCES]) for one in sweep(6, {})}
    assert shares == {("6", "1"), ("3", "2")}
    assert {one.environment[INSTANCES] for one in sweep(1, {})} == {"1"}
    assert {one.environment[INSTANCES] for one in sweep(2, {INSTANCES: "3"})} == {"3"}
    assert len({one.name for one in sweep(2, {})}) == 16


def test_among_the_equally_fast_the_shorter_tail_wins() -> None:
    slow, fast, alike = candidate("1", 8.0, 50), candidate("2", 10.0, 900), candidate("3", 9.8, 700)
    assert best([slow, fast, alike]) is alike
    assert best([slow, fast]) is fast
    assert table([slow, fast]).splitlines()[2].startswith("| 2 | 10.00 | 0% | 900 |")


def test_the_copy_only_lacks_the_dynamic_batching(tmp_path: Path) -> None:
    without_dynamic_batching(SOURCE, tmp_path)
    configs = [path.relative_to(SOURCE) for path in SOURCE.rglob("*.pbtxt")]
    had = 0
    for path in configs:
        before, after = (
            text_format.Parse((root / path).read_text(), model_config_pb2.ModelConfig()) for root in (SOURCE, tmp_path)
        )
        had += before.HasField("dynamic_batching")
        before.ClearField("dynamic_batching")
        assert before == after
    assert had >= 6
    for path in SOURCE.rglob("*.py"):
        assert (tmp_path / path.relative_to(SOURCE)).read_bytes() == path.read_bytes()


def test_the_four_combinations_differ(tmp_path: Path) -> None:
    four = batchers(SOURCE, tmp_path)
    assert len({tuple(one.environment.values()) for one in four}) == 4
    assert [one.name for one in four][::3] == ["gateway on, Triton on", "gateway off, Triton off"]
