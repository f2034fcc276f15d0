"""The names by which people speak of convolutions."""

from __future__ import annotations

import pytest
from onnx import ModelProto

from cutout_build.quantize.layers import outputs_of, quantized_layers
from cutout_build.quantize.plan import quant_plan


def test_layers_are_described_in_the_graphs_order(model: ModelProto) -> None:
    found = quantized_layers(model, quant_plan(model))
    assert [layer.name for layer in found] == ["second.out", "deep.out", "last.out", "logits"]
    assert [layer.side for layer in found] == [16, 8, 16, 16]
    last = found[2]
    assert (last.kernel, last.inputs, last.outputs) == (3, 16, 8)
    assert last.gmac == pytest.approx(16 * 8 * 9 * 16 * 16 / 1e9)


def test_a_layer_goes_by_its_nodes_name_and_an_unknown_one_is_named(model: ModelProto) -> None:
    (node,) = (node for node in model.graph.node if node.output[0] == "deep.out")
    node.name = "bottom"
    assert outputs_of(model, ["bottom", "logits"]) == ("deep.out", "logits")
    assert quantized_layers(model, quant_plan(model))[1].name == "bottom"
    with pytest.raises(ValueError, match=r"no convolution 'deep\.out'; it has .*bottom"):
        outputs_of(model, ["logits", "deep.out"])
