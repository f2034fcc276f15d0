"""The compiled cascade finds what OpenCV's own finds, and refuses what it cannot ask."""

from __future__ import annotations

from pathlib import Path

import cv2
import cv2.data
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cutout_build.errors import BuildError
from cutout_build.photos import photo
from cutout_core.imaging import native
from cutout_core.imaging.cascade import LONGEST, Found, find_objects
from tests.compiler import needs_compiler

UInt8 = NDArray[np.uint8]

FOLDER = Path(cv2.data.haarcascades)
FACES = FOLDER / "haarcascade_frontalface_alt2.xml"
#: Width and height, among them the least and the most, uneven ones, and a step between scales just fitting.
SIZES = [(128, 128), (128, 97), (61, 128), (20, 20), (24, 24), (23, 128), (128, 21), (40, 33), (71, 70)]


@pytest.fixture(scope="module")
def pictures() -> list[UInt8]:
    """The demo's photos, also mirrored, cut and turned, and pictures without anything."""
    noise = np.random.default_rng(0).integers(0, 256, (256, 256), dtype=np.uint8)
    made = [noise, cv2.GaussianBlur(noise, (0, 0), 3), np.full((64, 64), 90, np.uint8), np.zeros((64, 64), np.uint8)]
    for name in ("astronaut", "chelsea", "coffee"):
        try:
            luma = np.asarray(Image.open(photo(name)).convert("L"))
        except BuildError as error:
            pytest.skip(str(error))
        made += [luma, luma[:, ::-1], luma[:256, 100:400], cv2.rotate(luma, cv2.ROTATE_180), 255 - luma]
    return made


def found(luma: UInt8, monkeypatch: pytest.MonkeyPatch, kernels: native.Kernels | None) -> list[Found]:
    monkeypatch.setattr(native, "KERNELS", kernels)
    return sorted(find_objects(FACES, luma))  # OpenCV's order is that of its threads


@needs_compiler
@pytest.mark.parametrize("size", SIZES)
def test_the_kernel_finds_what_opencv_finds(
    pictures: list[UInt8], size: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = native.KERNELS
    assert kernels is not None
    for picture in pictures:
        luma = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        assert found(luma, monkeypatch, kernels) == found(luma, monkeypatch, None)


@needs_compiler
def test_of_faces_in_many_places_and_sizes_each_has_the_same_square(
    pictures: list[UInt8], monkeypatch: pytest.MonkeyPatch
) -> None:
    kernels = native.KERNELS
    face = pictures[4][60:220, 140:300]
    seen = 0
    for side in range(22, 100, 6):
        canvas = np.full((LONGEST, 120), 128, np.uint8)
        left, top = side % 17, side % 23
        canvas[top : top + side, left : left + side] = cv2.resize(face, (side, side), interpolation=cv2.INTER_AREA)
        by_kernel = found(canvas, monkeypatch, kernels)
        assert by_kernel == found(canvas, monkeypatch, None)
        seen += len(by_kernel)
    assert seen >= 8


@pytest.mark.parametrize("shape", [(0, 0), (19, 128), (128, 19), (1, 1)])
def test_in_a_picture_smaller_than_a_face_there_is_none(shape: tuple[int, int]) -> None:
    assert find_objects(FACES, np.zeros(shape, np.uint8)) == []


@pytest.mark.parametrize("shape", [(LONGEST + 1, 40), (40, LONGEST + 1)])
def test_a_picture_that_is_too_large_is_refused(shape: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="at most 128 pixels a side"):
        find_objects(FACES, np.zeros(shape, np.uint8))


@pytest.mark.parametrize("compiled", [pytest.param(True, marks=needs_compiler), False])
def test_a_missing_file_is_told(compiled: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if not compiled:
        monkeypatch.setattr(native, "KERNELS", None)
    with pytest.raises(FileNotFoundError):
        find_objects(tmp_path / "none.xml", np.zeros((40, 40), np.uint8))


@needs_compiler
@pytest.mark.parametrize(
    "name", ["haarcascade_frontalface_alt.xml", "haarcascade_eye_tree_eyeglasses.xml", "haarcascade_fullbody.xml"]
)
def test_a_cascade_that_the_kernel_cannot_ask_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cascade"):
        find_objects(FOLDER / name, np.zeros((40, 40), np.uint8))


@needs_compiler
def test_the_kernel_refuses_what_it_would_have_to_trust() -> None:
    kernels = native.KERNELS
    assert kernels is not None
    nothing = np.zeros(0, np.void)
    corners = np.zeros(4, np.int32)
    for luma, step in [
        (np.zeros((LONGEST + 1, 40), np.uint8), 1),
        (np.zeros((40, 40), np.uint8), 3),
        (np.zeros((40, 40), np.float32), 1),
        (np.zeros((40, 80), np.uint8)[:, ::2], 1),
    ]:
        with pytest.raises(ValueError, match="wanted"):
            kernels.cascade(luma, step, nothing, nothing, corners)
