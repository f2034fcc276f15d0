"""Where the photographs of the training come from: Debian packages that give each of them a free licence.

All are in Debian's `main`; they are unpacked into the cache, never installed, and no photograph is committed. None of
them is shown by the demo or counted in the reports: those take other packages, and of wallpapers the test split.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cutout_build.quality.stamps import package_folder


@dataclass(frozen=True, slots=True)
class PhotoPackage:
    """files: patterns below /usr/share; a .rcc file is an archive of pictures. licenses: of these files, as the
    package's `copyright` or a README inside the archive names them. shows: what they are of."""

    package: str
    files: tuple[str, ...]
    licenses: tuple[str, ...]
    shows: str

    @property
    def root(self) -> Path:
        """The package's /usr/share, fetched where it is missing."""
        return package_folder(self.package) / "usr/share"


_GCOMPRIS = ("categorization", "erase", "explore_farm_animals", "explore_monuments", "explore_world_animals",
             "explore_world_music")  # fmt: skip

#: Written down from Debian 12.
PHOTO_PACKAGES = (
    PhotoPackage(
        "gcompris-qt-data",
        tuple(f"gcompris-qt/rcc/{activity}.rcc" for activity in _GCOMPRIS),
        ("public-domain", "CC0-1.0", "CC-BY-2.0", "CC-BY-3.0", "CC-BY-SA-4.0", "GPL-2+"),
        "animals, tools, buildings, musicians",
    ),
    PhotoPackage("kphotoalbum", ("kphotoalbum/demo/*.jpg",), ("GPL-2+",), "people, pets, places"),
    PhotoPackage("libelementary-data", ("elementary/images/*.jpg",), ("BSD-2-clause",), "people, a dog, walls, skies"),
    PhotoPackage("gnome-control-center-data", ("pixmaps/faces/*.jpg",), ("GPL-2+", "CC0-1.0"), "things, animals"),
    PhotoPackage("gnome-taquin", ("gnome-taquin/themes/cats/*.jpg",), ("CC-BY-SA-3.0", "public-domain"), "cats"),
    PhotoPackage(
        "psychtoolbox-3-common",
        ("psychtoolbox-3/PsychDemos/AlphaImageDemo/konijntjes*.jpg",
         "psychtoolbox-3/PsychDemos/PsychExampleExperiments/OldNewRecognition/stims/*.jpg"),
        ("Expat",), "rabbits",
    ),
    PhotoPackage("puzzle-jigsaw", ("puzzle-jigsaw/samples/*.jp*g",), ("CC0-1.0",), "a tiger, a cat"),
    PhotoPackage("palapeli-data", ("palapeli/collection/*",), ("GPL-2+",), "fruit, insects, a chameleon, bridges"),
    PhotoPackage(
        "tuxpaint-data",
        ("tuxpaint/templates/*.jpg", "tuxpaint/starters/*.jpeg"), ("GPL-2+",), "landscapes, bark, rocks",
    ),
    PhotoPackage(
        "lomiri-wallpapers-16.04",
        tuple(
            f"backgrounds/{name}.jpg"
            for name in ("Bridge_by_Sander_Klootwijk", "Picture_1A_by_freespace", "Wine_by_Jakkub_Mede",
                         "friends_by_Aitzol_Berasategi", "life_by_Aitzol_Berasategi", "seeding_by_Clements_Engelhardt",
                         "sunset_by_Aitzol_Berasategi")
        ),
        ("CC-BY-4.0", "CC-BY-SA-4.0", "CC0-1.0"), "dogs, a path, a brook; of the training split",
    ),
    PhotoPackage("scratch", ("scratch/Media/Backgrounds/*/*.jpg",), ("CC-BY-SA-3.0",), "rooms, streets, landscapes"),
)  # fmt: skip

#: Cut-outs of people, some 200 pixels high, whose outline is a stencil's; under CC BY-SA 3.0, with drawn ones between.
PEOPLE = PhotoPackage(
    "scratch",
    tuple(
        f"scratch/Media/Costumes/People/{name}*.gif"
        for name in ("amon", "anjuli", "anna", "breakdancer[0-9]", "calvrett", "cassy", "chamak", "dan", "ed",
                     "football", "jay", "jodi", "lee-fan", "mako", "marissa", "nathan", "nina", "paul", "referee",
                     "ribbon", "sam", "thai")
    ),
    ("CC-BY-SA-3.0",), "people from head to foot",
)  # fmt: skip


def files(source: PhotoPackage) -> Iterator[bytes]:
    """The files of a package, in one order; those inside archives need not be pictures."""
    for pattern in source.files:
        for path in sorted(source.root.glob(pattern)):
            if path.suffix == ".rcc":
                yield from archived(path.read_bytes())
            else:
                yield path.read_bytes()


def archived(data: bytes) -> Iterator[bytes]:
    """The files in a compiled Qt resource: a tree of nodes of one size, each a folder (children) or a file (place)."""
    version, tree, contents = struct.unpack_from(">III", data, 4)
    waiting = [0]
    while waiting:
        node = tree + (22 if version > 1 else 14) * waiting.pop()
        (flags,) = struct.unpack_from(">H", data, node + 4)
        if flags & 2:
            count, first = struct.unpack_from(">II", data, node + 6)
            waiting.extend(range(first, first + count))
        else:
            place = contents + struct.unpack_from(">I", data, node + 10)[0]
            (length,) = struct.unpack_from(">I", data, place)
            content = data[place + 4 : place + 4 + length]
            yield zlib.decompress(content[4:]) if flags & 1 else content
