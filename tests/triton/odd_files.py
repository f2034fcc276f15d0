"""Broken and odd image files: the ones that Pillow's own test suite has collected over the years.

They come out of Pillow's source package, pinned by hash, into the cache; none is committed. Among them are fuzzers'
crashers, decompression bombs, truncated files, rare modes and formats that are not images at all.
"""

from __future__ import annotations

import hashlib
import subprocess
import sys
import tarfile
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path, PurePosixPath

from PIL import Image
from pillow_heif import register_heif_opener

from cutout_core.contract.paths import cache_root

_PACKAGE = "pillow==11.3.0"
_SHA256 = "3828ee7586cd0b2091b6209e5ad53e20d0649bbe87164a459d0676e035e8f523"
_READ_SUFFIXES = {".jpg", ".jpeg", ".mpo", ".png", ".apng", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".avif", ".heic"}
_READ_FORMATS = ["JPEG", "MPO", "PNG", "WEBP", "TIFF", "BMP", "GIF", "AVIF", "HEIF"]


@dataclass(frozen=True)
class OddFile:
    """One file of the corpus."""

    name: str
    data: bytes


def source_package() -> Path:
    """Pillow's source package, downloaded once. Raises RuntimeError where its hash is another."""
    path = cache_root() / "downloads" / f"{_SHA256}.tar.gz"
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
            subprocess.run([*command, "--dest", folder, _PACKAGE], check=True, capture_output=True, timeout=240)
            (download,) = Path(folder).glob("*.tar.gz")
            digest = hashlib.sha256(download.read_bytes()).hexdigest()
            if digest != _SHA256:
                raise RuntimeError(f"{_PACKAGE} has the hash {digest}, not {_SHA256}")
            download.replace(path)
    return path


def odd_files() -> Iterator[OddFile]:
    """A fixed part of the corpus, some 250 files: every other one of the formats that are read (every eighth PNG, as
    there are hundreds), and every tenth of all else."""
    steps = {"png": 8, "read": 2, "other": 10}
    counts = dict.fromkeys(steps, 0)
    with tarfile.open(source_package()) as archive:
        members = sorted((m for m in archive if "/Tests/images/" in m.name and m.isfile()), key=lambda m: m.name)
        for member in members:
            suffix = PurePosixPath(member.name).suffix.lower()
            kind = "png" if suffix == ".png" else "read" if suffix in _READ_SUFFIXES else "other"
            counts[kind] += 1
            if counts[kind] % steps[kind] == 0:
                stream = archive.extractfile(member)
                assert stream is not None
                yield OddFile(member.name.split("/Tests/images/")[1], stream.read())


def viewer_opens(data: bytes) -> bool:
    """Whether a careful viewer (Pillow, with every pixel loaded) shows the file, in a format that Cutout reads."""
    register_heif_opener()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            with Image.open(BytesIO(data), formats=_READ_FORMATS) as image:
                image.load()
                image.convert("RGBA")
        except Exception:
            return False
    return True
