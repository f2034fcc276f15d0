"""Weights of fp16 widened, graphs fused, the matting graph adopted: against what is computed outside the graph."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from cutout_build.adopt import adopt
from cutout_build.catalogue import Bounds, Engine, License, Network
from cutout_build.errors import BuildError
from cutout_build.fuse import fuse
from cutout_build.prepare import facts, prepare
from cutout_build.reference import published_answers
from cutout_build.sources import Artifact, FileSource
from cutout_build.widen import widen
from cutout_core.imaging.normalize import NetworkInput
from tests.unit.build.graphs import SIZE, published_graph

LARGE = NetworkInput(4 * SIZE, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0), False)
SMALL = NetworkInput(SIZE, (0.4, 0.5, 0.6), (0.2, 0.3, 0.4), True)


def run(model: onnx.ModelProto, **inputs: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    answer: np.ndarray = session.run(None, inputs)[0]
    return answer


def network(name: str, recipe: NetworkInput, vote: float) -> Network:
    return Network(name, recipe, Artifact(FileSource(name), "0" * 64), vote)


@pytest.fixture
def published(tmp_path: Path) -> list[Path]:
    """One net twice: at the large size and at the small one."""
    large = onnx.load(published_graph(tmp_path / "small.onnx"))
    for value in [*large.graph.input, *large.graph.output]:
        for dim in value.type.tensor_type.shape.dim[2:]:
            dim.dim_value = LARGE.size
    onnx.save(large, tmp_path / "large.onnx")
    return [tmp_path / "large.onnx", tmp_path / "small.onnx"]


def engine(*networks: Network) -> Engine:
    terms = License("CC0-1.0", "a test", "none")
    return Engine("fused", "segmentation_high", True, LARGE, 17, networks, terms, Bounds(1.0, 1.0), (), (1, 8, 16))


def test_a_fused_graph_gives_the_weighted_mean_of_logits_computed_outside(published: list[Path]) -> None:
    networks = network("large", LARGE, 1.5), network("small", SMALL, 1.0)
    parts = [(net, prepare(path, net.recipe.size, 17, {})) for net, path in zip(networks, published, strict=True)]
    fused = fuse(parts, LARGE, 17, {"license": "CC0-1.0"})
    images = np.random.default_rng(0).uniform(-0.5, 0.5, (3, 3, LARGE.size, LARGE.size)).astype(np.float32)
    images[1] = -0.5  # black: nothing to divide by
    masks = run(fused, IMAGE=images)
    reference = published_answers(engine(*networks), published, [{"IMAGE": image} for image in images])
    assert masks.shape == (3, 1, 512, 512)
    assert np.abs(masks - reference).max() < 1e-5
    assert np.abs(masks - run(parts[0][1], IMAGE=images)).max() > 1e-3, "the second network has no say"
    alone = np.concatenate([run(fused, IMAGE=image[None]) for image in images])
    assert np.abs(masks - alone).max() < 1e-6
    assert {p.key: p.value for p in fused.metadata_props} == {"license": "CC0-1.0"}
    assert facts(fused).parameters == 2 * facts(parts[0][1]).parameters


def test_networks_that_do_not_fit_are_refused(published: list[Path]) -> None:
    odd = NetworkInput(3 * SIZE - 1, SMALL.mean, SMALL.std, False)
    net = network("small", SMALL, 1.0)
    with pytest.raises(BuildError, match="cannot be halved"):
        fuse([(net, prepare(published[1], SIZE, 17, {}))], odd, 17, {})


def test_fp16_weights_are_widened_and_their_casts_removed(published: list[Path], tmp_path: Path) -> None:
    """A net stored as exporters of fp16 do: half weights, casts at the input and before the output."""
    reference = onnx.load(published[1])
    model = onnx.load(published[1])
    graph = model.graph
    for tensor in graph.initializer:
        tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float16), tensor.name))
    for tensor in reference.graph.initializer:  # the same rounded weights
        rounded = numpy_helper.to_array(tensor).astype(np.float16).astype(np.float32)
        tensor.CopyFrom(numpy_helper.from_array(rounded, tensor.name))
    for node in graph.node:
        node.input[:] = ["half" if name == "input.1" else name for name in node.input]
        if node.op_type == "Sigmoid":
            node.output[0] += "_half"
    graph.node.insert(0, helper.make_node("Cast", ["input.1"], ["half"], to=TensorProto.FLOAT16))
    for value in graph.output:
        graph.node.append(helper.make_node("Cast", [f"{value.name}_half"], [value.name], to=TensorProto.FLOAT))
    assert widen(model) == len(graph.initializer)
    assert [node.op_type for node in graph.node if node.op_type == "Cast"] == []
    assert {tensor.data_type for tensor in graph.initializer} == {TensorProto.FLOAT}
    image = np.random.default_rng(0).normal(0, 1, (1, 3, SIZE, SIZE)).astype(np.float32)
    np.testing.assert_array_equal(run(model, **{"input.1": image}), run(reference, **{"input.1": image}))
    assert widen(model) == 0
    backwards = list(reversed(model.graph.node))  # an order that ONNX does not allow, but exporters write
    del model.graph.node[:]
    model.graph.node.extend(backwards)
    onnx.save(model, tmp_path / "backwards.onnx")
    assert run(prepare(tmp_path / "backwards.onnx", SIZE, 17, {}), IMAGE=image).shape == (1, 1, 512, 512)


def matting_graph(path: Path, *, batch: int | str = "batch", opset: int = 17, output: str = "ALPHA") -> Path:
    """The mask, a little darker where the image is; the mode is added to no effect."""
    kinds = {"IMAGE": (TensorProto.UINT8, 3), "MASK": (TensorProto.FLOAT, 1)}
    values = [helper.make_tensor_value_info(n, kind, [batch, c, 512, 512]) for n, (kind, c) in kinds.items()]
    values.append(helper.make_tensor_value_info("MODE", TensorProto.FLOAT, [batch, 3, 1, 1]))
    nodes = [
        helper.make_node("Cast", ["IMAGE"], ["float"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMean", ["float"], ["grey"], axes=[1]),
        helper.make_node("Mul", ["grey", "scale"], ["shade"]),
        helper.make_node("ReduceSum", ["MODE", "axis"], ["one"]),
        helper.make_node("Mul", ["MASK", "one"], ["told"]),
        helper.make_node("Sub", ["told", "shade"], ["shaded"]),
        helper.make_node("Clip", ["shaded", "low", "high"], [output]),
    ]
    constants = {"scale": np.float32(1 / 2550), "low": np.float32(0), "high": np.float32(1), "axis": np.array([1])}
    graph = helper.make_graph(
        nodes,
        "matting",
        values,
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, 1, None, None])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8), path)
    return path


def test_the_matting_graph_is_taken_as_it_is_with_the_contracts_tensors(tmp_path: Path) -> None:
    path = matting_graph(tmp_path / "matting.onnx")
    model = adopt(path, 17, {"license": "Apache-2.0"})
    dims = {
        value.name: [dim.dim_param or dim.dim_value for dim in value.type.tensor_type.shape.dim]
        for value in [*model.graph.input, *model.graph.output]
    }
    assert dims == {
        "IMAGE": ["N", 3, 512, 512],
        "MASK": ["N", 1, 512, 512],
        "MODE": ["N", 3, 1, 1],
        "ALPHA": ["N", 1, 512, 512],
    }
    onnx.checker.check_model(model, full_check=True)
    rng = np.random.default_rng(0)
    row = {
        "IMAGE": rng.integers(0, 256, (3, 512, 512), dtype=np.uint8),
        "MASK": rng.random((1, 512, 512), np.float32),
        "MODE": np.array([1, 0, 0], np.float32).reshape(3, 1, 1),
    }
    terms, networks = License("x", "x", "x"), (network("m", LARGE, 1),)
    one = Engine("m", "matting", True, LARGE, 17, networks, terms, Bounds(1, 1), (), (1, 8, 16))
    reference = published_answers(one, [path], [row, row])
    np.testing.assert_array_equal(run(model, **{n: np.stack([v, v]) for n, v in row.items()}), reference)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"batch": 1}, r"IMAGE is not UINT8 \[N, 3, 512, 512\]"),
        ({"opset": 16}, "has the opset 16; the catalogue says 17"),
        ({"output": "MATTE"}, "has MATTE where ALPHA are due"),
    ],
)
def test_a_matting_graph_with_other_tensors_is_refused(
    tmp_path: Path, changes: dict[str, int | str], reason: str
) -> None:
    with pytest.raises(BuildError, match=reason):
        adopt(matting_graph(tmp_path / "matting.onnx", **changes), 17, {})  # type: ignore[arg-type]
