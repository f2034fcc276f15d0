"""Photographs of people and things whose alpha is known in part: where they are certainly subject or background.

Composites teach what a mixed pixel is, but not what the inside of a real subject looks like: highlights in hair, eyes,
folds of pale cloth, which a network that has seen stamps alone takes for gaps. So the photographs that come with web
templates are looked at by the segmentation of quality `high`, twice (the second time mirrored). Where both agree, that
is the truth; the rest, the edge above all, has no say in the loss. What is kept in the cache is never committed.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import PurePosixPath

import cv2
import numpy as np
from PIL import Image
from tqdm import tqdm

from cutout_build.fetch_npm import npm_archive
from cutout_build.matting.frames import MIN_IOU
from cutout_build.matting.masks import MATTING_SIDE
from cutout_build.matting.samples import Frame, UInt8
from cutout_build.matting.sources import drawn_folder, training_backdrops
from cutout_build.quality.engine import Segmentation
from cutout_build.quality.metrics import iou
from cutout_core.contract.cpu import has_int8_dot_products
from cutout_core.contract.tensors import SEGMENTATION_HIGH
from cutout_core.imaging.resize import shrink

#: Packages of the JavaScript registry, and their versions. Under the MIT licence but for the first, which names none;
#: the photographs have licences of their own.
TEMPLATES = (
    ("@tabler/preview", "1.2.0"),
    ("soft-ui-design-system", "1.0.4"),
    ("material-kit", "2.0.4"),
    ("material-dashboard", "3.1.0"),
    ("argon-design-system-free", "1.2.0"),
    ("notus-js", "1.1.0"),
    ("paper-kit-2", "2.1.0"),
)
_SUFFIXES = {".jpg", ".jpeg", ".png", ".webp"}
#: Shortest side of a photograph, and the longer side to which it is shrunk, pixels.
MIN_SIDE, MAX_SIDE = 240, 1024
#: Thumbnails that differ by less on average, levels, are of one photograph.
ALIKE = 6.0
#: A mask's values up to the first are certainly background, from the second certainly subject; the least share of a
#: photograph that is certain, and the shares of it that a subject covers.
CERTAIN, MIN_CERTAIN, COVERED = (0.02, 0.98), 0.88, (0.03, 0.9)
#: Of the teacher: INT8 takes a third of the time, and is right where the CPU has the instructions for it.
_PRECISION = "int8" if has_int8_dot_products() else "fp32"
#: Nothing is known within this many pixels of what is not certain.
DOUBT = 3


def taught_frames() -> list[Frame]:
    """The photographs squeezed to 512 × 512, with the served mask, and `known` where the alpha is."""
    served, teacher = Segmentation(2), Segmentation(2, SEGMENTATION_HIGH.name)
    graphs = [engine.manifest.graphs[precision] for engine, precision in ((served, "fp32"), (teacher, _PRECISION))]
    folder = drawn_folder("taught", [__file__], *graphs)
    if not (folder / "done").is_file():
        for index, rgb in enumerate(tqdm(photographs(), desc="photographs", unit="photo")):
            frame = _taught(rgb, served, teacher)
            if frame is not None and frame.known is not None:
                path = folder / f"{index:04d}.npz"
                np.savez(path, image=frame.image, mask=frame.mask, alpha=frame.alpha, known=frame.known)
        (folder / "done").touch()
    found = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as data:
            found.append(Frame("photo", data["image"], data["mask"], data["alpha"], data["known"]))
    return found


def scenes() -> list[UInt8]:
    """What stands behind the subjects of composites: the wallpapers of the training split, half of all, and every
    photograph, whatever it shows. RGB uint8."""
    photos, wallpapers = list(photographs()), training_backdrops()
    return photos + wallpapers * max(1, len(photos) // len(wallpapers))


def photographs() -> Iterator[UInt8]:
    """RGB uint8 [H, W, 3], each photograph once."""
    seen: list[UInt8] = []
    for package, version in TEMPLATES:
        with npm_archive(package, version, timeout_s=600) as archive, tarfile.open(archive) as content:
            for member in content:
                if PurePosixPath(member.name).suffix.lower() not in _SUFFIXES or not member.isfile():
                    continue
                file = content.extractfile(member)
                rgb = None if file is None else _decoded(file.read())
                if rgb is None:
                    continue
                thumbnail = cv2.resize(rgb, (16, 16), interpolation=cv2.INTER_AREA)
                if all(cv2.absdiff(thumbnail, other).mean() >= ALIKE for other in seen):
                    seen.append(thumbnail)
                    yield rgb


def _decoded(file: bytes) -> UInt8 | None:
    """The pixels of a photograph; None for what is none: small, long, transparent, of few colours, or damaged."""
    try:
        with Image.open(io.BytesIO(file)) as image:
            if min(image.size) < MIN_SIDE or max(image.size) > 2.5 * min(image.size) or image.mode not in ("RGB", "L"):
                return None
            rgb = image.convert("RGB")
    except (OSError, ValueError):
        return None
    rgb.thumbnail((MAX_SIDE, MAX_SIDE))
    pixels = np.asarray(rgb)
    colors = np.unique((pixels[::4, ::4] >> 3).reshape(-1, 3), axis=0)
    return pixels if len(colors) > 400 else None


def _taught(rgb: UInt8, served: Segmentation, teacher: Segmentation) -> Frame | None:
    """None where the teacher is unsure, sees no subject, or the served network sees another one."""
    image = shrink(rgb, MATTING_SIDE)
    mask = served.mask(served.input_from(image, shrink, served.manifest.divide_by_max))
    looks = [teacher.input_from(side, shrink, teacher.manifest.divide_by_max) for side in (rgb, rgb[:, ::-1].copy())]
    plain, mirrored = (teacher.mask(look, _PRECISION) for look in looks)
    truth = (plain + mirrored[:, ::-1]) / 2
    certain = (truth <= CERTAIN[0]) | (truth >= CERTAIN[1])
    alpha = np.where(truth > 0.5, 255, 0).astype(np.uint8)
    levels = np.rint(mask * 255).astype(np.uint8)
    covered, agreed = float((alpha > 0).mean()), iou(mask, alpha / np.float32(255))
    if certain.mean() < MIN_CERTAIN or not COVERED[0] <= covered <= COVERED[1] or agreed < MIN_IOU:
        return None
    known = cv2.erode(certain.astype(np.uint8) * 255, np.ones((2 * DOUBT + 1, 2 * DOUBT + 1), np.uint8))
    return Frame("photo", image, levels, alpha, known)
