from __future__ import annotations

import math
import statistics

import pytest

from cutout_loadtest.closed_loop import percentile


def test_percentiles_of_known_values() -> None:
    values = [float(value) for value in range(1, 102)]
    assert percentile(values, 50) == statistics.median(values)
    assert percentile(values, 95) == pytest.approx(96.0)
    assert percentile([7.0], 95) == 7.0
    assert math.isnan(percentile([], 50))
