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


def compile_fixed(core: ov.Core, graph: Path, rows: int, properties: Mapping[str, Any]) -> ov.CompiledModel:
    """The ONNX file `graph` for the CPU, with `rows` in every input's batch axis, changed as in `channels_last.py`,
    `unsigned.py` and `resizes.py`.

    With all sizes known, OpenVINO fuses chains of arithmetic into single passes: `matting` in INT8 takes two thirds of
    the time that it takes with an open batch axis.
    """
    model = core.read_model(graph)
    model.reshape({tensor: [rows, *list(tensor.partial_shape)[1:]] for tensor in model.inputs})
    with_channels_last(model)
    with_unsigned_activations(model)
    with_resized_bytes(model)
    return core.compile_model(model, "CPU", dict(properties))
