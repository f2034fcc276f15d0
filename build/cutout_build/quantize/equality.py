"""The proof that the network which PyTorch trains is the ONNX graph: both run on one sample, before anything learns."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

import numpy as np
import onnxruntime
import torch
from onnx import ModelProto
from torch import Tensor

from cutout_build.quantize.torch_graph import TorchGraph

#: Largest allowed |Δ| of any output value (masks and alphas, 0..1).
LARGEST_DIFFERENCE = 1e-4


def proved_difference(model: ModelProto, graph: TorchGraph, sample: dict[str, Tensor]) -> float:
    """Largest |Δ| between `graph`, made of the initialisers of `model`, and `model` in ONNX Runtime.

    sample: inputs of the graph, with batch axis. Raises ValueError where it is over LARGEST_DIFFERENCE, or no number.
    """
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, ["CPUExecutionProvider"])
    wanted = session.run(graph.outputs, {name: value.numpy() for name, value in sample.items()})
    with torch.no_grad():
        found = graph(sample)
    differences = [
        float(np.abs(found[name].numpy() - value).max()) for name, value in zip(graph.outputs, wanted, strict=True)
    ]
    largest = float(np.max(differences))
    if not largest <= LARGEST_DIFFERENCE:
        raise ValueError(
            f"The network in PyTorch is not the ONNX graph: max |Δ| {largest:.1e} on a picture, against "
            f"{LARGEST_DIFFERENCE:.0e} allowed. Nothing was trained."
        )
    return largest
