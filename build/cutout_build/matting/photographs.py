"""Photographs of animals, things and people whose alpha is known in part: where they are certainly subject or not.

Composites teach what a mixed pixel is, but not what the inside of a real subject looks like: highlights in hair, eyes,
folds of pale cloth, which a network that has seen stamps alone takes for gaps. So photographs under free licences (see
`photo_packages`) and parts of them are looked at by the segmentation of quality `high`, twice (the second time
mirrored). Where both agree, that is the truth; the rest, the edge above all, has no say in the loss. As few of them
show people, cut-outs of people with a stencil's outline are set before scenes too; there the outline has no say.
"""

from __future__ import annotations

import io
from collections.abc import Iterable, Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image
from tqdm import tqdm

from cutout_build.matting import photo_packages, samples
from cutout_build.matting.frames import MIN_IOU
from cutout_build.matting.masks import MATTING_SIDE
from cutout_build.matting.photo_packages import PEOPLE, PHOTO_PACKAGES, files
from cutout_build.matting.samples import Frame, UInt8, over_backdrop
from cutout_build.matting.sources import drawn_folder, training_backdrops
from cutout_build.quality.engine import Segmentation
from cutout_build.quality.metrics import iou
from cutout_core.contract.cpu import has_int8_dot_products
from cutout_core.contract.tensors import SEGMENTATION_HIGH
from cutout_core.imaging.resize import shrink

#: Shortest side of a photograph, and the longer sides to which it is shrunk as a scene and to be looked at, pixels.
MIN_SIDE, SCENE_SIDE, LOOKED_SIDE = 240, 1024, 1600
#: Thumbnails that differ by less on average, levels, are of one photograph.
ALIKE = 6.0
#: A mask's values up to the first are certainly background, from the second certainly subject; the least share of a
#: photograph that is certain, and the shares of it that a subject covers.
CERTAIN, MIN_CERTAIN, COVERED = (0.02, 0.98), 0.88, (0.03, 0.9)
#: Of the teacher: INT8 takes a third of the time, and is right where the CPU has the instructions for it.
_PRECISION = "int8" if has_int8_dot_products() else "fp32"
#: Nothing is known within this many pixels of what is not certain, or of a stencil's outline.
DOUBT = 3
#: Parts that are looked at of each photograph with a subject, and their share of each side.
PARTS, PART_SHARE = 3, (0.5, 0.8)
#: Scenes before which each cut-out of a person stands, and how much it is enlarged.
SCENES_EACH, ENLARGED = 3, (1.0, 2.0)


def taught_frames() -> list[Frame]:
    """Photographs, their parts and people before scenes, squeezed to 512 × 512, with the served mask, and `known` where
    the alpha is."""
    served, teacher = Segmentation(2), Segmentation(2, SEGMENTATION_HIGH.name)
    graphs = [engine.manifest.graphs[precision] for engine, precision in ((served, "fp32"), (teacher, _PRECISION))]
    folder = drawn_folder("taught", [__file__, photo_packages.__file__, samples.__file__], *graphs)
    if not (folder / "done").is_file():
        for index, rgb in enumerate(tqdm(photographs(LOOKED_SIDE), desc="photographs", unit="photo")):
            _keep(folder / f"photo-{index:04d}", _looked_at(rgb, np.random.default_rng(index), served, teacher))
        backdrops = scenes()
        for index, rgba in enumerate(tqdm(people(), desc="people", unit="person")):
            rng = np.random.default_rng([1, index])
            _keep(folder / f"person-{index:04d}", (_before(rgba, backdrops, rng, served) for _ in range(SCENES_EACH)))
        (folder / "done").touch()
    found = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as data:
            found.append(Frame("photo", data["image"], data["mask"], data["alpha"], data["known"]))
    return found


