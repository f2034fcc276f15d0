"""Training samples: a crop of a composite, the mask that the network gets for it, the mode, and the exact alpha.

Two geometries, as the network is used at two scales: `square`, the whole photo squeezed to 512 × 512 with a mask from a
segmentation, and `tile`, native pixels with the upscaled alpha of a first pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from cutout_build.matting.masks import MATTING_SIDE, SEGMENTATION_SIDE, first_pass_alpha, wrong_mask
from cutout_build.matting.procedural import grain_texture
from cutout_build.matting.sources import Cutout
from cutout_build.quality.baselines import true_coarse_mask
from cutout_core.contract.tensors import MODES

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

#: How often a kind of subject is shown in each mode: the emphasis that makes the modes differ.
MODE_SHARES = {
    "hair": (0.05, 0.65, 0.30),
    "fur": (0.05, 0.50, 0.45),
    "feather": (0.10, 0.35, 0.55),
    "leaves": (0.20, 0.15, 0.65),
    "shape": (0.65, 0.05, 0.30),
    "glass": (0.45, 0.10, 0.45),
    "soft": (0.10, 0.40, 0.50),
    "stamp": (0.30, 0.25, 0.45),
    "photo": (0.25, 0.40, 0.35),
}
#: How often each kind is drawn.
KIND_SHARES = {
    "stamp": 0.42, "hair": 0.13, "fur": 0.11, "feather": 0.04,
    "leaves": 0.06, "shape": 0.14, "glass": 0.04, "soft": 0.06,
}  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Sample:
    """image: [S, S, 3] uint8; mask, alpha: [S, S] float32 in 0..1; mode: index into MODES; tile: at native scale.

    known: [S, S] float32, 1 where alpha is the truth and 0 where nobody knows it; None: everywhere.
    """

    image: UInt8
    mask: Float32
    alpha: Float32
    mode: int
    tile: bool
    known: Float32 | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Frame:
    """A whole 512 × 512 picture with the mask that the served segmentation gives for it, uint8 throughout.

    known: 255 where alpha is the truth, 0 where nobody knows it; None: everywhere.
    """

    kind: str
    image: UInt8
    mask: UInt8
    alpha: UInt8
    known: UInt8 | None = None


#: How often a sample is a part of a photograph; of the others, how often a part of a composite with a real mask.
PHOTO_SHARE, FRAME_SHARE = 0.18, 0.3
#: How often a subject stands before streaks.
GRAIN_SHARE = 0.45


class Sampler:
    """Draws samples of `side` pixels from cut-outs, backdrops and frames; everything random comes from the caller.

    photos: frames of photographs, of which the alpha is known in part.
    """

    def __init__(
        self,
        cutouts: list[Cutout],
        backdrops: list[UInt8],
        frames: list[Frame],
        side: int,
        photos: Sequence[Frame] = (),
    ) -> None:
        self._by_kind = {kind: [c for c in cutouts if c.kind == kind] for kind in KIND_SHARES}
        self._backdrops, self._frames, self._photos, self.side = backdrops, frames, photos, side

    def draw(self, rng: np.random.Generator) -> Sample:
        """The next sample."""
        if self._photos and rng.random() < PHOTO_SHARE:
            return self._from_frame(rng, self._photos)
        if self._frames and rng.random() < FRAME_SHARE:
            return self._from_frame(rng, self._frames)
        kind = str(rng.choice(list(KIND_SHARES), p=list(KIND_SHARES.values())))
        cutout = self._by_kind[kind][rng.integers(len(self._by_kind[kind]))]
        tile = bool(rng.random() < 0.4)
        rgba = recolored(resized(cutout.rgba, rng, (0.6, 1.0) if tile else (0.25, 1.0)), rng)
        rgba = _window(rgba, rng, self.side)
        alpha = rgba[..., 3].astype(np.float32) / 255
        image = over_backdrop(rgba, self._backdrops, rng)
        return Sample(image, self._mask(alpha, rng, tile), alpha, _mode(kind, rng), tile)

    def _mask(self, alpha: Float32, rng: np.random.Generator, tile: bool) -> Float32:
        if tile:
            return first_pass_alpha(alpha, rng, rng.uniform(1.2, 6.0))
        scale = MATTING_SIDE / SEGMENTATION_SIDE
        if rng.random() < 0.4:
            return true_coarse_mask(alpha, self.side, self.side, round(self.side / scale))
        return wrong_mask(alpha, rng, scale)

    def _from_frame(self, rng: np.random.Generator, frames: Sequence[Frame]) -> Sample:
        frame = frames[rng.integers(len(frames))]
        top, left = _edge_window(frame.alpha, rng, self.side)
        window = np.s_[top : top + self.side, left : left + self.side]
        image, planes = frame.image[window], [frame.mask[window], frame.alpha[window]]
        if frame.known is not None:
            planes.append(frame.known[window])
        if rng.random() < 0.5:
            image, planes = image[:, ::-1], [plane[:, ::-1] for plane in planes]
        mask, alpha, *known = (plane.astype(np.float32) / 255 for plane in planes)
        return Sample(np.ascontiguousarray(image), mask, alpha, _mode(frame.kind, rng), False, *known)


def resized(rgba: UInt8, rng: np.random.Generator, scales: tuple[float, float]) -> UInt8:
    """Shrunk with premultiplied colour, mirrored and turned by quarter turns; a square's squeeze changes the aspect."""
    scale, aspect = rng.uniform(*scales), np.exp(rng.uniform(-0.3, 0.3)) if scales[0] < 0.5 else 1.0
    height, width = rgba.shape[:2]
    size = (max(8, round(width * min(1, scale * aspect))), max(8, round(height * min(1, scale / aspect))))
    if size != (width, height):
        # Colour is defined under transparent pixels, so weighting by alpha matters only where it is not all zero.
        weight = rgba[..., 3:].astype(np.float32) / 255
        color = cv2.resize(rgba[..., :3] * weight, size, interpolation=cv2.INTER_AREA)
        plain = cv2.resize(rgba[..., :3], size, interpolation=cv2.INTER_AREA)
        alpha = cv2.resize(weight[..., 0], size, interpolation=cv2.INTER_AREA)
        shown = alpha[..., None]
        color = np.where(shown > 1 / 512, color / np.maximum(shown, 1 / 512), plain)
        rgba = np.dstack([np.clip(color + 0.5, 0, 255), alpha * 255 + 0.5]).astype(np.uint8)
    if rng.random() < 0.5:
        rgba = rgba[:, ::-1]
    if scales[0] < 0.5 or rng.random() < 0.5:
        rgba = np.rot90(rgba, rng.integers(4))
    return np.ascontiguousarray(rgba)


