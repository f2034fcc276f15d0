"""Pixel unshuffling with the channels last: where it is done, and that answers stay, with a real OpenVINO."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

from collections.abc import Callable

import numpy as np
import openvino as ov
import pytest
from openvino import opset13 as op

from cutout_core.serving.channels_last import with_channels_last

CHANNELS, SIDE = 3, 8


def _unshuffled(node: ov.Node, factor: int, between: Callable[[ov.Node], ov.Node] = lambda node: node) -> ov.Node:
    """As PyTorch exports `pixel_unshuffle`; `between` comes behind its Transpose."""
    small = SIDE // factor
    six = op.reshape(node, np.int64([1, CHANNELS, small, factor, small, factor]), special_zero=False)
    moved = between(op.transpose(six, np.int64([0, 1, 3, 5, 2, 4])))
    return op.reshape(moved, np.int64([1, CHANNELS * factor**2, small, small]), special_zero=False)


def _convolved(node: ov.Node) -> ov.Node:
    depth = node.shape[1]
    weights = np.random.default_rng(2).normal(0, 1, (4, depth, 3, 3)).astype(np.float32)
    return op.convolution(node, weights, [1, 1], [1, 1], [1, 1], [1, 1])


def _quantized(node: ov.Node) -> ov.Node:
    low, high = np.float32(-3), np.float32(3)
    return op.fake_quantize(node, low, high, low, high, 256)


def _scaled_by_channel(node: ov.Node) -> ov.Node:
    return op.multiply(node, np.arange(1, 1 + CHANNELS, dtype=np.float32).reshape(1, CHANNELS, 1, 1, 1, 1))


def _before_and_after(make: Callable[[ov.Node], list[ov.Node]]) -> tuple[list[np.ndarray], list[np.ndarray], int]:
    image = np.random.default_rng(1).normal(0, 1, (1, CHANNELS, SIDE, SIDE)).astype(np.float32)
    answers, changed = [], 0
    for change in (False, True):
        x = op.parameter([1, CHANNELS, SIDE, SIDE], np.float32)
        model = ov.Model(make(x), [x])
        changed = with_channels_last(model) if change else 0
        compiled = ov.Core().compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        answers.append([np.array(value) for value in compiled([image]).values()])
    return answers[0], answers[1], changed


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        pytest.param(lambda x: [_convolved(_unshuffled(x, 2))], 1, id="halved"),
        pytest.param(lambda x: [_convolved(_unshuffled(x, 4))], 1, id="quartered"),
        pytest.param(lambda x: [_convolved(_quantized(_unshuffled(x, 2, _quantized)))], 1, id="quantized"),
        pytest.param(lambda x: [_unshuffled(x, 2)], 1, id="the answer itself"),
        pytest.param(
            lambda x: [_convolved(_unshuffled(x, 2)), _convolved(_unshuffled(x, 4))], 2, id="one beside another"
        ),
        pytest.param(lambda x: [_unshuffled(x, 2, _scaled_by_channel)], 0, id="other factors for other channels"),
        pytest.param(
            lambda x: [op.reshape(_unshuffled(x, 2), np.int64([1, -1]), special_zero=False)], 1, id="reshaped again"
        ),
        pytest.param(lambda x: [_unshuffled(_convolved_to_itself(x), 2)], 1, id="of a convolution"),
    ],
)
def test_the_answers_stay(make: Callable[[ov.Node], list[ov.Node]], expected: int) -> None:
    before, after, changed = _before_and_after(make)
    assert changed == expected
    for old, new in zip(before, after, strict=True):
        assert old.std() > 0.1
        np.testing.assert_allclose(new, old, atol=1e-5)


def _convolved_to_itself(node: ov.Node) -> ov.Node:
    weights = np.random.default_rng(3).normal(0, 1, (CHANNELS, CHANNELS, 1, 1)).astype(np.float32)
    return op.convolution(node, weights, [1, 1], [0, 0], [0, 0], [1, 1])


def test_what_something_else_reads_too_stays_where_it_is() -> None:
    seen: list[ov.Node] = []

    def shown(node: ov.Node) -> ov.Node:
        seen.append(op.reduce_sum(node, np.int64([1]), keep_dims=False))
        return node

    def make(x: ov.Node) -> list[ov.Node]:
        return [_unshuffled(x, 2, shown), seen.pop()]

    before, after, changed = _before_and_after(make)
    assert changed == 0
    for old, new in zip(before, after, strict=True):
        np.testing.assert_array_equal(new, old)


def test_another_reshape_stays_as_it_is() -> None:
    def make(x: ov.Node) -> list[ov.Node]:
        six = op.reshape(x, np.int64([1, CHANNELS, 4, 2, 4, 2]), special_zero=False)
        return [op.reshape(op.transpose(six, np.int64([0, 1, 3, 5, 2, 4])), np.int64([CHANNELS, 4, 4, 4]), False)]

    before, after, changed = _before_and_after(make)
    assert changed == 0
    np.testing.assert_array_equal(after[0], before[0])
