"""The training loss as a picture, without a plotting library."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

_WIDTH, _HEIGHT, _MARGIN = 720, 360, 48


def plot_losses(log: Path, target: Path, window: int = 50) -> None:
    """Writes an SVG of the loss per step (grey) and its running mean over `window` steps (blue), log scale."""
    with log.open() as file:
        rows = [(int(row["step"]), float(row["loss"])) for row in csv.DictReader(file)]
    steps, losses = np.array([row[0] for row in rows]), np.log10([row[1] for row in rows])
    size = min(window, len(losses))
    mean = np.convolve(losses, np.ones(size) / size, mode="valid")
    low, high = float(losses.min()), float(losses.max())

    def path(x: NDArray[np.int64], y: NDArray[np.float64]) -> str:
        across = _MARGIN + (x / max(1, steps[-1])) * (_WIDTH - 2 * _MARGIN)
        down = _MARGIN + (high - y) / max(high - low, 1e-9) * (_HEIGHT - 2 * _MARGIN)
        return " ".join(f"{a:.1f},{d:.1f}" for a, d in zip(across, down, strict=True))

    every = max(1, len(steps) // 1500)
    target.write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>'
        f'<polyline fill="none" stroke="#ccc" points="{path(steps[::every], losses[::every])}"/>'
        f'<polyline fill="none" stroke="#1f6feb" stroke-width="2" points="{path(steps[size - 1 :], mean)}"/>'
        f'<text x="{_MARGIN}" y="24">loss (log scale), mean of {size} steps</text>'
        f'<text x="4" y="{_MARGIN}">{10**high:.3g}</text><text x="4" y="{_HEIGHT - _MARGIN}">{10**low:.3g}</text>'
        f'<text x="{_WIDTH - 2 * _MARGIN}" y="{_HEIGHT - 16}">step {steps[-1]}</text></svg>\n'
    )
