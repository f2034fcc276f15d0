"""The graph in PyTorch is the graph; skipped where torch is not installed (`make train` installs it)."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import numpy as np
import onnxruntime
import pytest
from onnx import ModelProto, TensorProto, helper

torch = pytest.importorskip("torch")

from cutout_build.quantize.calibrate import alone_scales, best_scale, calibrated  # noqa: E402
from cutout_build.quantize.fake_quant import FakeQuant  # noqa: E402
from cutout_build.quantize.gains import with_gains  # noqa: E402
from cutout_build.quantize.plan import quant_plan  # noqa: E402
from cutout_build.quantize.qdq import QMAX, write_qdq  # noqa: E402
from cutout_build.quantize.torch_graph import TorchGraph  # noqa: E402
from cutout_build.quantize.unit_scale import equalized  # noqa: E402


@pytest.fixture
def image() -> np.ndarray:
    return np.random.default_rng(4).normal(0, 1, (2, 3, 16, 16)).astype(np.float32)


def run(model: ModelProto, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    result: np.ndarray = session.run(None, {"IMAGE": image})[0]
    return result


def test_it_computes_what_onnx_runtime_computes(model: ModelProto, image: np.ndarray) -> None:
    found = TorchGraph(model)({"IMAGE": torch.from_numpy(image)})["MASK"]
    np.testing.assert_allclose(found.detach().numpy(), run(model, image), atol=1e-5)


def test_it_knows_the_operators_of_fused_networks(image: np.ndarray) -> None:
    nodes = [
        helper.make_node("Identity", ["IMAGE"], ["same"]),
        helper.make_node("Mul", ["same", "same"], ["square"]),
        helper.make_node("ReduceMax", ["square"], ["largest"], axes=[1, 2, 3], keepdims=1),
        helper.make_node("Log", ["largest"], ["logarithm"]),
        helper.make_node("Sum", ["square", "logarithm", "IMAGE"], ["MASK"]),
    ]
    made = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ["N", 3, 16, 16]) for name in ("IMAGE", "MASK")]
    graph = helper.make_graph(nodes, "fused", made[:1], made[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    found = TorchGraph(model)({"IMAGE": torch.from_numpy(image)})["MASK"]
    np.testing.assert_allclose(found.numpy(), run(model, image), atol=1e-5)


def test_a_gain_that_joins_activations_fills_their_range(evidence: ModelProto) -> None:
    model = with_gains(evidence)
    plan = quant_plan(model)
    pictures = np.random.default_rng(5).uniform(-0.5, 0.5, (4, 1, 3, 16, 16)).astype(np.float32)
    samples = [{"IMAGE": torch.from_numpy(picture)} for picture in pictures]
    ready = equalized(model, plan, alone_scales(model, plan, iter(samples)))
    largest: dict[str, float] = {}

    def measure(name: str, value: torch.Tensor) -> torch.Tensor:
        largest[name] = max(largest.get(name, 0.0), float(value.detach().abs().max()))
        return value

    for sample in samples:
        TorchGraph(ready)(sample, measure)
    assert largest["twice_scaled"] == pytest.approx(QMAX, rel=0.15)
    assert 0.8 * QMAX < largest["stem"] < 4 * QMAX  # rare outliers are clipped
    np.testing.assert_allclose(run(ready, pictures[0]), run(evidence, pictures[0]), atol=1e-5)


def test_the_student_computes_what_the_written_graph_computes(model: ModelProto, image: np.ndarray) -> None:
    plan, graph = quant_plan(model), TorchGraph(model)
    inputs = {"IMAGE": torch.from_numpy(image)}
    fake = FakeQuant(plan, calibrated(graph, plan, [inputs]))
    student = graph(inputs, fake.activation, fake.weight)["MASK"].detach().numpy()
    written = run(write_qdq(model, plan, fake.values()), image)
    # A value on the border between two steps may fall to either side in the two runtimes, and its neighbours follow.
    differences = np.abs(student - written)
    assert np.median(differences) < 1e-6
    assert differences.mean() < 0.15 * np.abs(student - run(model, image)).mean()


def test_scales_and_weights_get_gradients(model: ModelProto, image: np.ndarray) -> None:
    plan, graph = quant_plan(model), TorchGraph(model)
    fake = FakeQuant(plan, dict.fromkeys(plan.scales, 0.005))
    graph({"IMAGE": torch.from_numpy(image)}, fake.activation, fake.weight)["MASK"].sum().backward()
    assert torch.all(fake.logs.grad != 0)
    assert all(torch.any(weight.grad != 0) for weight in graph.weights.values())


def test_rare_outliers_are_clipped() -> None:
    counts = np.zeros(2048)
    counts[:512] = 1000.0
    assert best_scale(counts, 1.0) == pytest.approx(0.25 / QMAX, rel=0.1)
    counts[-1] = 1e6
    assert best_scale(counts, 1.0) == pytest.approx(1 / QMAX, rel=0.05)
