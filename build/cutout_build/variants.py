"""The graphs of an engine's other precisions, beside the one in fp32: converted, or taken from a file."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import onnx
from onnx import ModelProto, ValueInfoProto

from cutout_build.catalogue import Engine
from cutout_build.errors import BuildError
from cutout_build.fetch import fetch_all
from cutout_build.half import halve
from cutout_build.prepare import load
from cutout_build.quantize.scales_file import SUFFIX, read_calibration
from cutout_build.sources import Artifact
from cutout_core.contract.engine import graph_name


def write_variants(engine: Engine, graph: Path, folder: Path, say: Callable[[str], None]) -> dict[str, str]:
    """Writes the graphs of the catalogue's precisions into `folder`; precision to SHA-256 (hex) of its graph.

    graph: the file in fp32, which is bf16's too. Raises BuildError where a graph cannot be had or does not fit.
    """
    model = onnx.load(graph)
    found: dict[str, str] = {}
    for precision in engine.precisions:
        path = folder / graph_name(precision.name)
        if precision.name != "bf16":
            say(f"making the graph of {engine.name} in {precision.name} ...")
            variant = (
                _quantized(engine, precision.graph, model, say) if precision.graph else halve(model, precision.keep)
            )
            path.write_bytes(variant.SerializeToString(deterministic=True))
        found[precision.name] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def _quantized(engine: Engine, source: Artifact, model: ModelProto, say: Callable[[str], None]) -> ModelProto:
    """The quantized graph that the catalogue's file is, or whose scales it holds, with the tensors of `model`."""
    (path,) = fetch_all([source], say)
    if source.source.filename.endswith(SUFFIX):
        try:
            return read_calibration(path, engine.sources_sha256).quantize(model)
        except ValueError as error:
            raise BuildError(f"{source.source.filename} does not fit {engine.name}: {error}.") from error
    quantized = load(path)
    kinds = {node.op_type for node in quantized.graph.node}
    if not {"QuantizeLinear", "DequantizeLinear"} <= kinds:
        raise BuildError(f"{path.name} has no QuantizeLinear and DequantizeLinear: it is not quantized.")
    for found, wanted in ((quantized.graph.input, model.graph.input), (quantized.graph.output, model.graph.output)):
        if [_signature(value) for value in found] != [_signature(value) for value in wanted]:
            names = "; ".join(map(str, map(_signature, found)))
            raise BuildError(f"{path.name} has the tensors {names}; those of the graph in fp32 are due.")
    del quantized.metadata_props[:]
    quantized.metadata_props.extend(model.metadata_props)
    return quantized


def _signature(value: ValueInfoProto) -> tuple[str, str, tuple[int, ...]]:
    """Name, element type and dimensions after the batch axis (0 where open), which itself must be open."""
    tensor = value.type.tensor_type
    dims = tuple(dim.dim_value for dim in tensor.shape.dim)
    if not dims or dims[0] != 0:
        raise BuildError(f"{value.name} has no open batch axis.")
    return value.name, onnx.TensorProto.DataType.Name(tensor.elem_type), dims[1:]
