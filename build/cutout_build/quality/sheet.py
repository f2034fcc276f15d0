"""A contact sheet: photo, mask, cut-out on a saturated colour, ground truth, one row a composite."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cutout_build.quality.composites import Composite
from cutout_build.quality.engine import Segmentation
from cutout_core.imaging.compose import flatten
from cutout_core.imaging.upscale import upscale

#: A colour that no subject has, so that halos and missing parts show.
GROUND = (255, 0, 255)
CELL = 400


def write_sheet(path: Path, engine: Segmentation, rows: Iterable[Composite]) -> Path:
    """Writes a PNG, fp32; its folder is made."""
    lines = [np.hstack(_cells(engine, row)) for row in rows]
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.vstack(lines)).save(path)
    return path


def _cells(engine: Segmentation, row: Composite) -> list[NDArray[np.uint8]]:
    photo = row.photo()
    height, width = photo.shape[:2]
    alpha = upscale(engine.mask(engine.served_input(row.jpeg)), width, height)
    truth = np.rint(row.alpha * 255).astype(np.uint8)
    return [_fit(picture) for picture in (photo, _grey(alpha), flatten(photo, alpha, GROUND), _grey(truth))]


def _grey(alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.repeat(alpha[..., None], 3, axis=2)


def _fit(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = rgb.shape[:2]
    scale = CELL / max(height, width)
    small = cv2.resize(rgb, (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA)
    cell = np.full((CELL, CELL, 3), 40, np.uint8)
    cell[: small.shape[0], : small.shape[1]] = small
    return cell
