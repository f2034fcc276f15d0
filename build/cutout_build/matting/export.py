"""The trained network as an ONNX file: 8-bit photo in, dynamic batch, normalisations folded into the convolutions."""

from __future__ import annotations

from pathlib import Path

import onnx
import torch
from torch import Tensor, nn

from cutout_build.matting.network import Conv, MattingNetwork
from cutout_core.contract.tensors import ALPHA_SIZE

OPSET = 17


class Served(nn.Module):
    """The network with the served tensors: IMAGE uint8 [N, 3, 512, 512], MASK and MODE float32, ALPHA float32."""

    def __init__(self, network: MattingNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor, mask: Tensor, mode: Tensor) -> Tensor:
        alpha: Tensor = self.network(image.float() * (1 / 255), mask, mode)
        return alpha


def export(network: MattingNetwork, target: Path, description: str) -> None:
    """Writes `network` (which is changed: put into evaluation mode and fused) to `target`."""
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
