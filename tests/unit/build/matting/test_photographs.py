"""Where the photographs come from and what is known of them; stand-ins for packages and networks, nothing fetched."""

from __future__ import annotations

import io
import re
import struct
import zlib
from pathlib import Path, PurePosixPath

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cutout_build.matting import photo_packages, photographs
from cutout_build.matting.masks import MATTING_SIDE
from cutout_build.matting.photo_packages import PEOPLE, PHOTO_PACKAGES, PhotoPackage, archived
from cutout_build.matting.samples import UInt8
from cutout_build.quality.stamps import PACKAGES, split_of

FREE = re.compile(r"public-domain|CC0-1\.0|CC-BY(-SA)?-\d\.\d|GPL-[23]\+|BSD-2-clause|Expat")


def photo(rng: np.random.Generator, suffix: str = "JPEG") -> bytes:
    pixels = np.kron(rng.integers(0, 256, (30, 40, 3), dtype=np.uint8), np.ones((10, 10, 1), np.uint8))
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, suffix)
    return file.getvalue()


def resource(*contents: bytes) -> bytes:
    """A compiled Qt resource, version 1, with the contents in a folder; the last one compressed."""
    blobs, places = b"", []
    for content in contents:
        places.append(len(blobs))
        if content is contents[-1]:
            content = struct.pack(">I", len(content)) + zlib.compress(content)
        blobs += struct.pack(">I", len(content)) + content
    nodes = struct.pack(">IHII", 0, 2, 1, 1) + struct.pack(">IHII", 0, 2, len(contents), 2)
    for index, place in enumerate(places):
        nodes += struct.pack(">IHHHI", 0, index == len(contents) - 1, 0, 0, place)
    return struct.pack(">4sIIII", b"qres", 1, 20, 20 + len(nodes), 0) + nodes + blobs


@pytest.mark.parametrize("source", [*PHOTO_PACKAGES, PEOPLE], ids=lambda source: str(source.package))
def test_every_package_names_free_licences(source: PhotoPackage) -> None:
    assert source.licenses
    assert all(FREE.fullmatch(name) for name in source.licenses)
    assert source.shows
    assert source.package not in PACKAGES  # those that are judged by


def test_wallpapers_are_of_the_training_split() -> None:
    files = [file for source in PHOTO_PACKAGES if "wallpapers" in source.package for file in source.files]
    assert files
    assert {split_of(PurePosixPath(file).stem) for file in files} == {"train"}


def test_files_of_an_archive_are_read_compressed_or_not() -> None:
    contents = [b"one", b"", bytes(range(256)) * 9]
    assert sorted(archived(resource(*contents))) == sorted(contents)


def test_each_photograph_comes_once_and_drawings_do_not(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(0)
    first, second, third = (photo(rng) for _ in range(3))
    plain = io.BytesIO()
    Image.new("RGB", (400, 300), "red").save(plain, "PNG")
    share = tmp_path / "usr/share"
    share.mkdir(parents=True)
    (share / "a.rcc").write_bytes(resource(first, b"text", second))
    for name, content in (("b.jpg", third), ("c.jpg", first), ("d.jpg", plain.getvalue()), ("e.txt", first)):
        (share / name).write_bytes(content)
    monkeypatch.setattr(photo_packages, "package_folder", lambda package: tmp_path)
    monkeypatch.setattr(photographs, "PHOTO_PACKAGES", (PhotoPackage("p", ("a.rcc", "*.jpg"), ("CC0-1.0",), "noise"),))
    found = list(photographs.photographs(200))
    assert [rgb.shape for rgb in found] == [(150, 200, 3)] * 3


class Seeing:
    """A segmentation that returns what it is told to."""

    def __init__(self, mask: NDArray[np.float32]) -> None:
        self.manifest = type("Manifest", (), {"divide_by_max": False})
        self._mask = mask

    def input_from(self, image: UInt8, *_: object) -> UInt8:
        return image

    def mask(self, *_: object) -> NDArray[np.float32]:
        return self._mask


def test_nothing_is_known_along_a_stencils_outline(monkeypatch: pytest.MonkeyPatch) -> None:
    rgba = np.zeros((200, 100, 4), np.uint8)
    rgba[20:180, 20:80] = 200
    backdrop = np.random.default_rng(0).integers(0, 256, (600, 600, 3), dtype=np.uint8)
    everything = Seeing(np.ones((MATTING_SIDE, MATTING_SIDE), np.float32))
    monkeypatch.setattr(photographs, "MIN_IOU", 0.0)
    frame = photographs._before(rgba, [backdrop], np.random.default_rng(3), everything)  # type: ignore[arg-type]
    assert frame is not None
    assert frame.known is not None
    assert set(np.unique(frame.alpha)) == set(np.unique(frame.known)) == {0, 255}
    columns = np.flatnonzero(frame.alpha.any(axis=0))
    row = int(np.flatnonzero(frame.alpha.any(axis=1)).mean())
    for edge in (columns[0], columns[-1]):
        assert not frame.known[row, edge - photographs.DOUBT : edge + photographs.DOUBT].any()
    assert frame.known[row, int(columns.mean())] == 255
    assert frame.known.mean() > 0.8 * 255


def test_a_person_whom_the_network_does_not_see_is_left_out() -> None:
    rgba = np.full((200, 100, 4), 255, np.uint8)
    nothing = Seeing(np.zeros((MATTING_SIDE, MATTING_SIDE), np.float32))
    backdrop = np.zeros((600, 600, 3), np.uint8)
    assert photographs._before(rgba, [backdrop], np.random.default_rng(0), nothing) is None  # type: ignore[arg-type]
