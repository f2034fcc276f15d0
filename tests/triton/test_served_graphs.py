"""What is changed in the built INT8 graphs when a CPU compiles them: another converter or OpenVINO may name the same
computation otherwise, and the changes would then silently find nothing."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import openvino as ov
import pytest

from cutout_core.contract.engine import graph_name
from cutout_core.contract.paths import engines_root
from cutout_core.serving.channels_last import with_channels_last
from cutout_core.serving.resizes import with_resized_bytes
from cutout_core.serving.unsigned import with_unsigned_activations

pytestmark = pytest.mark.triton


@pytest.mark.parametrize(
    ("engine", "unshuffled", "unsigned", "resized"), [("segmentation", 0, 235, 33), ("matting", 2, 28, 2)]
)
def test_the_int8_graphs_are_changed_for_the_cpu(engine: str, unshuffled: int, unsigned: int, resized: int) -> None:
    model = ov.Core().read_model(engines_root() / engine / graph_name("int8"))
    model.reshape({tensor: [1, *list(tensor.partial_shape)[1:]] for tensor in model.inputs})
    found = with_channels_last(model), with_unsigned_activations(model), with_resized_bytes(model)
    assert found == (unshuffled, unsigned, resized)
