"""A graph compiled by OpenVINO for one number of rows."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import openvino as ov

from cutout_core.serving.channels_last import with_channels_last
from cutout_core.serving.resizes import with_resized_bytes
from cutout_core.serving.unsigned import with_unsigned_activations

#: Goes up with every change that gives other numbers. Caches of answers have it in their keys.
ANSWERS = "served2"


#: What is changed in a graph for the CPU, in this order; each tells in how many places it did.
CHANGES = (with_channels_last, with_unsigned_activations, with_resized_bytes)


def read_fixed(core: ov.Core, graph: Path, rows: int) -> ov.Model:
    """The ONNX file `graph` with `rows` in every input's batch axis.

    With all sizes known, OpenVINO fuses chains of arithmetic into single passes: `matting` in INT8 takes two thirds of
    the time that it takes with an open batch axis.
    """
    model = core.read_model(graph)
    model.reshape({tensor: [rows, *list(tensor.partial_shape)[1:]] for tensor in model.inputs})
    return model


def compile_fixed(core: ov.Core, graph: Path, rows: int, properties: Mapping[str, Any]) -> ov.CompiledModel:
    """`read_fixed` for the CPU, with all CHANGES."""
    model = read_fixed(core, graph, rows)
    for change in CHANGES:
        change(model)
    return core.compile_model(model, "CPU", dict(properties))
