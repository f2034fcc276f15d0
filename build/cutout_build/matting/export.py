"""The trained network as an ONNX file: 8-bit photo in, dynamic batch, normalisations folded into the convolutions."""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn

from cutout_build.errors import BuildError
from cutout_build.matting.masks import SEGMENTATION_SIDE, wrong_mask
from cutout_build.matting.network import Conv, MattingNetwork
from cutout_build.matting.procedural import noise_texture, procedural_subject
from cutout_build.matting.samples import over_backdrop
from cutout_core.contract.tensors import ALPHA_SIZE, MODES

OPSET = 17


class Served(nn.Module):
    """The network with the served tensors: IMAGE uint8 [N, 3, 512, 512], MASK and MODE float32, ALPHA float32."""

    def __init__(self, network: MattingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, mask: Tensor, mode: Tensor) -> Tensor:
        alpha: Tensor = self.network(image.float() * (1 / 255), mask, mode)
        return alpha


#: Largest difference between the file, run by ONNX Runtime, and PyTorch.
MAX_DIFFERENCE = 1e-4


def export(network: MattingNetwork, target: Path, description: str) -> float:
    """Writes `network` (which is changed: put into evaluation mode and fused) to `target`.

    Returns the largest difference between both on a drawn picture, for every mode. Raises BuildError where it is above
    MAX_DIFFERENCE.
    """
    network.eval()
    for module in network.modules():
        if isinstance(module, Conv):
            module.fuse()
    side = ALPHA_SIZE
    inputs = (torch.zeros(2, 3, side, side, dtype=torch.uint8), torch.zeros(2, 1, side, side), torch.zeros(2, 3, 1, 1))
    torch.onnx.export(
        Served(network).eval(), inputs, str(target), opset_version=OPSET, dynamo=False,
        input_names=["IMAGE", "MASK", "MODE"], output_names=["ALPHA"],
        dynamic_axes={name: {0: "batch"} for name in ("IMAGE", "MASK", "MODE", "ALPHA")},
    )  # fmt: skip
    model = onnx.load(target)
    model.doc_string = description
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, target)
    difference = _difference(Served(network).eval(), target)
    if difference > MAX_DIFFERENCE:
        raise BuildError(f"{target} differs from PyTorch by {difference:.1e}, more than {MAX_DIFFERENCE:.0e}.")
    return difference


def _difference(served: Served, target: Path) -> float:
    rng = np.random.default_rng(0)
    rgba = procedural_subject("hair", rng, ALPHA_SIZE)
    image = over_backdrop(rgba, [noise_texture(rng, 2 * ALPHA_SIZE)], rng).transpose(2, 0, 1)
    mask = wrong_mask(rgba[..., 3].astype(np.float32) / 255, rng, ALPHA_SIZE / SEGMENTATION_SIDE)
    count = len(MODES)
    inputs = {
        "IMAGE": np.repeat(image[None], count, axis=0),
        "MASK": np.repeat(mask[None, None], count, axis=0),
        "MODE": np.eye(count, dtype=np.float32)[..., None, None],
    }
    with torch.no_grad():
        expected = served(*(torch.from_numpy(value) for value in inputs.values())).numpy()
    session = onnxruntime.InferenceSession(str(target), providers=["CPUExecutionProvider"])
    return float(np.abs(session.run(["ALPHA"], inputs)[0] - expected).max())
