"""Placement of Q/DQ: a right graph passes, and each way to spoil it is told with the node's name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest
from onnx import ModelProto, helper, numpy_helper

from cutout_build.gpu.qdq import check_placement, has_qdq
from tests.unit.build.gpu.quantized import CHANNELS, quantized_graph, replace


def test_a_right_graph_has_no_fault() -> None:
    model = quantized_graph()
    onnx.checker.check_model(model, full_check=True)
    assert has_qdq(model)
    placement = check_placement(model)
    assert placement.faults == ()
    assert (placement.convolutions, placement.quantized, placement.pairs) == (1, 1, 1)


def zero_point(model: ModelProto) -> None:
    replace(model, "zero", np.asarray(np.int8(3)))


def unsigned(model: ModelProto) -> None:
    replace(model, "zero", np.asarray(np.uint8(0)))


def weight_zero_point(model: ModelProto) -> None:
    replace(model, "w_zero", np.array([0, 0, 1, 0], np.int8))


def scaled_to_nothing(model: ModelProto) -> None:
    replace(model, "scale", np.asarray(np.float32(0)))


def one_scale_for_weights(model: ModelProto) -> None:
    replace(model, "w_scale", np.asarray(np.float32(0.01)))
    replace(model, "w_zero", np.asarray(np.int8(0)))


def wrong_axis(model: ModelProto) -> None:
    model.graph.node[2].attribute[0].i = 1


def quantized_bias(model: ModelProto) -> None:
    replace(model, "bias", np.ones(CHANNELS, np.int32))
    bias = helper.make_node("DequantizeLinear", ["bias", "w_scale"], ["b"], "dq_bias", axis=0)
    model.graph.node.insert(0, bias)
    model.graph.node[4].input[2] = "b"


def data_left_out(model: ModelProto) -> None:
    model.graph.node[3].input[0] = "image"


def between_conv_and_relu(model: ModelProto) -> None:
    pair = [
        helper.make_node("QuantizeLinear", ["c", "scale", "zero"], ["cq"], "cq"),
        helper.make_node("DequantizeLinear", ["cq", "scale", "zero"], ["cdq"], "cdq"),
    ]
    model.graph.node[4].input[0] = "cdq"
    for index, node in enumerate(pair):
        model.graph.node.insert(4 + index, node)


@pytest.mark.parametrize(
    ("spoil", "fault"),
    [
        (zero_point, "QuantizeLinear 'q': its zero point is not 0"),
        (unsigned, "QuantizeLinear 'q': its type is UINT8, not INT8"),
        (weight_zero_point, "DequantizeLinear 'dq_w': its zero point is not 0"),
        (scaled_to_nothing, "QuantizeLinear 'q': its scale is not positive"),
        (one_scale_for_weights, "Conv 'conv': its weights have 1 scales on axis 0, not 4 on axis 0"),
        (wrong_axis, "Conv 'conv': its weights have 4 scales on axis 1, not 4 on axis 0"),
        (quantized_bias, "DequantizeLinear 'dq_bias': dequantizes a constant of INT32, not INT8; a bias stays"),
        (data_left_out, "Conv 'conv': its data are not quantized, its weights are"),
        (between_conv_and_relu, "stands between Conv 'conv' and its Relu and keeps them apart"),
    ],
)
def test_a_spoilt_graph_is_told(spoil: Callable[[ModelProto], None], fault: str) -> None:
    model = quantized_graph()
    spoil(model)
    assert any(fault in found for found in check_placement(model).faults)


def test_a_graph_without_qdq_is_not_quantized() -> None:
    model = quantized_graph()
    del model.graph.node[:3]
    model.graph.initializer.append(numpy_helper.from_array(np.zeros((CHANNELS, 3, 3, 3), np.float32), "w"))
    model.graph.node[0].input[0] = "image"
    assert not has_qdq(model)
