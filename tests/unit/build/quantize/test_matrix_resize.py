"""A resize as two matrix products gives the same numbers, and only where it pays."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import numpy as np
import onnx
import pytest
from onnx import ModelProto, TensorProto, helper, numpy_helper

from cutout_build.quantize import matrix_resize
from cutout_build.quantize.matrix_resize import matrix_resizes
from tests.unit.build.quantize.test_qdq import run
from tests.unit.build.quantize.test_unit_scale import by_openvino


def resizing(
    scale: float, *, channels: int = 1, side: int = 80, mode: str = "linear", centres: str = "half_pixel"
) -> ModelProto:
    """Two resizes, one of another picture: they share their matrices."""
    attributes = {"mode": mode, "coordinate_transformation_mode": centres}
    nodes = [
        helper.make_node("Resize", ["IMAGE", "", "scales"], ["large"], name="one", **attributes),
        helper.make_node("Neg", ["IMAGE"], ["negative"]),
        helper.make_node("Resize", ["negative", "", "scales"], ["other"], name="two", **attributes),
        helper.make_node("Max", ["large", "other"], ["MASK"]),
    ]
    out = int(side * scale)
    graph = helper.make_graph(
        nodes,
        "resizing",
        [helper.make_tensor_value_info("IMAGE", TensorProto.FLOAT, ["N", channels, side, side + 8])],
        [helper.make_tensor_value_info("MASK", TensorProto.FLOAT, ["N", channels, out, int((side + 8) * scale)])],
        [numpy_helper.from_array(np.array([1, 1, scale, scale], np.float32), "scales")],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    onnx.checker.check_model(made, full_check=True)
    return made


def kinds(model: ModelProto) -> list[str]:
    return [node.op_type for node in model.graph.node]


@pytest.mark.parametrize("centres", ["half_pixel", "pytorch_half_pixel", "align_corners"])
@pytest.mark.parametrize("scale", [2, 4, 1.625])
def test_the_products_are_the_resize_in_both_runtimes(scale: float, centres: str) -> None:
    model = resizing(scale, centres=centres)
    image = np.random.default_rng(1).uniform(0, 1, (3, 1, 80, 88)).astype(np.float32)
    changed = matrix_resizes(model)
    onnx.checker.check_model(changed, full_check=True)
    assert kinds(changed).count("MatMul") == 4
    assert kinds(changed).count("Resize") == 2  # of the identity matrices, one a direction
    right = run(model, image)[0]
    assert np.abs(run(changed, image)[0] - right).max() < 2e-6
    assert np.abs(by_openvino(changed, image) - right).max() < 2e-6
    assert changed.ByteSize() < 4000  # the matrices are not stored
    in_blocks = scale != 1.625 and centres != "align_corners"  # places between rows that floats hold, and repeat
    assert ("Gather" in kinds(changed)) == in_blocks


def test_blocks_of_rows_change_no_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    # all sums of these are exact in floats, whatever a runtime's order
    image = np.random.default_rng(1).integers(0, 256, (2, 4, 80, 88)).astype(np.float32) / 256
    in_blocks = matrix_resizes(resizing(4, channels=4))
    monkeypatch.setattr(matrix_resize, "_blocks", lambda resize, size, wanted: 1)
    whole = matrix_resizes(resizing(4, channels=4))
    assert "Gather" in kinds(in_blocks)
    assert "Gather" not in kinds(whole)
    np.testing.assert_array_equal(by_openvino(in_blocks, image), by_openvino(whole, image))


@pytest.mark.parametrize(
    "model",
    [
        resizing(2, channels=16),
        resizing(2, side=32),
        resizing(2, mode="nearest"),
        resizing(0.5, side=400),
    ],
    ids=["many channels", "small", "nearest", "smaller"],
)
def test_other_resizes_stay(model: ModelProto) -> None:
    assert kinds(matrix_resizes(model)) == kinds(model)
