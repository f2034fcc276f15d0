"""Objects in a small picture, by one of the cascades of Haar-like features that OpenCV ships.

Viola and Jones, "Rapid Object Detection using a Boosted Cascade of Simple Features", CVPR 2001. Where the kernels are
compiled they ask the cascade, several windows at a time; elsewhere `cv2.CascadeClassifier` does, which finds the same.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

import cv2
import numpy as np
import numpy.typing as npt

from cutout_core.imaging import native

UInt8 = npt.NDArray[np.uint8]
Int32 = npt.NDArray[np.int32]

#: Longest side of a picture, pixels.
LONGEST = native.CASCADE_LONGEST
#: Each scale is by so much coarser than the one before, and windows that overlap but for this share are one object.
SCALE_STEP, APART = 1.2, 0.2
#: Of how many windows an object needs more.
MIN_NEIGHBOURS = 1

# The numbers of OpenCV's detector, to which the kernel keeps: side of the window, pixels; the part of it whose spread
# scales the features; the scale from which on every window is looked at, before it every other one each way; and what
# rounding may take off a stage's sum.
_WINDOW, _NORMED, _FINE, _SLACK = 20, (1, 1, 18, 18), 2.0, np.float32(1e-5)
#: Ints in a row of sums, as in cascade.c.
_PITCH = 160
_FEATURE = np.dtype([("corners", np.int32, (3, 4)), ("weights", np.int32, 3)])
_TREE = np.dtype(
    [("features", _FEATURE, 2), ("thresholds", np.float32, 2), ("leaves", np.float32, 3), ("flipped", np.int32)]
)
_STAGE = np.dtype([("trees", np.int32), ("threshold", np.float32)])

_local = threading.local()


class Found(NamedTuple):
    """A square, pixels, and how many windows saw something in it."""

    left: int
    top: int
    width: int
    height: int
    windows: int


def find_objects(file: Path, luma: UInt8) -> list[Found]:
    """What the cascade in `file` sees in uint8 [h, w], at most 128 pixels a side: squares of 20 pixels and more.

    Raises FileNotFoundError, and ValueError for a larger picture or a cascade that the kernel cannot ask.
    """
    if max(luma.shape) > LONGEST:
        raise ValueError(f"at most {LONGEST} pixels a side wanted, not {luma.shape}")
    if native.KERNELS is not None:
        squares, counts = _read(file).find(luma, native.KERNELS)
    else:
        squares, counts = _opencv(file).detectMultiScale2(
            luma, scaleFactor=SCALE_STEP, minNeighbors=MIN_NEIGHBOURS, minSize=(_WINDOW, _WINDOW)
        )
    return [Found(*map(int, (*square, count))) for square, count in zip(squares, counts, strict=True)]


@dataclass(frozen=True, slots=True, eq=False)
class _Cascade:
    """Stages and trees as the kernel takes them; those of `trees` and the corners of `normed` are by the step between
    windows, 1 or 2."""

    stages: npt.NDArray[np.void]
    trees: dict[int, npt.NDArray[np.void]]
    normed: dict[int, Int32]

    def find(self, luma: UInt8, kernels: native.Kernels) -> tuple[Sequence[Sequence[int]], Sequence[int]]:
        """As detectMultiScale2: squares (left, top, width, height), and how many windows saw each."""
        height, width = luma.shape
        windows: list[tuple[int, int, int, int]] = []
        factor = 1.0
        while (side := round(_WINDOW * factor)) <= min(height, width):
            scale = np.float32(factor)
            step = 2 if scale < _FINE else 1
            size = round(float(np.float32(width) / scale)), round(float(np.float32(height) / scale))
            small = cv2.resize(luma, size, interpolation=cv2.INTER_LINEAR_EXACT)
            places = kernels.cascade(small, step, self.stages, self.trees[step], self.normed[step])
            windows += [(x, y, side, side) for x, y in np.rint(places.astype(np.float32) * scale).astype(int).tolist()]
            factor *= SCALE_STEP
        squares, counts = cv2.groupRectangles(windows, MIN_NEIGHBOURS, APART)
        return [(x, y, min(w, width - x), min(h, height - y)) for x, y, w, h in squares], counts


@cache
def _read(file: Path) -> _Cascade:
    """Raises FileNotFoundError, and ValueError for a cascade that the kernel cannot ask."""
    root = ElementTree.parse(file).getroot().find("cascade")
    if root is None or [root.findtext(name) for name in ("width", "height")] != [str(_WINDOW)] * 2:
        raise ValueError(f"{file} is no cascade of {_WINDOW} × {_WINDOW} pixels")
    boxes = np.array([_boxes(node) for node in root.iterfind("features/_")])
    weak = root.findall("stages/_/weakClassifiers/_")
    trees = np.zeros(len(weak), _TREE)
    asked, trees["thresholds"], trees["leaves"], trees["flipped"] = map(np.array, zip(*map(_tree, weak), strict=True))
    trees["features"]["weights"] = boxes[asked, :, 4]
    by_step = {step: trees.copy() for step in (1, 2)}
    for step, table in by_step.items():
        table["features"]["corners"] = _corners(boxes[..., :4], step)[asked]
    stages = np.array([_stage(node) for node in root.iterfind("stages/_")], _STAGE)
    return _Cascade(stages, by_step, {step: _corners(np.array(_NORMED), step) for step in (1, 2)})


def _boxes(node: ElementTree.Element) -> list[list[int]]:
    """A feature's three boxes, empty ones last: left, top, width, height and weight. Raises ValueError."""
    boxes = [[float(word) for word in (box.text or "").split()] for box in node.iterfind("rects/_")]
    whole = [[int(value) for value in box] for box in boxes]
    within = all(x >= 0 and y >= 0 and x + w <= _WINDOW and y + h <= _WINDOW for x, y, w, h, _ in whole)
    if node.find("tilted") is not None or len(boxes) > 3 or whole != boxes or not within:
        raise ValueError(f"a cascade's feature is not one of at most three upright boxes: {boxes}")
    return whole + [[0, 0, 0, 0, 0]] * (3 - len(boxes))


