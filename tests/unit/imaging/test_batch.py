from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest

from cutout_core.imaging import batch
from cutout_core.imaging.batch import BatchMapper, limit_threads, take_idle_cores


@pytest.fixture
def _restored_threads() -> Iterator[None]:
    before = cv2.getNumThreads()
    yield
    cv2.setNumThreads(before)


@pytest.mark.parametrize("threads", [1, 3])
def test_results_keep_the_order_of_the_rows(threads: int) -> None:
    mapper = BatchMapper(threads)
    try:
        assert mapper.map(lambda row: row * row, range(20)) == [row * row for row in range(20)]
        assert mapper.map(lambda row: row, []) == []
        assert mapper.map(lambda row: row, iter([7])) == [7]
    finally:
        mapper.close()


def test_rows_run_at_the_same_time() -> None:
    mapper = BatchMapper(2)
    meeting = threading.Barrier(2, timeout=10)
    try:
        assert sorted(mapper.map(lambda _: meeting.wait(), range(2))) == [0, 1]
    finally:
        mapper.close()


@pytest.mark.usefixtures("_restored_threads")
def test_limit_threads_is_opencvs() -> None:
    limit_threads(1)
    assert cv2.getNumThreads() == 1


@pytest.mark.usefixtures("_restored_threads")
@pytest.mark.parametrize(
    ("load", "threads"),
    [
        ("0.10 0.20 0.30 1/500 77\n", 4),  # only the reader itself
        ("0.10 0.20 0.30 7/500 77\n", 2),
        ("0.10 0.20 0.30 8/500 77\n", 1),
        ("9.10 0.20 0.30 30/500 77\n", 1),
        ("0.00 0.00 0.00 0/0 0\n", 4),  # what a sandbox may show
        ("nothing of the kind", 4),
        (None, 4),
    ],
)
def test_opencv_has_the_cores_that_are_idle(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, load: str | None, threads: int
) -> None:
    monkeypatch.setattr(batch, "_LOAD", tmp_path / "loadavg")
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    if load is not None:
        (tmp_path / "loadavg").write_text(load)
    take_idle_cores(4)
    assert cv2.getNumThreads() == threads
