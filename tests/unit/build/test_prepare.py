"""A published graph into the served one: same function, another shape."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
from numpy.typing import NDArray

from cutout_build.errors import BuildError
from cutout_build.prepare import facts, prepare
from tests.unit.build.graphs import CHANNELS, SIZE, published_graph

Array = NDArray[np.float32]


def run(model: onnx.ModelProto | Path, image: Array) -> list[Array]:
    source = str(model) if isinstance(model, Path) else model.SerializeToString()
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    results: list[Array] = session.run(None, {session.get_inputs()[0].name: image})
    return results


@pytest.fixture
def images() -> Array:
    return np.random.default_rng(1).normal(0, 1, (3, 3, SIZE, SIZE)).astype(np.float32)


@pytest.fixture
def published(tmp_path: Path) -> Path:
    return published_graph(tmp_path / "published.onnx")


def test_the_mask_is_the_published_one_brought_to_the_alphas_size(published: Path, images: Array) -> None:
    mask = run(prepare(published, SIZE, 17, {}), images[:1])[0]
    reference = cv2.resize(run(published, images[:1])[0][0, 0], (512, 512), interpolation=cv2.INTER_LINEAR)
    assert mask.shape == (1, 1, 512, 512)
    assert np.abs(mask[0, 0] - reference).max() < 1e-5


def test_a_batch_is_like_its_rows(published: Path, images: Array) -> None:
    model = prepare(published, SIZE, 17, {})
    together = run(model, images)[0]
    alone = np.concatenate([run(model, image[None])[0] for image in images])
    assert together.shape == (3, 1, 512, 512)
    assert np.abs(together - alone).max() < 1e-6


def test_the_graph_is_what_every_runtime_takes(published: Path) -> None:
    model = prepare(published, SIZE, 17, {"license": "Apache-2.0", "source": "a test"})
    graph = model.graph
    dims = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*graph.input, *graph.output]
    }
    assert dims == {"IMAGE": ["N", 3, SIZE, SIZE], "MASK": ["N", 1, 512, 512]}
    assert [entry.version for entry in model.opset_import] == [17]
    assert {tensor.data_type for tensor in graph.initializer} == {onnx.TensorProto.FLOAT}
    assert {node.op_type for node in graph.node} == {"Conv", "Relu", "MaxPool", "Resize", "Concat", "Sigmoid", "Clip"}
    read = {name for node in graph.node for name in node.input}
    assert {tensor.name for tensor in graph.initializer} <= read
    names = [node.name for node in graph.node]
    assert all(names)
    assert len(set(names)) == len(names)
    assert {entry.key: entry.value for entry in model.metadata_props} == {"license": "Apache-2.0", "source": "a test"}
    assert (model.producer_name, model.ir_version) == ("cutout_build", 8)


def test_preparing_twice_gives_the_same_bytes(published: Path) -> None:
    first, second = (prepare(published, SIZE, 17, {"a": "b"}) for _ in range(2))
    assert first.SerializeToString(deterministic=True) == second.SerializeToString(deterministic=True)


def test_the_counts_are_those_of_the_convolutions(published: Path) -> None:
    found = facts(prepare(published, SIZE, 17, {}))
    full, half = SIZE * SIZE, SIZE * SIZE // 4
    macs = full * (3 * 9 * CHANNELS + 2 * CHANNELS * 9 * CHANNELS + CHANNELS) + half * CHANNELS * 9 * CHANNELS
    assert found.gmac == pytest.approx(macs / 1e9)
    weights = 3 * 9 * CHANNELS + CHANNELS * 9 * CHANNELS + 2 * CHANNELS * 9 * CHANNELS + CHANNELS
    assert found.parameters == weights + 3 * CHANNELS + 1
    assert found.opset == 17


def test_a_nearly_constant_channel_is_recentred_and_the_function_stays(tmp_path: Path, images: Array) -> None:
    source = published_graph(tmp_path / "constant.onnx", constant_bias=300.0)
    model = prepare(source, SIZE, 17, {})
    reference = cv2.resize(run(source, images[:1])[0][0, 0], (512, 512), interpolation=cv2.INTER_LINEAR)
    assert reference.std() > 0.01
    assert np.abs(run(model, images[:1])[0][0, 0] - reference).max() < 1e-4
    assert [node.op_type for node in model.graph.node].count("Max") == 1
    largest = max(float(np.abs(onnx.numpy_helper.to_array(t)).max()) for t in model.graph.initializer if t.name == "b1")
    assert largest < 1.0


def test_the_recentred_relu_still_cuts_at_zero(tmp_path: Path, images: Array) -> None:
    """Inputs so strong that the channel is cut at zero here and there; nothing but this channel reaches the mask."""
    source = published_graph(tmp_path / "constant.onnx", constant_bias=1.0)
    published = onnx.load(source)
    fuse = next(tensor for tensor in published.graph.initializer if tensor.name == "w2")
    weights = onnx.numpy_helper.to_array(fuse).copy()
    weights[:, [channel for channel in range(2 * CHANNELS) if channel != 1]] = 0
    fuse.CopyFrom(onnx.numpy_helper.from_array(weights, "w2"))
    half = [1, CHANNELS, SIZE // 2, SIZE // 2]
    published.graph.output.append(onnx.helper.make_tensor_value_info("c1", onnx.TensorProto.FLOAT, half))
    onnx.save(published, source)

    strong = images[:1] * np.float32(1500)
    mask, *_, channel = run(source, strong)
    assert 0.05 < (channel[:, 1] < 0).mean() < 0.95
    reference = cv2.resize(mask[0, 0], (512, 512), interpolation=cv2.INTER_LINEAR)
    moved = prepare(source, SIZE, 17, {})
    assert "Max" in {node.op_type for node in moved.graph.node}
    assert reference.std() > 0.01
    assert np.abs(run(moved, strong)[0][0, 0] - reference).max() < 1e-4


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"opset": 10}, "opset 10"),
        ({"size": 64}, "the catalogue says"),
    ],
)
def test_a_graph_of_another_family_is_refused(tmp_path: Path, change: dict[str, int], reason: str) -> None:
    source = published_graph(tmp_path / "published.onnx")
    if "opset" in change:
        model = onnx.load(source)
        kept = [node for node in model.graph.node if node.op_type == "Conv" and node.input[0] == "input.1"]
        del model.graph.node[:], model.graph.output[1:]
        model.graph.node.extend(kept)
        model.graph.output[0].CopyFrom(onnx.helper.make_tensor_value_info("c0", 1, [1, CHANNELS, SIZE, SIZE]))
        model.opset_import[0].version = change["opset"]
        onnx.save(model, source)
    with pytest.raises(BuildError, match=reason):
        prepare(source, change.get("size", SIZE), 17, {})


def test_what_is_no_graph_is_refused(tmp_path: Path) -> None:
    (tmp_path / "no.onnx").write_bytes(b"not a graph")
    with pytest.raises(BuildError, match=r"no\.onnx is not a valid ONNX graph"):
        prepare(tmp_path / "no.onnx", SIZE, 17, {})
