from __future__ import annotations

import threading
from collections.abc import Iterator

import cv2
import pytest

from cutout_core.imaging.batch import BatchMapper, limit_threads


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