def recolored(rgba: UInt8, rng: np.random.Generator) -> UInt8:
    """Other light and hue in half of the cases."""
    if rng.random() < 0.5:
        return rgba
    gain = rng.uniform(0.6, 1.3) * rng.uniform(0.85, 1.15, 3)
    table = np.clip(255 * (np.arange(256) / 255)[:, None] ** rng.uniform(0.7, 1.4) * gain, 0, 255).astype(np.uint8)
    color = rgba[..., :3]
    if rng.random() < 0.4:
        color = color[..., rng.permutation(3)]
    mapped = np.dstack([table[:, i][color[..., i]] for i in range(3)])
    return np.dstack([mapped, rgba[..., 3]])


def over_backdrop(rgba: UInt8, backdrops: list[UInt8], rng: np.random.Generator) -> UInt8:
    """The cut-out over a part of a photograph, a plain colour or a gradient, as a camera and JPEG would leave it."""
    height, width = rgba.shape[:2]
    back = _backdrop(backdrops, rng, height, width)
    weight = rgba[..., 3:].astype(np.float32) / 255
    color = rgba[..., :3].astype(np.float32)
    solid = weight[..., 0] > 0.9
    if rng.random() < 0.35 and solid.any():  # subject and background of nearly one colour
        back += (color[solid].mean(0) - back.mean((0, 1))) * rng.uniform(0.4, 1.0)
    image = np.asarray(color * weight + np.clip(back, 0, 255) * (1 - weight), np.float32)
    if rng.random() < 0.3:
        image = 255 * (np.clip(image, 0, 255) / 255) ** rng.uniform(0.7, 1.4)
    if rng.random() < 0.7:
        image += rng.normal(0, rng.uniform(0, 6), image.shape)
    shown = np.clip(image + 0.5, 0, 255).astype(np.uint8)
    if rng.random() < 0.06:
        shown = cv2.cvtColor(cv2.cvtColor(shown, cv2.COLOR_RGB2GRAY), cv2.COLOR_GRAY2RGB)
    if rng.random() < 0.6:
        _, data = cv2.imencode(".jpg", shown, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(60, 98))])
        shown = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return shown


