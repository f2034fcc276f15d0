"""The matting network's graph as it is served: it is ours and exported for that, so it is checked, not changed."""

from __future__ import annotations

from pathlib import Path

from onnx import ModelProto, TensorProto, ValueInfoProto, helper

from cutout_build.errors import BuildError
from cutout_build.prepare import load, sign
from cutout_core.contract.tensors import MATTING, TensorSpec

_TYPES = {"UINT8": TensorProto.UINT8, "FP32": TensorProto.FLOAT}


def adopt(published: Path, opset: int, metadata: dict[str, str]) -> ModelProto:
    """The graph with the contract's tensors and the batch axis N.

    metadata: written into the graph. Raises BuildError where it has other tensors or another opset than `opset`.
    """
    model = load(published)
    graph = model.graph
    found = max(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    if found != opset:
        raise BuildError(f"{published.name} has the opset {found}; the catalogue says {opset}.")
    for values, specs in ((graph.input, MATTING.inputs), (graph.output, MATTING.outputs)):
        if [value.name for value in values] != [spec.name for spec in specs]:
            names = ", ".join(value.name for value in values)
            raise BuildError(f"{published.name} has {names} where {', '.join(s.name for s in specs)} are due.")
        for value, spec in zip(values, specs, strict=True):
            _check(value, spec, published.name)
        declared = [helper.make_tensor_value_info(s.name, _TYPES[s.dtype], ["N", *s.dims]) for s in specs]
        del values[:]
        values.extend(declared)
    sign(model, metadata)
    return model


def _check(value: ValueInfoProto, spec: TensorSpec, name: str) -> None:
    """A dimension that the file leaves open is fixed by the contract; the batch axis must be open."""
    tensor = value.type.tensor_type
    dims = tuple(dim.dim_value for dim in tensor.shape.dim)
    fits = len(dims) == 1 + len(spec.dims) and all(d in (0, s) for d, s in zip(dims[1:], spec.dims, strict=True))
    if tensor.elem_type != _TYPES[spec.dtype] or not fits or dims[0] != 0:
        raise BuildError(f"{name}: {spec.name} is not {spec.dtype} [N, {', '.join(map(str, spec.dims))}].")
