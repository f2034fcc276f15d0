"""What the published graphs give, one photo at a time in ONNX Runtime: what a prepared graph is held against.

Everything that the prepared graph does inside is done outside here, by OpenCV and numpy: a mask is brought to the
alpha's size by the linear resize (half-pixel centres, the same rule), and the inputs and votes of fused networks are
computed anew.
"""

from __future__ import annotations

import cutout_core.no_telemetry  # noqa: F401  # isort: skip

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import onnxruntime
from numpy.typing import NDArray

from cutout_build.catalogue import Engine, Network
from cutout_build.fuse import CLIP
from cutout_core.contract.tensors import ALPHA_SIZE, MATTING
from cutout_core.imaging.normalize import NetworkInput

Array = NDArray[np.float32]

#: A graph's inputs by name.
Inputs = dict[str, NDArray[Any]]


def published_answers(engine: Engine, published: Sequence[Path], rows: Sequence[Inputs]) -> Array:
    """[N, 1, 512, 512] for rows without their batch axis. published: the file of each of the engine's networks."""
    if engine.model == MATTING.name:
        session = _session(published[0])
        alphas = [session.run(None, {name: value[None] for name, value in row.items()})[0] for row in rows]
        return np.concatenate(alphas)
    images = [row["IMAGE"] for row in rows]
    masks = [
        _masks(network, path, images, engine.recipe) for network, path in zip(engine.networks, published, strict=True)
    ]
    return masks[0] if len(masks) == 1 else _fused(masks, [network.vote for network in engine.networks])


def _masks(network: Network, published: Path, images: Sequence[Array], recipe: NetworkInput) -> Array:
    session = _session(published)
    image, mask = session.get_inputs()[0].name, session.get_outputs()[0].name
    rows = images if network.recipe == recipe else [_own_input(row, recipe, network.recipe) for row in images]
    found = [session.run([mask], {image: row[None]})[0][0, 0] for row in rows]
    size = (ALPHA_SIZE, ALPHA_SIZE)
    masks: Array = np.stack([cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR) for mask in found])[:, None]
    return masks


def _own_input(image: Array, have: NetworkInput, want: NetworkInput) -> Array:
    """One network's input [3, s, s] from the common one [3, S, S]."""
    rgb = image.transpose(1, 2, 0) * np.array(have.std, np.float32) + np.array(have.mean, np.float32)
    while rgb.shape[0] >= 2 * want.size:
        rgb = cv2.resize(rgb, (rgb.shape[1] // 2, rgb.shape[0] // 2), interpolation=cv2.INTER_AREA)
    rgb = cv2.resize(rgb, (want.size, want.size), interpolation=cv2.INTER_LINEAR)
    if want.divide_by_max:
        rgb = rgb / max(float(rgb.max()), 1 / 255)
    normal = (rgb - np.array(want.mean, np.float32)) / np.array(want.std, np.float32)
    own: Array = np.ascontiguousarray(normal.transpose(2, 0, 1), np.float32)
    return own


def _fused(masks: Sequence[Array], votes: Sequence[float]) -> Array:
    clipped = [np.clip(mask.astype(np.float64), *CLIP) for mask in masks]
    logit = sum(vote * np.log(mask / (1 - mask)) for vote, mask in zip(votes, clipped, strict=True)) / sum(votes)
    fused: Array = (1 / (1 + np.exp(-logit))).astype(np.float32)
    return fused


def _session(graph: Path) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(str(graph), options, ["CPUExecutionProvider"])
