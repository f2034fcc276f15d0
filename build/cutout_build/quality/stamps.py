"""Cut-outs and backdrops for the ground truth: Debian packages, fetched into the cache and never installed.

The stamps are RGBA photographs from Tux Paint with hand-made alpha, the backdrops wallpaper photographs. Licences
vary by file (each package's `copyright`), so they are used at run time and not committed.
"""

from __future__ import annotations

import hashlib
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cutout_build.errors import BuildError
from cutout_core.contract.paths import cache_root

#: About 330 MB together.
PACKAGES = ("tuxpaint-stamps-default", "mate-backgrounds", "gnome-backgrounds", "plasma-workspace-wallpapers")

SPLITS = ("test", "train")

#: A stamp's longer side, pixels; below this there is no detail to judge.
MIN_STAMP_SIDE = 250
#: Distinct colours (5 bits a channel) of the opaque pixels; drawings have fewer.
MIN_COLOURS = 240

#: Not photographs, or without a defined alpha (smoke, a flame's glow), or doubles of another file.
EXCLUDED = frozenset(
    """pizza.png propeller_hat.png feathered_hat.png jackolantern_mean.png explosion.png candle.png eggplant.png
    bradley_mirror.png dumper_mirror.png fireman240a.png walnutBoat.png liberia-palm.png""".split()
)

#: Several pictures of one thing; a family stays on one side of the split.
FAMILIES = ("gnu", "Candy_cane", "fireman", "guitar", "fedora")

#: Photographs in which nothing stands out, so that the stamp is the only subject.
EMPTY_BACKDROPS = (
    "BytheWater", "DarkestHour", "Grey", "Path", "summer_1am",
    "Blinds", "Dune", "GreenMeadow", "RainDrops", "Storm", "Wood", "wood-d", "wood-l",
)  # fmt: skip
#: Photographs with a subject of their own; they are used out of focus.
BUSY_BACKDROPS = (
    "ColorfulCups", "EveningGlow", "FallenLeaf", "OneStandsOut",
    "Aqua", "FreshFlower", "Garden", "LadyBird", "TwoWings", "YellowFlower",
)  # fmt: skip


class FetchError(BuildError):
    """A package could not be had; the message says what to do."""


@dataclass(frozen=True, slots=True)
class Backdrop:
    """One photograph. `blurred`: to be used out of focus."""

    name: str
    path: Path
    blurred: bool


def package_folder(package: str, echo: Callable[[str], None] = print) -> Path:
    """The unpacked package in the cache; fetched with apt-get the first time.

    Raises FetchError where apt-get or dpkg-deb is missing or knows no such package.
    """
    folder = cache_root() / "quality" / package
    if folder.is_dir():
        return folder
    echo(f"fetching the Debian package {package} (unpacked into the cache, not installed) ...")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        try:
            subprocess.run(["apt-get", "download", package], cwd=scratch, check=True, capture_output=True, text=True)
            (archive,) = Path(scratch).glob("*.deb")
            unpacked = Path(scratch) / "unpacked"
            subprocess.run(["dpkg-deb", "-x", str(archive), str(unpacked)], check=True, capture_output=True)
            version = subprocess.run(
                ["dpkg-deb", "-f", str(archive), "Version"], check=True, capture_output=True, text=True
            ).stdout.strip()
        except (OSError, subprocess.CalledProcessError) as error:
            raise FetchError(
                f"{package} could not be fetched: it takes Debian or Ubuntu and a package list "
                "(run `apt-get update` as root once)."
            ) from error
        (unpacked / "VERSION").write_text(version + "\n")
        shutil.move(unpacked, folder)
    return folder


def package_versions() -> dict[str, str]:
    """Package to version, of what is in the cache."""
    files = {name: cache_root() / "quality" / name / "VERSION" for name in PACKAGES}
    return {name: file.read_text().strip() for name, file in files.items() if file.is_file()}


def split_of(name: str) -> str:
    """`test` where the SHA-1 of `name` starts with 0 to 3 (a quarter), else `train`."""
    return "test" if hashlib.sha1(name.encode()).hexdigest()[0] in "0123" else "train"


def family_of(file_name: str) -> str:
    """The name that decides a stamp's side: the family's where there is one, else the file's own."""
    return next((family for family in FAMILIES if file_name.startswith(family)), file_name)


def stamps(split: str) -> list[Path]:
    """Files of the photographic stamps of one split, sorted by name."""
    root = package_folder("tuxpaint-stamps-default") / "usr/share/tuxpaint/stamps"
    found = {
        path.name: path
        for path in sorted(root.rglob("*.png"))
        if "cartoon" not in path.parts
        and path.name not in EXCLUDED
        and split_of(family_of(path.name)) == split
        and is_photograph(path)
    }
    return [found[name] for name in sorted(found)]


def load_stamp(path: Path) -> NDArray[np.uint8]:
    """RGBA, [H, W, 4] uint8, cut to the box of its visible pixels."""
    with Image.open(path) as image:
        rgba = image.convert("RGBA")
        box = rgba.getchannel("A").point(lambda value: 255 if value > 4 else 0).getbbox()
        return np.asarray(rgba.crop(box))


def backdrops(split: str) -> list[Backdrop]:
    """Photographs of one split, sorted by name."""
    names = sorted(name for name in EMPTY_BACKDROPS + BUSY_BACKDROPS if split_of(name) == split)
    return [Backdrop(name, picture(name), name in BUSY_BACKDROPS) for name in names]


def picture(name: str) -> Path:
    """The wallpaper called `name`: a file's stem, or its folder's name in Plasma's package. Raises KeyError."""
    return _wallpapers()[name]


@cache
def _wallpapers() -> dict[str, Path]:
    """Name to file; the largest where a wallpaper comes in several sizes."""
    files = {path.stem: path for path in _pictures("mate-backgrounds") + _pictures("gnome-backgrounds")}
    sized = sorted(_pictures("plasma-workspace-wallpapers"), key=lambda path: (path.stat().st_size, path.name))
    for path in sized:
        if match := re.search(r"wallpapers/(\w+)/contents/images/", path.as_posix()):
            files[match.group(1)] = path
    return files


def _pictures(package: str) -> list[Path]:
    paths = sorted((package_folder(package) / "usr/share").rglob("*"))
    return [path for path in paths if path.suffix in (".jpg", ".png", ".webp")]


def is_photograph(path: Path, min_side: int = MIN_STAMP_SIDE, min_colours: int = MIN_COLOURS) -> bool:
    """Whether an RGBA file is larger than `min_side` pixels along its longer side and coloured as photographs are."""
    with Image.open(path) as image:
        if image.mode != "RGBA" or max(image.size) <= min_side:
            return False
        rgba = np.asarray(image)
    opaque = rgba[rgba[..., 3] > 200][:, :3].astype(np.int64) // 8
    return len(np.unique(opaque @ np.array([1, 32, 1024]))) >= min_colours