def _stage(node: ElementTree.Element) -> tuple[int, np.float32]:
    return len(node.findall("weakClassifiers/_")), np.float32(node.findtext("stageThreshold", "")) - _SLACK


def _tree(node: ElementTree.Element) -> tuple[list[int], list[float], list[float], int]:
    """Which features are asked for, their thresholds, the leaves, and whether the first answer is flipped. Raises
    ValueError for a tree that does not ask two questions, one after the other."""
    words = node.findtext("internalNodes", "").split()
    leaves = [float(word) for word in node.findtext("leafValues", "").split()]
    order = words[:2] + words[4:6]
    if len(words) != 8 or len(leaves) != 3 or order not in (["0", "1", "-1", "-2"], ["1", "0", "-1", "-2"]):
        raise ValueError(f"a cascade's tree does not ask two questions: {words}")
    return [int(words[2]), int(words[6])], [float(words[3]), float(words[7])], leaves, -int(words[0] == "1")


def _corners(boxes: npt.NDArray[np.int_], step: int) -> Int32:
    """Where the sums at the corners of boxes, [..., 4], lie from those of their window on: int32 [..., 4]."""
    left, top, width, height = np.moveaxis(boxes, -1, 0)
    x = np.stack([left, left + width, left, left + width], axis=-1)
    y = np.stack([top, top, top + height, top + height], axis=-1)
    corners: Int32 = (y * _PITCH + x // step + x % step * (_PITCH // 2)).astype(np.int32)
    return corners


def _opencv(file: Path) -> cv2.CascadeClassifier:
    """This thread's own cascade: one that is asked cannot be shared."""
    known: dict[Path, cv2.CascadeClassifier] = _local.__dict__.setdefault("cascades", {})
    if file not in known:
        if not file.is_file():
            raise FileNotFoundError(file)
        known[file] = cv2.CascadeClassifier(str(file))
    return known[file]
