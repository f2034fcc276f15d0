"""Photos built to deserve one warning each, and ordinary ones that deserve none, with exact alpha.

A stamp over a scene without a subject, both of one split, 512 × 512: two stamps apart from each other; a stamp that the
border cuts; one on a background in the colour of its edge; one whose inside lets the background through.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cutout_build.quality.calibration_data import Case, Source, cached_cases, empty_cases
from cutout_build.quality.composites import encode_jpeg
from cutout_build.quality.stamps import load_stamp, stamps
from cutout_core.contract import ResultWarning
from cutout_core.contract.tensors import ALPHA_SIZE

UInt8 = NDArray[np.uint8]
Float32 = NDArray[np.float32]

#: Colour of the subject, its alpha, and the background: [S, S, 3], [S, S] and [S, S, 3].
_Layers = tuple[Float32, Float32, Float32]
_Build = Callable[[list[UInt8], UInt8, np.random.Generator], _Layers]

#: Photos of each kind, per split.
COUNT = 24
#: Contrast that is left of a background in the edge's colour.
LIKENESS = 0.2
#: Alpha of a see-through inside.
GLASS = (0.3, 0.6)


def warning_cases(split: str) -> Iterator[tuple[Case, ResultWarning | None]]:
    """All built photos of one split with the warning that each deserves."""
    for kind, (warning, build) in KINDS.items():
        name = f"{split}-{kind.replace(' ', '-')}-{COUNT}"
        for case in cached_cases(name, kind, _sources(split, kind, build)):
            yield case, warning


def silhouette(truth: Float32) -> Float32:
    """The mask that a perfect segmentation would give: soft by a few pixels, and whole where the subject is
    see-through."""
    mask: Float32 = cv2.GaussianBlur((truth > 0.1).astype(np.float32), (0, 0), 2)
    return mask


def _sources(split: str, kind: str, build: _Build) -> Iterator[Source]:
    rng = np.random.default_rng([*split.encode(), *kind.encode()])
    files, grounds = stamps(split), [case.rgb for case in empty_cases(split)]
    for index in range(COUNT):
        chosen = [files[i] for i in rng.choice(len(files), 2, replace=False)]
        ground = grounds[rng.integers(len(grounds))]
        color, alpha, behind = build([load_stamp(path) for path in chosen], ground, rng)
        photo = alpha[..., None] * color + (1 - alpha[..., None]) * behind + rng.normal(0, 2, behind.shape)
        file = encode_jpeg(np.clip(photo + 0.5, 0, 255).astype(np.uint8), 90)
        yield Source(f"{chosen[0].stem} {index}", file, alpha.astype(np.float32))


def _ordinary(pictures: list[UInt8], ground: UInt8, rng: np.random.Generator) -> _Layers:
    size = rng.uniform(0.4, 0.8)
    return *_placed(pictures[0], size, (0.5 + rng.uniform(-0.08, 0.08), 0.5 + rng.uniform(-0.08, 0.08))), _float(ground)


def _several(pictures: list[UInt8], ground: UInt8, rng: np.random.Generator) -> _Layers:
    first = _placed(pictures[0], rng.uniform(0.3, 0.42), (0.26, rng.uniform(0.35, 0.65)))
    second = _placed(pictures[1], rng.uniform(0.3, 0.42), (0.74, rng.uniform(0.35, 0.65)))
    return np.where(first[1][..., None] > 0, first[0], second[0]), np.maximum(first[1], second[1]), _float(ground)


def _cut(pictures: list[UInt8], ground: UInt8, rng: np.random.Generator) -> _Layers:
    along, across = rng.uniform(0.35, 0.65), rng.choice([0.05, 0.95])
    center = (along, across) if rng.random() < 0.5 else (across, along)
    return *_placed(pictures[0], rng.uniform(0.5, 0.8), center), _float(ground)


def _alike(pictures: list[UInt8], ground: UInt8, rng: np.random.Generator) -> _Layers:
    color, alpha, behind = _ordinary(pictures, ground, rng)
    edge = (alpha > 0.9) & (cv2.erode(alpha, np.ones((15, 15), np.uint8)) < 0.5)
    edge = edge if edge.any() else alpha > 0.5
    return color, alpha, np.clip(color[edge].mean(axis=0) + LIKENESS * (behind - behind.mean(axis=(0, 1))), 0, 255)


def _glass(pictures: list[UInt8], ground: UInt8, rng: np.random.Generator) -> _Layers:
    color, alpha, behind = _ordinary(pictures, ground, rng)
    inside = cv2.GaussianBlur(cv2.erode(alpha, np.ones((9, 9), np.uint8)), (0, 0), 2)
    return color, alpha * (1 - inside * (1 - rng.uniform(*GLASS))), behind


#: Kind to the warning that it deserves and the function that builds it.
KINDS: dict[str, tuple[ResultWarning | None, _Build]] = {
    "ordinary": (None, _ordinary),
    "background like the edge": (ResultWarning.LOW_CONTRAST_EDGE, _alike),
    "cut by the border": (ResultWarning.SUBJECT_TOUCHES_BORDER, _cut),
    "two subjects": (ResultWarning.SEVERAL_SUBJECTS, _several),
    "see-through inside": (ResultWarning.PROBABLY_TRANSPARENT, _glass),
}


def _placed(rgba: UInt8, size: float, center: tuple[float, float]) -> tuple[Float32, Float32]:
    """Colour and alpha of a stamp in a square of ALPHA_SIZE; size: of its longer side, center: (x, y), as shares."""
    scale = size * ALPHA_SIZE / max(rgba.shape[:2])
    width, height = (max(1, round(side * scale)) for side in (rgba.shape[1], rgba.shape[0]))
    canvas = Image.new("RGBA", (ALPHA_SIZE, ALPHA_SIZE))
    left, top = round(center[0] * ALPHA_SIZE - width / 2), round(center[1] * ALPHA_SIZE - height / 2)
    canvas.paste(Image.fromarray(rgba).resize((width, height), Image.Resampling.LANCZOS), (left, top))
    layers = _float(np.asarray(canvas))
    return layers[..., :3], layers[..., 3] / 255


def _float(levels: UInt8) -> Float32:
    return levels.astype(np.float32)