def _backdrop(backdrops: list[UInt8], rng: np.random.Generator, height: int, width: int) -> Float32:
    if rng.random() < 0.12:
        corners = rng.uniform(0, 255, (2, 2, 3)) if rng.random() < 0.6 else np.full((2, 2, 3), rng.uniform(0, 255, 3))
        plain: Float32 = cv2.resize(corners.astype(np.float32), (width, height), interpolation=cv2.INTER_LINEAR)
        return plain
    if rng.random() < GRAIN_SHARE:
        return grain_texture(rng, height, width)
    source = backdrops[rng.integers(len(backdrops))]
    limit = min(source.shape[0] / height, source.shape[1] / width)
    part = float(np.exp(rng.uniform(np.log(min(0.5, limit)), np.log(limit))))
    rows, columns = max(2, int(height * part)), max(2, int(width * part))
    top, left = rng.integers(0, source.shape[0] - rows + 1), rng.integers(0, source.shape[1] - columns + 1)
    crop = source[top : top + rows, left : left + columns]
    crop = crop[:, ::-1] if rng.random() < 0.5 else crop
    how = cv2.INTER_AREA if part >= 1 else cv2.INTER_LINEAR
    scene = cv2.resize(crop, (width, height), interpolation=how).astype(np.float32)
    if rng.random() < 0.35:
        scene = cv2.GaussianBlur(scene, (0, 0), float(rng.uniform(1, 12)))
    if rng.random() < 0.5:
        scene = scene * rng.uniform(0.6, 1.2, 3) + rng.normal(0, 15)
    if rng.random() < 0.15:
        middle = scene.mean()
        scene = (scene - middle) * rng.uniform(1.2, 2.5) + middle
    if rng.random() < 0.1:
        scene = np.repeat(cv2.cvtColor(scene.astype(np.float32), cv2.COLOR_RGB2GRAY)[..., None], 3, 2)
    return np.asarray(scene, np.float32)


def _window(rgba: UInt8, rng: np.random.Generator, side: int) -> UInt8:
    """A `side` × `side` part with an edge in it, transparent where it leaves the cut-out."""
    padded = cv2.copyMakeBorder(
        rgba, side // 2, side // 2, side // 2, side // 2, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0)
    )
    height, width = padded.shape[:2]
    if height < side or width < side:
        padded = cv2.copyMakeBorder(padded, 0, max(0, side - height), 0, max(0, side - width), cv2.BORDER_CONSTANT)
    top, left = _edge_window(padded[..., 3], rng, side)
    window: UInt8 = padded[top : top + side, left : left + side]
    return window


def _edge_window(alpha: UInt8, rng: np.random.Generator, side: int) -> tuple[int, int]:
    """Top and left of a window around a random pixel where the alpha is soft or changes side."""
    small = alpha[::2, ::2]
    soft: NDArray[np.bool_] = (small > 5) & (small < 250)
    inside = small > 127
    soft[:, 1:] |= inside[:, 1:] != inside[:, :-1]
    soft[1:] |= inside[1:] != inside[:-1]
    edge = np.flatnonzero(soft)
    height, width = alpha.shape
    if len(edge) == 0:
        y, x = int(rng.integers(height)), int(rng.integers(width))
    else:
        y, x = (2 * int(v) for v in np.unravel_index(edge[rng.integers(len(edge))], small.shape))
    shift = rng.integers(-side // 4, side // 4 + 1, 2)
    return (
        int(np.clip(y - side // 2 + shift[0], 0, height - side)),
        int(np.clip(x - side // 2 + shift[1], 0, width - side)),
    )


def _mode(kind: str, rng: np.random.Generator) -> int:
    return int(rng.choice(len(MODES), p=MODE_SHARES[kind]))
