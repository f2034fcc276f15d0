"""A published segmentation graph into the graph that is served.

Published saliency nets of the U²-Net family come as exports with a batch of 1, an old opset, side outputs used in
training only, and shape arithmetic that computes every Resize's size at run time. The served graph has

- one input `IMAGE` [N, 3, S, S] and one output `MASK` [N, 1, 512, 512], FP32, 0..1;
- no shape arithmetic: every Resize has constant scales, so no integer tensor is left, a batch is like its rows, and
  strongly typed compilers take it as it is;
- the upsampling to the alpha's size inside: linear, half-pixel centres, then clipped to 0..1;
- weights in fp32, whatever they were stored in (`widen.py`);
- no nearly constant channels, which narrow number formats would lose (`recentre.py`).
"""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import GraphProto, ModelProto, NodeProto, helper, numpy_helper, version_converter

from cutout_build import CONVERTER_VERSION
from cutout_build.errors import BuildError
from cutout_build.recentre import recentre
from cutout_build.shapes import dims, inferred_shapes
from cutout_build.widen import widen
from cutout_core.contract.tensors import ALPHA_SIZE

INPUT_NAME = "IMAGE"
OUTPUT_NAME = "MASK"

#: Oldest opset of a published graph: before it, Resize had other inputs and other arithmetic.
OLDEST_OPSET = 11

#: ONNX intermediate-representation version written by graphs of opset 17 to 18: read by every runtime in use.
IR_VERSION = 8


@dataclass(frozen=True, slots=True)
class GraphFacts:
    """Of one image: `gmac`, 10⁹ multiply-accumulates of the convolutions. `parameters`: their weights and
    biases.
    """

    nodes: int
    opset: int
    parameters: int
    gmac: float


def prepare(published: Path, input_size: int, opset: int, metadata: dict[str, str]) -> ModelProto:
    """The served graph of the published one, whose first output is the mask [1, 1, S, S] in 0..1.

    metadata: written into the graph (`metadata_props`). Raises BuildError where the graph is not of this family.
    """
    model = load(published)
    _check_published(model, input_size)
    _only_first_output(model.graph)
    widen(model)
    _constant_resizes(model)
    _drop_dead_nodes(model.graph)
    _constants_to_initializers(model.graph)
    _drop_dead_nodes(model.graph)
    del model.graph.value_info[:]
    _rename_input(model.graph)
    _append_upsampling(model.graph, input_size)
    model = version_converter.convert_version(model, opset)
    describe(model, input_size, metadata)
    recentre(model)
    try:
        onnx.checker.check_model(model, full_check=True)
    except onnx.checker.ValidationError as error:
        raise BuildError(f"The prepared graph is not valid: {_first_line(error)}.") from error
    return model


def load(published: Path) -> ModelProto:
    """The graph of a file. Raises BuildError where it is none."""
    try:
        model = onnx.load(published)
        _sort_nodes(model.graph)
        onnx.checker.check_model(model)
    except Exception as error:  # onnx has no common base for what parsing and checking raise
        raise BuildError(f"{published.name} is not a valid ONNX graph: {_first_line(error)}.") from error
    return model


def facts(model: ModelProto) -> GraphFacts:
    """Counts of a served graph."""
    graph = model.graph
    shapes = inferred_shapes(model)
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    macs = parameters = 0
    for node in graph.node:
        if node.op_type == "Conv":
            _, _, height, width = shapes[node.output[0]]
            macs += int(np.prod(weights[node.input[1]])) * height * width
            parameters += sum(int(np.prod(weights[name])) for name in node.input[1:])
    return GraphFacts(len(graph.node), model.opset_import[0].version, parameters, macs / 1e9)


def _check_published(model: ModelProto, size: int) -> None:
    graph = model.graph
    opset = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if opset < OLDEST_OPSET:
        raise BuildError(f"The published graph has the opset {opset}; {OLDEST_OPSET} is the oldest that is read.")
    names = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in names]
    if len(inputs) != 1 or not graph.output:
        raise BuildError(f"The published graph has {len(inputs)} inputs instead of one image.")
    image, mask = dims(inputs[0]), dims(graph.output[0])
    if image[1:] != (3, size, size):
        raise BuildError(f"The published graph takes {image}, the catalogue says [N, 3, {size}, {size}].")
    if mask[1:] != (1, size, size):
        raise BuildError(f"The published graph's first output is {mask}, not a mask [N, 1, {size}, {size}].")


def _sort_nodes(graph: GraphProto) -> None:
    """Topological order, as ONNX demands and not every exporter gives; what cannot be ordered stays at the end."""
    made = {"", *(value.name for value in graph.input), *(tensor.name for tensor in graph.initializer)}
    ordered: list[NodeProto] = []
    waiting = list(graph.node)
    while waiting:
        later: list[NodeProto] = []
        for node in waiting:
            if made.issuperset(node.input):
                made.update(node.output)
                ordered.append(node)
            else:
                later.append(node)
        if len(later) == len(waiting):
            ordered += later
            break
        waiting = later
    del graph.node[:]
    graph.node.extend(ordered)


