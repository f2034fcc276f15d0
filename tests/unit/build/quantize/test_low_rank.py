"""Layers on projections: where these are put, what they lose, and that fitting wins some of it back."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import numpy as np
import onnx
import pytest
from onnx import ModelProto

from cutout_build.quantize.low_rank import Part, parse_ranks, parts_of, split, with_low_ranks
from cutout_build.quantize.plan import PROJECTION, quant_plan
from tests.unit.build.quantize.test_qdq import run

#: Inputs of the layer "last.out" of the fixture `model`, with moments that treat all channels alike.
ALIKE = {"deep": np.eye(8), "second": np.eye(8)}


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(5).uniform(-0.5, 0.5, (2, 3, 16, 16)).astype(np.float32)


def test_the_parts_of_a_layer_begin_before_their_resize(model: ModelProto) -> None:
    assert parts_of(model, "last.out") == [Part("deep", "up"), Part("second", "second")]
    assert parts_of(model, "deep.out") == [Part("pooled", "pooled")]


def test_projections_stand_before_resize_and_concatenation(model: ModelProto) -> None:
    changed = with_low_ranks(model, {"last.out": (3, 5)}, ALIKE)
    onnx.checker.check_model(changed, full_check=True)
    made_by = {node.output[0]: node for node in changed.graph.node}
    last = made_by["last.out"]
    joined = made_by[last.input[0]]
    assert joined.op_type == "Concat"
    resized, second = (made_by[name] for name in joined.input)
    assert resized.op_type == "Resize"
    assert made_by[resized.input[0]].input[0] == "deep"
    assert second.input[0] == "second"
    sizes = {tensor.name: tuple(tensor.dims) for tensor in changed.graph.initializer}
    assert sizes["deep_for_last.out"] == (3, 8, 1, 1)
    assert sizes["second_for_last.out"] == (5, 8, 1, 1)
    assert sizes[last.input[1]] == (8, 8, 3, 3)


def test_what_only_the_wide_layer_read_is_gone(model: ModelProto) -> None:
    changed = with_low_ranks(model, {"last.out": (3, 5)}, ALIKE)
    made = [name for node in changed.graph.node for name in node.output]
    assert "joined" not in made
    assert "up" not in made


def test_at_full_rank_the_network_is_the_same(model: ModelProto, image: np.ndarray) -> None:
    changed = with_low_ranks(model, {"last.out": (8, 8)}, ALIKE)
    assert np.abs(run(changed, image)[0] - run(model, image)[0]).max() < 1e-5


def test_a_head_of_one_output_needs_no_more_channels_than_taps() -> None:
    """Its weights are a matrix of 9 × 8 for 8 channels, and of 9 × 64 in U²-Net-p: 9 channels lose nothing."""
    weights = np.random.default_rng(2).normal(size=(1, 64, 3, 3))
    projection, rest = split(weights, np.diag(np.linspace(0.1, 3, 64)), 9)
    assert np.allclose(np.einsum("orhw,ri->oihw", rest, projection), weights, atol=1e-9)


def test_the_channels_that_are_kept_are_those_that_matter() -> None:
    """Of two channels that a layer weights alike the one with values is kept, and comes out at a mean square of 1."""
    projection, rest = split(np.ones((4, 2, 1, 1)), np.diag([9.0, 1e-4]), 1)
    assert abs(projection[0, 0]) == pytest.approx(1 / 3, rel=1e-3)
    assert np.allclose(rest[:, 0, 0, 0] * projection[0, 0], 1, rtol=1e-3)


def test_a_lower_rank_loses_what_the_moments_say() -> None:
    rng = np.random.default_rng(6)
    mix = rng.normal(size=(8, 8)) * np.geomspace(3, 0.03, 8)
    values, weights = mix @ rng.normal(size=(8, 5000)), rng.normal(size=(4, 8, 1, 1))
    whole = weights[:, :, 0, 0] @ values
    losses = []
    for rank in (1, 2, 3, 4):
        projection, rest = split(weights, values @ values.T / 5000, rank)
        losses.append(np.square(whole - rest[:, :, 0, 0] @ (projection @ values)).mean() / np.square(whole).mean())
    blind, left = split(weights, np.eye(8), 2)
    assert losses == sorted(losses, reverse=True)
    assert losses[3] < 1e-12  # four outputs need no more than four channels
    assert losses[1] < np.square(whole - left[:, :, 0, 0] @ (blind @ values)).mean() / np.square(whole).mean()


def test_projections_are_quantized_with_the_layer_that_reads_them(model: ModelProto) -> None:
    plan = quant_plan(with_low_ranks(model, {"last.out": (3, 5)}, ALIKE))
    assert {f"deep_for_last.out{PROJECTION}", f"second_for_last.out{PROJECTION}", "last.out"} <= set(plan.convs)
    assert plan.groups[f"deep_for_last.out{PROJECTION}"] == plan.groups["last.out_parts"]


def test_a_layer_that_is_not_there_or_has_other_parts_is_named(model: ModelProto) -> None:
    with pytest.raises(ValueError, match="no convolution 'other'"):
        with_low_ranks(model, {"other": (4,)}, ALIKE)
    with pytest.raises(ValueError, match=r"last\.out reads 2 tensors, but 1 ranks"):
        with_low_ranks(model, {"last.out": (4,)}, ALIKE)


def test_a_layer_with_groups_or_shared_weights_is_refused(model: ModelProto) -> None:
    first, second = (node for node in model.graph.node if node.output[0] in ("second.out", "deep.out"))
    own = second.input[1]
    second.input[1] = first.input[1]
    with pytest.raises(ValueError, match=r"deep\.out has groups, or shares its weights"):
        with_low_ranks(model, {"deep.out": (4,)}, {"pooled": np.eye(8)})
    second.input[1] = own
    second.attribute.append(onnx.helper.make_attribute("group", 2))
    with pytest.raises(ValueError, match=r"deep\.out has groups, or shares its weights"):
        with_low_ranks(model, {"deep.out": (4,)}, {"pooled": np.eye(8)})


def test_a_concatenation_of_rows_is_one_part(model: ModelProto) -> None:
    joined = next(node for node in model.graph.node if node.op_type == "Concat")
    joined.attribute[0].i = 2
    assert parts_of(model, "last.out") == [Part("joined", "joined")]


def test_ranks_are_read_from_the_command_line() -> None:
    assert parse_ranks(["Conv_810=16,32", "Conv_945=9"]) == {"Conv_810": (16, 32), "Conv_945": (9,)}


@pytest.mark.parametrize("text", ["Conv_810", "=4", "Conv_810=", "Conv_810=4,", "Conv_810=0", "Conv_810=four"])
def test_other_ranks_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no LAYER=RANK"):
        parse_ranks([text])
