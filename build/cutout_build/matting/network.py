"""The matting network: photo, coarse mask and mode to alpha, fully convolutional, without a trimap.

Three stages:

1. A U-Net on quarter resolution reads photo and mask and says where it is certain of subject and of background.
2. From those places colours are spread by pull-push pyramids (Gortler et al., "The Lumigraph", SIGGRAPH 1996), so
   that each pixel knows the subject's colour F and the background's colour B near it. The compositing equation
   I = αF + (1 − α)B then gives a first α by projection, as the sampling methods do (Chuang et al., "A Bayesian
   Approach to Digital Matting", CVPR 2001), at full resolution and without any parameter. The certainties are learned
   through it. How far colours spread on each side is carried along, so that a light vein of dark wood is not taken for
   a hair of a light subject.
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
_MIN_VARIANCE = 0.002


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
        self.head_in = Conv(head // 4 + 9 * 4, head)
        self.head_mode = nn.Conv2d(3, head, 1, bias=False)
        self.head_block = Block(head)
        self.head_out = nn.Conv2d(head, 4, 3, padding=1)
        nn.init.zeros_(self.mode.weight)
        nn.init.zeros_(self.head_mode.weight)
        nn.init.normal_(self.head_out.weight, std=1e-3)
        nn.init.zeros_(self.head_out.bias)  # type: ignore[arg-type]

    def forward(self, image: Tensor, mask: Tensor, mode: Tensor) -> Tensor:
        quarter = torch.cat([functional.avg_pool2d(part, 4) for part in (image, _squared(image))], 1)
        low, high = seeds(mask)
        four = functional.pixel_unshuffle(torch.cat([image - 0.5, mask - 0.5], 1), 4)
        four = self.enter(self.stem(four) + self.mode(mode))
        eight = self.encode_8(self.down_8(four))
        sixteen = self.encode_16(self.down_16(eight))
        eight = self.decode_8(self.join_8(torch.cat([_twice(sixteen), eight], 1)))
        four = self.decode_4(self.join_4(torch.cat([_twice(eight), four], 1)))
        certain = torch.sigmoid(self.certain(four))
        subject = _resized(colors(quarter, certain[:, :1] * high), 4)
        background = _resized(colors(quarter, certain[:, 1:] * low), 4)
        evidence = torch.cat([image - 0.5, mask - 0.5, explain(image, subject, background)], 1)
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


def colors(quarter: Tensor, weight: Tensor) -> Tensor:
    """The mean and the variance (of all channels together) of the weighted pixels' colours near each pixel.

    quarter: [N, 4, h, w], colours in 0..1 and the mean of their squared length. weight: [N, 1, h, w] in 0..1. Returns
    [N, 4, h, w].
    """
    spread = pull_push(quarter, weight)
    mean = spread[:, :3]
    return torch.cat([mean, torch.clamp(spread[:, 3:] - _squared(mean), 0, 1) + _MIN_VARIANCE], 1)


def pull_push(values: Tensor, weight: Tensor) -> Tensor:
    """Spreads what weighted pixels have over the others: [N, C, h, w] and [N, 1, h, w] in 0..1 to [N, C, h, w]."""
    levels = [(values * weight, weight)]
    for _ in range(_PULL_PUSH_LEVELS - 1):
        value, total = levels[-1]
        if min(value.shape[-2:]) < 2:
            break
        levels.append((functional.avg_pool2d(value, 2), functional.avg_pool2d(total, 2)))
    value, total = levels[-1]
    mean = functional.avg_pool2d(values, 2 ** (len(levels) - 1)) if len(levels) > 1 else values
    spread = (value + _PRIOR * mean) / (total + _PRIOR)
    for value, total in reversed(levels[:-1]):
        spread = (value + _PRIOR * _resized(spread, 2)) / (total + _PRIOR)
    return spread


def explain(image: Tensor, subject: Tensor, background: Tensor) -> Tensor:
    """How the colours of both sides explain a photo: [N, 3, H, W] in 0..1 and twice `colors`, to [N, 5, H, W].

    1. The alpha that the two means explain best, -0.5..1.5, 0.5 off zero; what it leaves unexplained; the contrast that
       it rests on.
    2. How usual the pixel's colour is for the subject, and for the background, -0.5..0.5: the variance's share in the
       sum of variance and squared distance (cf. Mahalanobis), 0.5 off zero.

    All squares come from three sums over the channels.
    """
    difference, offset = subject[:, :3] - background[:, :3], image - background[:, :3]
    contrast, distance, along = _squared(difference), _squared(offset), (offset * difference).sum(1, keepdim=True)
    alpha = torch.clamp(along / (contrast + _MIN_CONTRAST), -0.5, 1.5)
    unexplained = distance + alpha * (alpha * contrast - 2 * along)
    usual = [
        variance / (variance + torch.clamp(squared, 0, 3)) - 0.5
        for variance, squared in ((subject[:, 3:], distance + contrast - 2 * along), (background[:, 3:], distance))
    ]
    first = [alpha - 0.5, torch.clamp(4 * unexplained, 0, 1), torch.clamp(contrast, 0, 1)]
    return torch.cat([*first, *usual], 1)


def near_edge(mask: Tensor) -> Tensor:
    """[N, 1, H, W] in 0..1: 1 in cells that are not all subject and have some subject within REACH cells; it falls off
    over the width of a cell."""
    most, least = functional.max_pool2d(mask, 8), -functional.max_pool2d(-mask, 8)
    most = functional.max_pool2d(most, 2 * REACH + 1, 1, REACH)
    near = torch.clamp(4 * torch.minimum(most - SUBJECT, CERTAIN_HIGH - least), 0, 1)
    return _resized(near, 8)


def _squared(x: Tensor) -> Tensor:
    """The squared length of each pixel's vector, [N, C, H, W] to [N, 1, H, W]."""
    return (x * x).sum(1, keepdim=True)


def _twice(x: Tensor) -> Tensor:
    return _resized(x, 2)


def _resized(x: Tensor, factor: int) -> Tensor:
    return functional.interpolate(x, scale_factor=factor, mode="bilinear", align_corners=False)
