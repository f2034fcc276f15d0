"""Subjects with exact alpha, drawn by rule: hair, fur, feathers, leaves, glass and hard shapes.

Drawn at twice the size and area-shrunk, so that a strand thinner than a pixel covers its true share of it. Colour is
defined everywhere (under and around the strands), as straight alpha needs it. The same generator and size give the same
pixels with the same OpenCV.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]
Points = NDArray[np.float64]

_SUPERSAMPLING = 2
#: Fixed-point bits of OpenCV's drawing coordinates.
_SHIFT = 4


@dataclass(frozen=True, slots=True, eq=False)
class Canvas:
    """A drawing at twice the final size. rgb: [H, W, 3] uint8, defined everywhere; alpha: [H, W] uint8."""

    rgb: UInt8
    alpha: UInt8


def procedural_subject(kind: str, rng: np.random.Generator, side: int, texture: UInt8 | None = None) -> UInt8:
    """One subject as straight RGBA, uint8 [side, side, 4].

    kind: one of KINDS. texture: RGB uint8 [h, w, 3] for the subject's surface; None draws soft noise. Raises KeyError.
    """
    big = side * _SUPERSAMPLING
    surface = noise_texture(rng, big) if texture is None else cv2.resize(texture, (big, big))
    canvas = KINDS[kind](rng, surface)
    rgb = cv2.resize(canvas.rgb, (side, side), interpolation=cv2.INTER_AREA)
    alpha = cv2.resize(canvas.alpha, (side, side), interpolation=cv2.INTER_AREA)
    return np.dstack([rgb, alpha])


def noise_texture(rng: np.random.Generator, side: int) -> UInt8:
    """Coloured noise of several frequencies around one base colour, uint8 [side, side, 3]."""
    base = rng.uniform(20, 235, 3)
    field = np.zeros((side, side, 3), np.float32)
    for cells in (2, 8, 32):
        coarse = rng.normal(0, rng.uniform(2, 25), (cells, cells, 3)).astype(np.float32)
        field += cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC)
    return np.clip(base + field, 0, 255).astype(np.uint8)


def grain_texture(rng: np.random.Generator, height: int, width: int) -> Float32:
    """Streaks of one direction, long or short, as wood, cloth, grass and brushed metal have them.

    float32 [height, width, 3], mostly in 0..255. Next to a subject it must not be taken for its hair.
    """
    side = int(np.ceil(np.hypot(height, width)))
    field = np.zeros((side, side), np.float32)
    for _ in range(3):
        across, along = side / np.exp(rng.uniform(0.3, 3.4)), side / np.exp(rng.uniform(2.0, 6.5))
        cells = rng.normal(0, 1, (max(2, int(across)), max(2, int(along)))).astype(np.float32)
        field += np.float32(rng.uniform(0.2, 1)) * cv2.resize(cells, (side, side), interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.5:  # even ground with cracks or fibres in it
        field = 1.5 * np.maximum(field - np.float32(rng.uniform(0, 0.8)), 0) * rng.choice([-1, 1])
    bend = rng.normal(0, rng.uniform(0, 0.02) * side, (4, 4)).astype(np.float32)
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    y += cv2.resize(bend, (side, side), interpolation=cv2.INTER_CUBIC)
    field = cv2.remap(field.astype(np.float32), x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT)
    turn = cv2.getRotationMatrix2D((side / 2, side / 2), float(rng.uniform(0, 180)), 1)
    field = cv2.warpAffine(field, turn, (side, side), borderMode=cv2.BORDER_REFLECT)
    top, left = (side - height) // 2, (side - width) // 2
    shown = field[top : top + height, left : left + width, None]
    if rng.random() < 0.3:  # bands
        shown = np.tanh(4 * shown)
    tint = np.exp(rng.uniform(2, 4.7)) * rng.uniform(0.6, 1.0, 3).astype(np.float32)
    base = _hair_color(rng) if rng.random() < 0.5 else rng.uniform(20, 235, 3)
    return np.asarray(base.astype(np.float32) + shown * tint, np.float32)


def _hair(rng: np.random.Generator, surface: UInt8) -> Canvas:
    """A head with long strands, in locks that share a direction, and flyaway hairs."""
    side = len(surface)
    outline = _blob(rng, side, rng.uniform(0.18, 0.3))
    alpha = _filled(side, outline)
    canvas = Canvas(surface.copy(), alpha)
    base = _hair_color(rng)
    _dye(canvas, base, rng)
    locks, straight = int(rng.integers(25, 90)), rng.uniform(0.1, 1.2)
    length = side * rng.uniform(0.08, 0.3)
    flow, pull = rng.uniform(0, 2 * np.pi), rng.uniform(0, 1.5)
    for _ in range(locks):
        root, normal = _on_outline(outline, rng)
        heading = float(np.angle(np.exp(1j * (normal + rng.normal(0, 0.3))) + pull * np.exp(1j * flow)))
        curl = rng.normal(0, straight)
        width, tone = rng.uniform(0.005, 0.05) * side, _shade(base, rng, 20)
        for _ in range(int(rng.integers(15, 90))):
            start = root + rng.normal(0, width, 2)
            strand = _strand(rng, start, heading + rng.normal(0, 0.1), length * rng.uniform(0.4, 1.2), curl)
            _draw(canvas, strand, _shade(tone, rng, 12), int(rng.integers(1, 3)))
    for _ in range(int(rng.integers(10, 120))):
        root, normal = _on_outline(outline, rng)
        strand = _strand(rng, root, normal + rng.normal(0, 0.8), length * rng.uniform(0.3, 1.5), rng.normal(0, 2))
        _draw(canvas, strand, _shade(base, rng, 35), 1)
    return canvas


def _fur(rng: np.random.Generator, surface: UInt8) -> Canvas:
    """A body whose whole edge is short hair that follows a slowly turning direction."""
    side = len(surface)
    outline = _blob(rng, side, rng.uniform(0.2, 0.36))
    canvas = Canvas(surface.copy(), _filled(side, outline))
    length = side * rng.uniform(0.012, 0.07)
    lean = rng.uniform(-1.2, 1.2)
    per_point = int(rng.integers(2, 9))
    for index in range(0, len(outline), 2):
        normal = _normal(outline, index)
        lean += rng.normal(0, 0.03)
        for _ in range(per_point):
            start = outline[index] - 0.4 * length * _direction(normal) + rng.normal(0, 2, 2)
            strand = _strand(rng, start, normal + lean + rng.normal(0, 0.3), length * rng.uniform(0.7, 2), 0.6 * lean)
            x, y = np.clip(start, 0, side - 1).astype(int)
            _draw(canvas, strand, _shade(surface[y, x].astype(float), rng, 20), int(rng.integers(1, 3)))
    return canvas


def _feather(rng: np.random.Generator, surface: UInt8) -> Canvas:
    """A shaft with barbs; barbs stick together and part here and there."""
    side = len(surface)
    canvas = Canvas(surface.copy(), np.zeros((side, side), np.uint8))
    base = surface[side // 2, side // 2].astype(float)
    for _ in range(int(rng.integers(1, 4))):
        start = rng.uniform(0.25, 0.75, 2) * side
        shaft = _strand(rng, start, rng.uniform(0, 2 * np.pi), side * rng.uniform(0.4, 0.8), rng.normal(0, 0.4), 60)
        half = side * rng.uniform(0.05, 0.14)
        slant = rng.uniform(0.4, 1.1)
        for turn in (-1, 1):
            lean = 0.0
            for position in np.linspace(2, 58, int(rng.integers(90, 300))):
                lean = rng.normal(0, 0.25) if rng.random() < 0.06 else lean * 0.98
                index = int(position)
                along = np.arctan2(*(shaft[min(index + 1, 59)] - shaft[index - 1])[::-1])
                reach = half * np.sin(np.pi * (position / 60) ** 0.7) + 2
                barb = _strand(rng, shaft[index], along + turn * (slant + lean), reach * rng.uniform(0.8, 1.1), -turn)
                _draw(canvas, barb, _shade(base, rng, 15), 2)
        _draw(canvas, shaft, _shade(base + 40, rng, 5), 4)
    return canvas


def _leaves(rng: np.random.Generator, surface: UInt8) -> Canvas:
    """Twigs with pointed leaves and gaps between them."""
    side = len(surface)
    canvas = Canvas(surface.copy(), np.zeros((side, side), np.uint8))
    for _ in range(int(rng.integers(3, 10))):
        twig = _strand(rng, rng.uniform(0.3, 0.7, 2) * side, rng.uniform(0, 6.3), side * 0.6, rng.normal(0, 0.8), 40)
        _draw(canvas, twig, np.array([90.0, 70, 40]) + rng.normal(0, 15), int(rng.integers(2, 6)))
        size = side * rng.uniform(0.03, 0.12)
        for index in range(2, 40, int(rng.integers(2, 6))):
            heading = rng.uniform(0, 2 * np.pi)
            t = np.linspace(0, 1, 14)
            width = size * rng.uniform(0.15, 0.4) * np.sin(np.pi * t**0.8)
            ahead, aside = _direction(heading), _direction(heading + np.pi / 2)
            center = twig[index] + np.outer(t * size * rng.uniform(0.6, 1.3), ahead)
            polygon = np.vstack([center + width[:, None] * aside, (center - width[:, None] * aside)[::-1]])
            cv2.fillPoly(canvas.alpha, [_fixed(polygon)], 255, cv2.LINE_AA, _SHIFT)
    return canvas


def _shape(rng: np.random.Generator, surface: UInt8) -> Canvas:
    """Hard edges as products have them: boxes, discs, polygons, letters, with holes."""
    side = len(surface)
    alpha = np.zeros((side, side), np.uint8)
    for _ in range(int(rng.integers(1, 4))):
        center, size = rng.uniform(0.3, 0.7, 2) * side, rng.uniform(0.12, 0.35) * side
        _add_shape(rng, alpha, center, size, 255)
    for _ in range(int(rng.integers(0, 3))):
        _add_shape(rng, alpha, rng.uniform(0.3, 0.7, 2) * side, rng.uniform(0.02, 0.1) * side, 0)
    if rng.random() < 0.3:
        text = "".join(rng.choice(list("ABCEGHKMNRSTXZ235689"), 4))
        place = (int(rng.uniform(0.05, 0.4) * side), int(rng.uniform(0.3, 0.9) * side))
        cv2.putText(alpha, text, place, cv2.FONT_HERSHEY_SIMPLEX, side / 150, 255, int(side / 30), cv2.LINE_AA)
    return Canvas(surface.copy(), alpha)


def _glass(rng: np.random.Generator, surface: UInt8) -> Canvas:
    """A translucent body with a rim and highlights that are denser."""
    solid = _shape(rng, surface)
    side = len(surface)
    inner = cv2.erode(solid.alpha, np.ones((int(side * 0.02) | 1,) * 2, np.uint8))
    field = cv2.resize(rng.uniform(0.1, 0.8, (4, 4)).astype(np.float32), (side, side), interpolation=cv2.INTER_CUBIC)
    soft = cv2.GaussianBlur(inner, (0, 0), side * rng.uniform(0.002, 0.01)).astype(np.float32) / 255
    share = 1 - soft * (1 - np.clip(field, 0.05, 0.9))
    highlights = np.zeros((side, side), np.uint8)
    for _ in range(int(rng.integers(1, 5))):
        path = _strand(rng, rng.uniform(0.3, 0.7, 2) * side, rng.uniform(0, 6.3), side * 0.25, rng.normal(0, 1))
        cv2.polylines(highlights, [_fixed(path)], False, 255, int(rng.integers(2, side // 40)), cv2.LINE_AA, _SHIFT)
    shine = cv2.GaussianBlur(highlights, (0, 0), side * 0.004).astype(np.float32) / 255 * rng.uniform(0.3, 1)
    alpha = solid.alpha * np.maximum(share, shine)
    rgb = surface + shine[..., None] * (255.0 - surface)
    return Canvas(rgb.astype(np.uint8), np.rint(alpha).astype(np.uint8))


def _soft(rng: np.random.Generator, surface: UInt8) -> Canvas:
    """A shape out of focus (a disc as the aperture) or in motion (a line)."""
    kind = rng.choice(["shape", "leaves", "fur"])
    sharp = KINDS[str(kind)](rng, surface)
    size = int(rng.uniform(0.006, 0.05) * len(surface)) * 2 + 3
    kernel = np.zeros((size, size), np.float32)
    if rng.random() < 0.5:
        cv2.circle(kernel, (size // 2, size // 2), size // 2, 1, -1, cv2.LINE_AA)
    else:
        reach = _direction(rng.uniform(0, np.pi)) * (size // 2)
        start, end = np.rint(size // 2 - reach).astype(int), np.rint(size // 2 + reach).astype(int)
        cv2.line(kernel, start.tolist(), end.tolist(), 1, 1, cv2.LINE_AA)
    kernel /= kernel.sum()
    weight = cv2.filter2D(sharp.alpha.astype(np.float32) / 255, -1, kernel)
    color = cv2.filter2D(sharp.rgb * (sharp.alpha[..., None].astype(np.float32) / 255), -1, kernel)
    rgb = np.where(weight[..., None] > 0.01, color / np.maximum(weight[..., None], 0.01), sharp.rgb)
    return Canvas(np.clip(rgb, 0, 255).astype(np.uint8), np.rint(weight * 255).astype(np.uint8))


#: Kind to the function that draws it.
KINDS: dict[str, Callable[[np.random.Generator, UInt8], Canvas]] = {
    "hair": _hair,
    "fur": _fur,
    "feather": _feather,
    "leaves": _leaves,
    "shape": _shape,
    "glass": _glass,
    "soft": _soft,
}


def _blob(rng: np.random.Generator, side: int, radius: float) -> Points:
    """A smooth closed outline around the middle, [n, 2] (x, y) pixels."""
    angles = np.linspace(0, 2 * np.pi, int(side * 1.2), endpoint=False)
    reach = np.ones_like(angles)
    for order in range(1, 7):
        reach += rng.normal(0, 0.18 / order) * np.cos(order * angles + rng.uniform(0, 2 * np.pi))
    center = rng.uniform(0.4, 0.6, 2) * side
    stretch = np.array([rng.uniform(0.7, 1.2), rng.uniform(0.7, 1.2)])
    outline: Points = center + (radius * side * np.clip(reach, 0.4, 1.8))[:, None] * stretch * np.stack(
        [np.cos(angles), np.sin(angles)], 1
    )
    return outline


def _add_shape(rng: np.random.Generator, alpha: UInt8, center: Points, size: float, value: int) -> None:
    turn = rng.uniform(0, np.pi)
    kind = rng.integers(3)
    if kind == 0:
        axes = (int(size * 16), int(size * rng.uniform(0.4, 1) * 16))
        middle = tuple((center * 16).astype(int).tolist())
        cv2.ellipse(alpha, middle, axes, np.degrees(turn), 0, 360, value, -1, cv2.LINE_AA, _SHIFT)
        return
    corners = 4 if kind == 1 else int(rng.integers(3, 9))
    angles = np.sort(rng.uniform(0, 2 * np.pi, corners)) if kind == 2 else np.array([0.6, 2.5, 3.7, 5.7])
    reach = size * (rng.uniform(0.5, 1.2, corners) if kind == 2 else np.ones(4))
    polygon = center + reach[:, None] * np.stack([np.cos(angles + turn), np.sin(angles + turn)], 1)
    cv2.fillPoly(alpha, [_fixed(polygon)], value, cv2.LINE_AA, _SHIFT)


def _strand(
    rng: np.random.Generator, start: Points, heading: float, length: float, curl: float, count: int = 14
) -> Points:
    """A curve of `count` points that turns by `curl` radians along its length, with a slight waver."""
    turns = heading + curl * np.linspace(0, 1, count) + np.cumsum(rng.normal(0, 0.06, count))
    steps = np.stack([np.cos(turns), np.sin(turns)], 1) * (length / count)
    strand: Points = start + np.cumsum(steps, 0)
    return strand


def _draw(canvas: Canvas, strand: Points, color: Points, thickness: int) -> None:
    path = [_fixed(strand)]
    rgb = tuple(np.clip(color, 0, 255).tolist())
    cv2.polylines(canvas.rgb, path, False, rgb, thickness + 2, cv2.LINE_8, _SHIFT)
    cv2.polylines(canvas.alpha, path, False, 255, thickness, cv2.LINE_AA, _SHIFT)


def _filled(side: int, outline: Points) -> UInt8:
    alpha = np.zeros((side, side), np.uint8)
    cv2.fillPoly(alpha, [_fixed(outline)], 255, cv2.LINE_AA, _SHIFT)
    return alpha


def _dye(canvas: Canvas, base: Points, rng: np.random.Generator) -> None:
    """Gives the surface the hair's colour, keeping some of its own light and shade."""
    keep = rng.uniform(0.1, 0.6)
    light = cv2.cvtColor(canvas.rgb, cv2.COLOR_RGB2GRAY).astype(np.float32)[..., None]
    canvas.rgb[:] = np.clip(base + keep * (light - light.mean()), 0, 255).astype(np.uint8)


def _hair_color(rng: np.random.Generator) -> Points:
    colors = [
        (25, 20, 18),
        (60, 40, 28),
        (105, 72, 45),
        (165, 125, 80),
        (215, 185, 135),
        (135, 60, 35),
        (190, 190, 190),
    ]
    return _shade(np.array(colors[rng.integers(len(colors))], float), rng, 12)


def _shade(color: Points, rng: np.random.Generator, spread: float) -> Points:
    shaded: Points = color + rng.normal(0, spread) + rng.normal(0, spread / 4, 3)
    return shaded


def _on_outline(outline: Points, rng: np.random.Generator) -> tuple[Points, float]:
    index = int(rng.integers(len(outline)))
    return outline[index], _normal(outline, index)


def _normal(outline: Points, index: int) -> float:
    """Direction of the outward normal, radians."""
    dx, dy = outline[(index + 3) % len(outline)] - outline[index - 3]
    return float(np.arctan2(-dx, dy))


def _direction(angle: float) -> Points:
    return np.array([np.cos(angle), np.sin(angle)])


def _fixed(points: Points) -> NDArray[np.int32]:
    fixed: NDArray[np.int32] = np.rint(points * (1 << _SHIFT)).astype(np.int32)
    return fixed