def scenes() -> list[UInt8]:
    """What stands behind the subjects of composites: the wallpapers of the training split, half of all, and every
    photograph, whatever it shows. RGB uint8."""
    photos, wallpapers = list(photographs(SCENE_SIDE)), training_backdrops()
    return photos + wallpapers * max(1, len(photos) // len(wallpapers))


def photographs(side: int) -> Iterator[UInt8]:
    """RGB uint8 [H, W, 3], the longer side at most `side`, each photograph once."""
    seen: list[UInt8] = []
    for source in PHOTO_PACKAGES:
        for file in files(source):
            rgb = _decoded(file, side)
            if rgb is None:
                continue
            thumbnail = cv2.resize(rgb, (16, 16), interpolation=cv2.INTER_AREA)
            if all(cv2.absdiff(thumbnail, other).mean() >= ALIKE for other in seen):
                seen.append(thumbnail)
                yield rgb


def people() -> Iterator[UInt8]:
    """RGBA uint8 [H, W, 4], people from head to foot; alpha is 0 or 255."""
    for file in files(PEOPLE):
        with Image.open(io.BytesIO(file)) as image:
            yield np.asarray(image.convert("RGBA"))


def _decoded(file: bytes, side: int) -> UInt8 | None:
    """The pixels of a photograph; None for what is none: small, long, transparent, of few colours, or damaged."""
    try:
        with Image.open(io.BytesIO(file)) as image:
            if min(image.size) < MIN_SIDE or max(image.size) > 2.5 * min(image.size) or image.mode not in ("RGB", "L"):
                return None
            rgb = image.convert("RGB")
    except (OSError, ValueError):
        return None
    rgb.thumbnail((side, side))
    pixels = np.asarray(rgb)
    colors = np.unique((pixels[::4, ::4] >> 3).reshape(-1, 3), axis=0)
    return pixels if len(colors) > 400 else None


def _looked_at(
    rgb: UInt8, rng: np.random.Generator, served: Segmentation, teacher: Segmentation
) -> Iterator[Frame | None]:
    """The whole photograph, and parts of it where it has a subject."""
    whole = _taught(rgb, served, teacher)
    yield whole
    for _ in range(PARTS if whole is not None else 0):
        share = rng.uniform(*PART_SHARE)
        height, width = (round(share * length) for length in rgb.shape[:2])
        top, left = rng.integers(0, rgb.shape[0] - height + 1), rng.integers(0, rgb.shape[1] - width + 1)
        if min(height, width) >= MIN_SIDE:
            yield _taught(rgb[top : top + height, left : left + width], served, teacher)


def _taught(rgb: UInt8, served: Segmentation, teacher: Segmentation) -> Frame | None:
    """None where the teacher is unsure, sees no subject, or the served network sees another one."""
    image = shrink(rgb, MATTING_SIDE)
    mask = _mask(served, image)
    if not COVERED[0] <= (mask > 0.5).mean() <= COVERED[1]:
        return None
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


def _before(rgba: UInt8, backdrops: list[UInt8], rng: np.random.Generator, served: Segmentation) -> Frame | None:
    """A person somewhere before a scene; None where the served network sees another subject."""
    scale = min(rng.uniform(*ENLARGED), MATTING_SIDE / max(rgba.shape[:2]))
    size = int(scale * rgba.shape[1]), int(scale * rgba.shape[0])
    weight = (rgba[..., 3:] / 255).astype(np.float32)
    color = cv2.resize(rgba[..., :3] * weight, size, interpolation=cv2.INTER_LINEAR)
    shown = cv2.resize(weight, size, interpolation=cv2.INTER_LINEAR)
    person = np.dstack([color / np.maximum(shown, 1 / 255)[..., None], 255 * shown]).astype(np.uint8)
    top, left = (int(rng.integers(0, MATTING_SIDE - length + 1)) for length in person.shape[:2])
    whole = np.zeros((MATTING_SIDE, MATTING_SIDE, 4), np.uint8)
    whole[top : top + person.shape[0], left : left + person.shape[1]] = person[:, :: rng.choice((-1, 1))]
    image = over_backdrop(whole, backdrops, rng)
    mask = _mask(served, image)
    alpha = np.where(whole[..., 3] > 127, 255, 0).astype(np.uint8)
    reach = 2 * (DOUBT + round(scale)) + 1
    around = np.ones((reach, reach), np.uint8)
    known = np.where(cv2.dilate(alpha, around) == cv2.erode(alpha, around), 255, 0).astype(np.uint8)
    if iou(mask, alpha / np.float32(255)) < MIN_IOU:
        return None
    return Frame("photo", image, np.rint(mask * 255).astype(np.uint8), alpha, known)


def _mask(served: Segmentation, image: UInt8) -> NDArray[np.float32]:
    return served.mask(served.input_from(image, shrink, served.manifest.divide_by_max))


def _keep(path: Path, frames: Iterable[Frame | None]) -> None:
    for index, frame in enumerate(frames):
        if frame is not None and frame.known is not None:
            planes = {"image": frame.image, "mask": frame.mask, "alpha": frame.alpha, "known": frame.known}
            np.savez(path.with_name(f"{path.name}-{index}.npz"), **planes)
