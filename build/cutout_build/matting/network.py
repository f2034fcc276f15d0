"""The matting network: photo, coarse mask and mode to alpha, fully convolutional, without a trimap.

Three stages:

1. A U-Net on quarter resolution reads photo and mask and says where it is certain of subject and of background.
2. From those places colours are spread by pull-push pyramids (Gortler et al., "The Lumigraph", SIGGRAPH 1996), so
   that each pixel knows the subject's colour F and the background's colour B near it. The compositing equation
   I = αF + (1 − α)B then gives a first α by projection, as the sampling methods do (Chuang et al., "A Bayesian
   Approach to Digital Matting", CVPR 2001), at full resolution and without any parameter. The certainties are learned
   through it.
3. A head on half resolution (sub-pixel output, Shi et al., CVPR 2016) weighs that estimate, its residual and the
   U-Net's features and corrects the mask.

The correction acts only near places where the mask is undecided; elsewhere the mask decides, hardened by a ramp. All
operations are convolutions, poolings, bilinear resizes and arithmetic, which every engine knows.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

#: Mask values at and below the first are background, at and above the second subject, unless the edge is near.
CERTAIN_LOW, CERTAIN_HIGH = 0.05, 0.95
#: The correction reaches this far from the subject into what the mask calls background, where hair is lost: cells of
#: 8 × 8 pixels in each direction. Into what it calls subject, where eyes and labels are, it does not reach at all, and
#: doubt that is nowhere near a subject (a mask below SUBJECT) is left as it is.
REACH, SUBJECT = 2, 0.8
#: Sides of input are multiples of this.
STRIDE = 16

_PULL_PUSH_LEVELS = 5
_PRIOR = 0.05
_MIN_CONTRAST = 0.01


class MattingNetwork(nn.Module):
    """[N, 3, H, W] photo in 0..1, [N, 1, H, W] mask in 0..1 and [N, 3, 1, 1] one-hot mode (product, portrait, object)
    to [N, 1, H, W] alpha in 0..1. H and W are multiples of 16; the network is made for 512 × 512.
    """

    def __init__(self, channels: tuple[int, int, int] = (48, 64, 96), head: int = 32) -> None:
        super().__init__()
        quarter, eighth, sixteenth = channels
        self.stem = Conv(64, quarter)
        self.mode = nn.Conv2d(3, quarter, 1, bias=False)
        self.enter = Block(quarter)
        self.down_8 = Conv(quarter, eighth, stride=2)
        self.encode_8 = nn.Sequential(Block(eighth), Block(eighth))
        self.down_16 = Conv(eighth, sixteenth, stride=2)
        self.encode_16 = nn.Sequential(Block(sixteenth), Block(sixteenth), Block(sixteenth))
        self.join_8 = Conv(sixteenth + eighth, eighth, kernel=1)
        self.decode_8 = Block(eighth)
        self.join_4 = Conv(eighth + quarter, quarter, kernel=1)
        self.decode_4 = Block(quarter)
        self.certain = nn.Conv2d(quarter, 2, 1)
        self.to_head = Conv(quarter, head, kernel=1)
        self.head_in = Conv(head // 4 + 7 * 4, head)
        self.head_mode = nn.Conv2d(3, head, 1, bias=False)
        self.head_block = Block(head)
        self.head_out = nn.Conv2d(head, 4, 3, padding=1)
        nn.init.zeros_(self.mode.weight)
        nn.init.zeros_(self.head_mode.weight)
        nn.init.normal_(self.head_out.weight, std=1e-3)
        nn.init.zeros_(self.head_out.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor, mask: Tensor, mode: Tensor) -> Tensor:
        quarter_image = functional.avg_pool2d(image, 4)
        low, high = seeds(mask)
        four = functional.pixel_unshuffle(torch.cat([image - 0.5, mask - 0.5], 1), 4)
        four = self.enter(self.stem(four) + self.mode(mode))
        eight = self.encode_8(self.down_8(four))
        sixteen = self.encode_16(self.down_16(eight))
        eight = self.decode_8(self.join_8(torch.cat([_twice(sixteen), eight], 1)))
        four = self.decode_4(self.join_4(torch.cat([_twice(eight), four], 1)))
        certain = torch.sigmoid(self.certain(four))
        subject = _resized(pull_push(quarter_image, certain[:, :1] * high), 4)
        background = _resized(pull_push(quarter_image, certain[:, 1:] * low), 4)
        evidence = torch.cat([image - 0.5, mask - 0.5, project(image, subject, background)], 1)
        fine = torch.cat([functional.pixel_unshuffle(evidence, 2), functional.pixel_shuffle(self.to_head(four), 2)], 1)
        fine = self.head_block(self.head_in(fine) + self.head_mode(mode))
        correction = functional.pixel_shuffle(self.head_out(fine), 2)
        hardened = (mask - CERTAIN_LOW) * (1 / (CERTAIN_HIGH - CERTAIN_LOW))
        return torch.clamp(hardened.clamp(0, 1) + near_edge(mask) * correction, 0, 1)


class Conv(nn.Module):
    """Convolution, batch normalisation, ReLU. `fuse` folds the normalisation into the convolution for export."""

    def __init__(self, inputs: int, outputs: int, kernel: int = 3, stride: int = 1, *, relu: bool = True) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False)
        self.norm: nn.Module = nn.BatchNorm2d(outputs)
        self.relu = relu

    def forward(self, x: Tensor) -> Tensor:
        x = self.norm(self.conv(x))
        return torch.relu(x) if self.relu else x

    def fuse(self) -> None:
        """Folds the running statistics into weight and bias; the result is the same in evaluation mode."""
        if isinstance(self.norm, nn.BatchNorm2d):
            self.conv = torch.nn.utils.fusion.fuse_conv_bn_eval(self.conv.eval(), self.norm.eval())
            self.norm = nn.Identity()


class Block(nn.Module):
    """Residual block of two 3 × 3 convolutions (He et al., CVPR 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.first = Conv(channels, channels)
        self.second = Conv(channels, channels, relu=False)

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(x + self.second(self.first(x)))


def seeds(mask: Tensor) -> tuple[Tensor, Tensor]:
    """Quarter-size weights in 0..1 of pixels that may seed the background's and the subject's colour: those whose
    4 × 4 cell the mask calls nearly certain throughout."""
    most = functional.max_pool2d(mask, 4)
    least = -functional.max_pool2d(-mask, 4)
    return torch.clamp(1 - 2 * most, 0, 1), torch.clamp(2 * least - 1, 0, 1)


def pull_push(image: Tensor, weight: Tensor) -> Tensor:
    """Spreads the colours of weighted pixels over the others: [N, 3, h, w] and [N, 1, h, w] in 0..1 to [N, 3, h, w]."""
    levels = [(image * weight, weight)]
    for _ in range(_PULL_PUSH_LEVELS - 1):
        color, total = levels[-1]
        if min(color.shape[-2:]) < 2:
            break
        levels.append((functional.avg_pool2d(color, 2), functional.avg_pool2d(total, 2)))
    color, total = levels[-1]
    mean = functional.avg_pool2d(image, 2 ** (len(levels) - 1)) if len(levels) > 1 else image
    spread = (color + _PRIOR * mean) / (total + _PRIOR)
    for color, total in reversed(levels[:-1]):
        spread = (color + _PRIOR * _resized(spread, 2)) / (total + _PRIOR)
    return spread


def project(image: Tensor, subject: Tensor, background: Tensor) -> Tensor:
    """[N, 3, H, W]: the alpha that the two colours explain best (−0.5..1.5, 0.5 off zero), what it leaves unexplained,
    and the contrast that it rests on."""
    difference = subject - background
    contrast = (difference * difference).sum(1, keepdim=True)
    offset = image - background
    alpha = (offset * difference).sum(1, keepdim=True) / (contrast + _MIN_CONTRAST)
    alpha = torch.clamp(alpha, -0.5, 1.5)
    residual = offset - alpha * difference
    unexplained = (residual * residual).sum(1, keepdim=True)
    return torch.cat([alpha - 0.5, torch.clamp(4 * unexplained, 0, 1), torch.clamp(contrast, 0, 1)], 1)


def near_edge(mask: Tensor) -> Tensor:
    """[N, 1, H, W] in 0..1: 1 in cells that are not all subject and have some subject within REACH cells; it falls off
    over the width of a cell."""
    most, least = functional.max_pool2d(mask, 8), -functional.max_pool2d(-mask, 8)
    most = functional.max_pool2d(most, 2 * REACH + 1, 1, REACH)
    near = torch.clamp(4 * torch.minimum(most - SUBJECT, CERTAIN_HIGH - least), 0, 1)
    return _resized(near, 8)


def _twice(x: Tensor) -> Tensor:
    return _resized(x, 2)


def _resized(x: Tensor, factor: int) -> Tensor:
    return functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
