"""What is changed in the built INT8 graphs when a CPU compiles them: another converter or OpenVINO may name the same
computation otherwise, and the changes would then silently find nothing."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import openvino as ov
import pytest

from cutout_core.contract.engine import graph_name
from cutout_core.contract.paths import engines_root
from cutout_core.serving.fixed_batch import CHANGES, read_fixed

pytestmark = pytest.mark.triton


@pytest.mark.parametrize(
    ("engine", "unshuffled", "unsigned", "resized"), [("segmentation", 0, 235, 33), ("matting", 2, 28, 2)]
)
def test_the_int8_graphs_are_changed_for_the_cpu(engine: str, unshuffled: int, unsigned: int, resized: int) -> None:
    model = read_fixed(ov.Core(), engines_root() / engine / graph_name("int8"), 1)
    assert [change(model) for change in CHANGES] == [unshuffled, unsigned, resized]
