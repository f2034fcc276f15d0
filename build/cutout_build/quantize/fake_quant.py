"""What INT8 does to a tensor, with gradients: the straight-through estimator and learned scales.

Esser et al., "Learned Step Size Quantization", ICLR 2020.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor, nn

from cutout_build.quantize.plan import QuantPlan
from cutout_build.quantize.qdq import QMAX


class FakeQuant(nn.Module):
    """The plan's scales as parameters, and the two hooks for `TorchGraph`. Scales are kept as logarithms."""

    def __init__(self, plan: QuantPlan, scales: dict[str, float]) -> None:
        super().__init__()
        self._plan = plan
        self._index = {name: index for index, name in enumerate(plan.scales)}
        self.logs = nn.Parameter(torch.tensor([math.log(scales[name]) for name in plan.scales]))

    def activation(self, name: str, value: Tensor) -> Tensor:
        group = self._plan.groups.get(name)
        if group is None:
            return value
        rounded: Tensor = _Rounded.apply(value, self.logs[self._index[group]].exp())
        return rounded

    def weight(self, conv: str, value: Tensor) -> Tensor:
        if conv not in self._plan.convs:
            return value
        scale = (value.detach().abs().amax((1, 2, 3), keepdim=True) / QMAX).clamp_min(1e-12)
        return value + (torch.round(value.detach() / scale) * scale - value.detach())

    def values(self) -> dict[str, float]:
        """Name of each scale to its value."""
        return {name: float(self.logs[index].exp().detach()) for name, index in self._index.items()}


class _Rounded(torch.autograd.Function):
    """round(clamp(x / s)) · s, whose gradient passes where x is in range, and moves s where it is not."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, scale: Tensor) -> Tensor:
        ctx.save_for_backward(x, scale)
        return (x / scale).round_().clamp_(-QMAX - 1, QMAX).mul_(scale)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor]:
        x, scale = ctx.saved_tensors
        steps = x / scale
        rounded = steps.round().clamp_(-QMAX - 1, QMAX)
        inside = (steps >= -QMAX - 1) & (steps <= QMAX)
        by_scale = (gradient * torch.where(inside, rounded - steps, rounded)).sum()
        return gradient * inside, by_scale
