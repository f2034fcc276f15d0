"""Layers on projections learn what the wide ones computed; skipped where torch is not installed."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import numpy as np
import onnx
import pytest
from onnx import ModelProto

torch = pytest.importorskip("torch")

from cutout_build.quantize.low_rank import with_low_ranks  # noqa: E402
from cutout_build.quantize.refit import moments, refitted  # noqa: E402
from cutout_build.quantize.torch_graph import TorchGraph  # noqa: E402
from tests.unit.build.quantize.test_qdq import run  # noqa: E402


def pictures(seed: int, count: int) -> list[dict[str, torch.Tensor]]:
    rng = np.random.default_rng(seed)
    return [{"IMAGE": torch.from_numpy(rng.normal(0, 1, (1, 3, 16, 16)).astype(np.float32))} for _ in range(count)]


def loss(changed: ModelProto, model: ModelProto) -> float:
    """Mean squared difference of what reaches the head, on pictures that nothing was fitted to."""
    held = np.concatenate([picture["IMAGE"].numpy() for picture in pictures(9, 8)])
    found, wanted = (run(one, held, also=("last",))[-1] for one in (changed, model))
    return float(np.square(found - wanted).mean())


def test_moments_are_means_over_all_pixels(model: ModelProto) -> None:
    given = pictures(1, 2)
    found = moments(TorchGraph(model), ["second"], given)["second"]
    values = np.concatenate([run(model, one["IMAGE"].numpy(), also=("second",))[-1] for one in given])
    rows = values.transpose(1, 0, 2, 3).reshape(8, -1)
    assert np.allclose(found, rows @ rows.T / rows.shape[1], rtol=1e-4)


def test_fitting_loses_less_than_the_projection_alone(model: ModelProto) -> None:
    given, said = pictures(1, 8), []
    fitted = refitted(model, {"last.out": (3, 3)}, given, said.append)
    onnx.checker.check_model(fitted, full_check=True)
    alone = with_low_ranks(model, {"last.out": (3, 3)}, moments(TorchGraph(model), ["deep", "second"], given))
    assert loss(fitted, model) < 0.9 * loss(alone, model)
    assert said[0].startswith("last.out on 3 + 3 channels")


@pytest.mark.parametrize("changed", [{"dilations": [2, 2], "pads": [2] * 4}, {"strides": [2, 2]}, {"pads": [0] * 4}])
def test_a_layer_that_does_not_keep_the_size_is_refused(model: ModelProto, changed: dict[str, list[int]]) -> None:
    conv = next(node for node in model.graph.node if node.output[0] == "second.out")
    kept = [one for one in conv.attribute if one.name not in changed]
    del conv.attribute[:]
    conv.attribute.extend([*kept, *(onnx.helper.make_attribute(name, value) for name, value in changed.items())])
    del model.graph.node[next(n for n, node in enumerate(model.graph.node) if node.op_type == "MaxPool") :]
    model.graph.output[0].name = "second"
    with pytest.raises(ValueError, match=r"second\.out: only a convolution"):
        refitted(model, {"second.out": (4,)}, pictures(1, 2), lambda text: None)


def test_a_layer_that_nothing_passes_stays_a_layer_of_numbers(model: ModelProto) -> None:
    bias = next(tensor for tensor in model.graph.initializer if tensor.name == "last.bias")
    bias.CopyFrom(onnx.numpy_helper.from_array(np.full(8, -1e3, np.float32), bias.name))
    fitted = refitted(model, {"last.out": (3, 3)}, pictures(1, 4), lambda text: None)
    assert all(np.isfinite(onnx.numpy_helper.to_array(tensor)).all() for tensor in fitted.graph.initializer)
