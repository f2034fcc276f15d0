"""What the training minimises: error in the edge band first, then shape, then the rest of the picture."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

from cutout_build.quality.metrics import BAND_RADIUS, SOFT_EDGE

_LAPLACIAN_LEVELS = 4
#: Weight of squared errors beside absolute ones.
_SQUARED = 3.0
#: Weights of the Laplacian and of the gradient term by mode: filaments for portrait, straight sharp edges for product.
_EMPHASIS = torch.tensor([[0.7, 1.4], [1.4, 0.7], [1.0, 1.0]])


def matting_loss(alpha: Tensor, truth: Tensor, mode: Tensor, known: Tensor) -> Tensor:
    """alpha, truth: [N, 1, H, W] in 0..1; mode: [N] long; known: [N, 1, H, W], 1 where the truth is known and 0 where
    any alpha is as good. The mean over samples of

    error in the edge band + 3 × error outside + Laplacian pyramid (Hou and Liu, ICCV 2019) + gradient, the last two
    weighted by mode. Error and gradient count absolute and squared: the absolute makes edges crisp, but where a pixel
    may be hair or grain behind it, its best answer is the likelier of the two at full strength, right or wrong.
    """
    alpha = torch.where(known > 0, alpha, truth)
    band = edge_band(truth)
    error = _absolute_and_squared(alpha - truth)
    inside = (error * band).sum((1, 2, 3)) / (band.sum((1, 2, 3)) + 1)
    outside = (error * (1 - band)).mean((1, 2, 3))
    emphasis = _EMPHASIS.to(alpha.device)[mode]
    shape = 0.5 * emphasis[:, 0] * laplacian(alpha, truth) + 1.0 * emphasis[:, 1] * gradient(alpha, truth, band)
    return (inside + 3 * outside + shape).mean()


def edge_band(truth: Tensor) -> Tensor:
    """1 within BAND_RADIUS of a soft or a hard edge, else 0: [N, 1, H, W]."""
    soft = ((truth > SOFT_EDGE[0]) & (truth < SOFT_EDGE[1])).float()
    inside = (truth > 0.5).float()
    hard = functional.max_pool2d(inside, 3, 1, 1) + functional.max_pool2d(-inside, 3, 1, 1)
    size = 2 * BAND_RADIUS + 1
    return functional.max_pool2d(torch.maximum(soft, hard), size, 1, BAND_RADIUS)


def laplacian(alpha: Tensor, truth: Tensor) -> Tensor:
    """[N]: Σ over levels of 2^level × mean |Δ| between Laplacian pyramids (averages and bilinear growth)."""
    difference = alpha - truth
    total = torch.zeros(len(alpha), device=alpha.device)
    for level in range(_LAPLACIAN_LEVELS):
        smaller = functional.avg_pool2d(difference, 2)
        grown = functional.interpolate(smaller, scale_factor=2, mode="bilinear", align_corners=False)
        total = total + 2**level * (difference - grown).abs().mean((1, 2, 3))
        difference = smaller
    return total + 2**_LAPLACIAN_LEVELS * difference.abs().mean((1, 2, 3))


def gradient(alpha: Tensor, truth: Tensor, band: Tensor) -> Tensor:
    """[N]: mean |Δ| and Δ² of the neighbour differences, over the band."""
    difference = alpha - truth
    across = _absolute_and_squared(difference[..., 1:] - difference[..., :-1]) * band[..., 1:]
    down = _absolute_and_squared(difference[..., 1:, :] - difference[..., :-1, :]) * band[..., 1:, :]
    return (across.sum((1, 2, 3)) + down.sum((1, 2, 3))) / (band.sum((1, 2, 3)) + 1)


def _absolute_and_squared(difference: Tensor) -> Tensor:
    return difference.abs() + _SQUARED * difference * difference
