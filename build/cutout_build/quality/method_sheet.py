"""Contact sheets of the benchmark: every method's alpha and cut-out on a saturated colour, whole and in detail."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from cutout_build.quality.composites import Composite
from cutout_build.quality.methods import END_TO_END, GIVEN, OURS, Methods
from cutout_build.quality.sheet import GROUND
from cutout_core.imaging.compose import flatten
from cutout_core.imaging.decontaminate import decontaminate

UInt8 = NDArray[np.uint8]

#: Side of a cell, pixels; the detail is shown pixel by pixel.
CELL, LABEL = 320, 18


def write_method_sheets(folder: Path, name: str, methods: Methods, pictures: Iterable[Composite]) -> list[Path]:
    """One PNG a picture, `<name>-<index>.png`: a column a method, rows of alpha, cut-out, and details of both.

    Above end to end, below given the true coarse mask. The first column is the photo, the second the truth. Ours get
    the foreground colours they are served with, the others keep the photo's. The folder is made.
    """
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index, made in enumerate(pictures):
        path = folder / f"{name}-{index:02d}.png"
        Image.fromarray(_sheet(methods, made)).save(path)
        paths.append(path)
    return paths


def _sheet(methods: Methods, made: Composite) -> UInt8:
    photo, truth = made.photo(), np.rint(made.alpha * 255).astype(np.uint8)
    window = _softest(truth)
    blank = np.full((CELL, CELL, 3), 40, np.uint8)
    head = [
        _column("photo", [_fit(photo), blank, _cell(photo[window]), blank]),
        _column("truth", _cells(made.foreground, truth, window)),
    ]
    lines = {END_TO_END: list(head), GIVEN: list(head)}
    for outcome in methods.outcomes(made):
        alpha = np.rint(outcome.alpha * 255).astype(np.uint8)
        colors = decontaminate(photo, alpha) if outcome.method in OURS else photo
        lines[outcome.setting].append(_column(outcome.method, _cells(colors, alpha, window)))
    widest = max(len(line) for line in lines.values())
    for line in lines.values():
        line += [np.full_like(head[0], 40)] * (widest - len(line))
    return np.vstack([np.hstack(line) for line in lines.values()])


def _cells(colors: UInt8, alpha: UInt8, window: tuple[slice, slice]) -> list[UInt8]:
    grey = np.repeat(alpha[..., None], 3, axis=2)
    cutout = flatten(colors, alpha, GROUND)
    return [_fit(grey), _fit(cutout), _cell(grey[window]), _cell(cutout[window])]


def _column(label: str, cells: list[UInt8]) -> UInt8:
    strip = Image.new("RGB", (CELL, LABEL), (0, 0, 0))
    ImageDraw.Draw(strip).text((4, 2), label.replace("²", "^2"), fill=(255, 255, 255))
    return np.vstack([np.asarray(strip), *cells])


def _softest(truth: UInt8) -> tuple[slice, slice]:
    """The window of a cell's size with the most soft alpha."""
    soft = ((truth > 5) & (truth < 250)).astype(np.float32)
    side = min(CELL, *truth.shape)
    amount = cv2.boxFilter(soft, -1, (side, side), normalize=False, borderType=cv2.BORDER_CONSTANT)
    middle_y, middle_x = np.unravel_index(int(amount.argmax()), amount.shape)
    top = int(np.clip(middle_y - side // 2, 0, truth.shape[0] - side))
    left = int(np.clip(middle_x - side // 2, 0, truth.shape[1] - side))
    return slice(top, top + side), slice(left, left + side)


def _fit(rgb: UInt8) -> UInt8:
    scale = CELL / max(rgb.shape[:2])
    size = max(1, round(rgb.shape[1] * scale)), max(1, round(rgb.shape[0] * scale))
    return _cell(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA))


def _cell(rgb: UInt8) -> UInt8:
    cell = np.full((CELL, CELL, 3), 40, np.uint8)
    cell[: rgb.shape[0], : rgb.shape[1]] = rgb
    return cell