def _only_first_output(graph: GraphProto) -> None:
    del graph.output[1:]
    _drop_dead_nodes(graph)


def _drop_dead_nodes(graph: GraphProto) -> None:
    """Removes nodes and initialisers that no output needs."""
    needed = {value.name for value in graph.output}
    kept: list[NodeProto] = []
    for node in reversed(graph.node):  # ONNX orders nodes topologically
        if needed.intersection(node.output):
            needed.update(node.input)
            kept.append(node)
    tensors = [tensor for tensor in graph.initializer if tensor.name in needed]
    inputs = [value for value in graph.input if value.name not in {tensor.name for tensor in graph.initializer}]
    for field, values in ((graph.node, reversed(kept)), (graph.initializer, tensors), (graph.input, inputs)):
        values = list(values)
        del field[:]
        field.extend(values)


def _constant_resizes(model: ModelProto) -> None:
    """Gives every Resize constant scales in place of a size that is computed at run time."""
    resizes = [node for node in model.graph.node if node.op_type == "Resize"]
    shapes = _measured_shapes(model, [name for node in resizes for name in (node.input[0], node.output[0])])
    scales: dict[tuple[float, ...], str] = {}
    for node in resizes:
        before, after = shapes[node.input[0]], shapes[node.output[0]]
        scale = tuple(out / inp for out, inp in zip(after, before, strict=True))
        if tuple(int(np.float32(s) * i) for s, i in zip(scale, before, strict=True)) != after:
            raise BuildError(f"A Resize from {before} to {after} cannot be written as a constant scale.")
        if scale not in scales:
            scales[scale] = f"resize_scales_{len(scales)}"
            tensor = numpy_helper.from_array(np.array(scale, np.float32), scales[scale])
            model.graph.initializer.append(tensor)
        source = node.input[0]
        del node.input[:]
        node.input.extend([source, "", scales[scale]])


def _measured_shapes(model: ModelProto, names: list[str]) -> dict[str, tuple[int, ...]]:
    """Shapes of inner tensors, from one run of the published graph: it alone knows what its arithmetic computes."""
    probe = ModelProto()
    probe.CopyFrom(model)
    del probe.graph.output[:]
    probe.graph.output.extend(onnx.ValueInfoProto(name=name) for name in dict.fromkeys(names))
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(probe.SerializeToString(), options, ["CPUExecutionProvider"])
    image = session.get_inputs()[0]
    arrays = session.run(None, {image.name: np.zeros([1, *image.shape[1:]], np.float32)})
    return {name: array.shape for name, array in zip(dict.fromkeys(names), arrays, strict=True)}


def _constants_to_initializers(graph: GraphProto) -> None:
    for node in [node for node in graph.node if node.op_type == "Constant"]:
        value = helper.get_node_attr_value(node, "value")
        tensor = onnx.TensorProto()
        tensor.CopyFrom(value)
        tensor.name = node.output[0]
        graph.initializer.append(tensor)
        graph.node.remove(node)


def _rename_input(graph: GraphProto) -> None:
    old = graph.input[0].name
    for node in graph.node:
        for index, name in enumerate(node.input):
            if name == old:
                node.input[index] = INPUT_NAME
    graph.input[0].name = INPUT_NAME


def _append_upsampling(graph: GraphProto, size: int) -> None:
    mask = graph.output[0].name
    scale = ALPHA_SIZE / size
    graph.initializer.extend(
        [
            numpy_helper.from_array(np.array([1, 1, scale, scale], np.float32), "mask_scales"),
            numpy_helper.from_array(np.float32(0), "mask_low"),
            numpy_helper.from_array(np.float32(1), "mask_high"),
        ]
    )
    graph.node.extend(
        [
            helper.make_node(
                "Resize",
                [mask, "", "mask_scales"],
                ["mask_upsampled"],
                name="mask_upsampling",
                mode="linear",
                coordinate_transformation_mode="half_pixel",
            ),
            helper.make_node("Clip", ["mask_upsampled", "mask_low", "mask_high"], [OUTPUT_NAME], name="mask_clip"),
        ]
    )


def describe(model: ModelProto, size: int, metadata: dict[str, str]) -> None:
    """Declares input and output with the batch axis N, names every node, and says who made the graph from what."""
    graph = model.graph
    kind = onnx.TensorProto.FLOAT
    for field, value in (
        (graph.input, helper.make_tensor_value_info(INPUT_NAME, kind, ["N", 3, size, size])),
        (graph.output, helper.make_tensor_value_info(OUTPUT_NAME, kind, ["N", 1, ALPHA_SIZE, ALPHA_SIZE])),
    ):
        del field[:]
        field.append(value)
    del graph.value_info[:]
    graph.name = "segmentation"
    for index, node in enumerate(graph.node):
        node.name = node.name or f"{node.op_type}_{index}"
    sign(model, metadata)


def sign(model: ModelProto, metadata: dict[str, str]) -> None:
    """Writes into the graph who made it from what."""
    model.ir_version = IR_VERSION
    model.producer_name = "cutout_build"
    model.producer_version = str(CONVERTER_VERSION)
    del model.metadata_props[:]
    helper.set_model_props(model, metadata)


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].rstrip(".")
