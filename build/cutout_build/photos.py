"""The photographs of the demo, the checks and the tests: files of the scikit-image wheel, fetched, never committed.

Their licences are those that scikit-image 0.26.0 states in the docstrings of `skimage.data`.
"""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from cutout_build.errors import BuildError
from cutout_build.fetch import fetch_all
from cutout_build.sources import Artifact, PackageSource
from cutout_core.contract.paths import cache_root


@dataclass(frozen=True, slots=True)
class Photo:
    """`subject`: whether a viewer would name a subject; the others are textures. `license`: its terms and origin."""

    name: str
    subject: bool
    license: str
    artifact: Artifact


def _photo(filename: str, sha256: str, license_text: str, *, subject: bool = True) -> Photo:
    source = PackageSource("scikit-image", "0.26.0", f"skimage/data/{filename}")
    return Photo(filename.partition(".")[0], subject, license_text, Artifact(source, sha256))


PHOTOS: dict[str, Photo] = {
    photo.name: photo
    for photo in (
        _photo(
            "astronaut.png",
            "88431cd9653ccd539741b555fb0a46b61558b301d4110412b5bc28b5e3ea6cb5",
            "Public domain (NASA; Eileen Collins)",
        ),
        _photo(
            "chelsea.png",
            "596aa1e7cb875eb79f437e310381d26b338a81c2da23439704a73c4651e8c4bb",
            "CC0-1.0 (Stefan van der Walt)",
        ),
        _photo(
            "coffee.png",
            "cc02f8ca188b167c775a7101b5d767d1e71792cf762c33d6fa15a4599b5a8de7",
            "CC0-1.0 (Rachel Michetti)",
        ),
        _photo(
            "rocket.jpg",
            "c2dd0de7c538df8d111e479619b129464d0269d0ae5fd18ca91d33a7fdfea95c",
            "Public domain (SpaceX; launch of DSCOVR)",
        ),
        _photo(
            "brick.png",
            "7966caf324f6ba843118d98f7a07746d22f6a343430add0233eca5f6eaaa8fcf",
            "CC0-1.0 (CC0Textures, Bricks25)",
            subject=False,
        ),
        _photo(
            "grass.png",
            "b6b6022426b38936c43a4ac09635cd78af074e90f42ffa8227ac8b7452d39f89",
            "CC0-1.0 (linolafett, Grass 01)",
            subject=False,
        ),
        _photo(
            "gravel.png",
            "c48615b451bf1e606fbd72c0aa9f8cc0f068ab7111ef7d93bb9b0f2586440c12",
            "CC0-1.0 (CC0Textures, Gravel04)",
            subject=False,
        ),
    )
}

#: A person, a cat and a cup.
DEMO = ("astronaut", "chelsea", "coffee")


def photo(name: str, say: Callable[[str], None] = print) -> Path:
    """The file of one photo in the cache; the first call fetches them all. Raises BuildError."""
    if name not in PHOTOS:
        raise BuildError(f"There is no photo {name!r}; known are {', '.join(PHOTOS)}.")
    return dict(zip(PHOTOS, photos(say), strict=True))[name]


def photos(say: Callable[[str], None] = print) -> list[Path]:
    """All photos' files in the cache, in the order of PHOTOS. Raises BuildError."""
    return fetch_all([entry.artifact for entry in PHOTOS.values()], say)


def demo_folder(say: Callable[[str], None] = print) -> Path:
    """A folder in the cache that holds the demo's photos and nothing else. Raises BuildError."""
    folder = cache_root() / "photos"
    copy_photos(DEMO, folder, say)
    return folder


def copy_photos(names: Sequence[str], folder: Path, say: Callable[[str], None] = print) -> list[Path]:
    """Copies photos into `folder`, which is made; those that are there stay as they are. Raises BuildError."""
    paths = [photo(name, say) for name in names]
    folder.mkdir(parents=True, exist_ok=True)
    copies = [folder / path.name for path in paths]
    for path, copy in zip(paths, copies, strict=True):
        if not copy.is_file() or not filecmp.cmp(path, copy, shallow=False):
            shutil.copyfile(path, copy)
    return copies
