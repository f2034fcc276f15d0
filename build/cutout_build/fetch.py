"""Published files into the cache: out of a package, from an address or from disk, checked by SHA-256.

A package is never installed or imported: its wheel is downloaded with pip, as any other, and read as the zip archive
that it is. A file that is in the cache with the right hash needs no network.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import zipfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from cutout_build.errors import BuildError
from cutout_build.fetch_npm import open_npm
from cutout_build.sources import Artifact, FileSource, NpmSource, PackageSource, UrlSource
from cutout_core.contract.paths import cache_root

#: Largest file that is taken from anywhere, bytes.
MAX_BYTES = 4 * 1024**3

#: How long a download may take, and how long a connection may be silent, seconds.
DOWNLOAD_TIMEOUT_S = 1800.0
IDLE_TIMEOUT_S = 60.0

_CHUNK = 1 << 20


def fetch(artifact: Artifact, say: Callable[[str], None] = print) -> Path:
    """The cached copy of `artifact`, downloaded if need be. `say` gets one line when the network is used.

    Raises BuildError: no network, no such package, member or file, too large, or another hash than the pinned one.
    """
    return fetch_all([artifact], say)[0]


def fetch_all(artifacts: Sequence[Artifact], say: Callable[[str], None] = print) -> list[Path]:
    """Like `fetch` for several; a package that several of them come from is downloaded once."""
    missing = [artifact for artifact in artifacts if not _is_cached(artifact)]
    by_package: dict[tuple[str, str], list[Artifact]] = {}
    for artifact in missing:
        source = artifact.source
        if isinstance(source, PackageSource):
            by_package.setdefault((source.package, source.version), []).append(artifact)
        else:
            with _open(source, say) as stream:
                _store(artifact, stream)
    for (package, version), wanted in by_package.items():
        say(f"downloading {package}=={version} ...")
        with _wheel(package, version) as wheel:
            for artifact in wanted:
                _store_member(artifact, wheel)
    return [_cache_path(artifact) for artifact in artifacts]


def _cache_path(artifact: Artifact) -> Path:
    return cache_root() / "downloads" / artifact.sha256 / artifact.source.filename


def _is_cached(artifact: Artifact) -> bool:
    path = _cache_path(artifact)
    if not path.is_file():
        return False
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest() == artifact.sha256


def _store(artifact: Artifact, stream: BinaryIO) -> None:
    """Copies `stream` into the cache while hashing it; the name appears only when the hash is right."""
    target = _cache_path(artifact)
    target.parent.mkdir(parents=True, exist_ok=True)
    digest = hashlib.sha256()
    size = 0
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=".part-")
    try:
        with os.fdopen(handle, "wb") as part:
            while chunk := stream.read(_CHUNK):
                size += len(chunk)
                if size > MAX_BYTES:
                    raise BuildError(f"{artifact.source} is larger than {MAX_BYTES} bytes and was not taken.")
                digest.update(chunk)
                part.write(chunk)
        if digest.hexdigest() != artifact.sha256:
            raise BuildError(
                f"{artifact.source} has the SHA-256 {digest.hexdigest()}, but {artifact.sha256} is pinned: "
                "it is not the file that was checked, and it was not taken."
            )
        os.replace(name, target)
    finally:
        Path(name).unlink(missing_ok=True)


def _store_member(artifact: Artifact, wheel: Path) -> None:
    source = artifact.source
    assert isinstance(source, PackageSource)
    try:
        with zipfile.ZipFile(wheel) as archive, archive.open(source.member) as stream:
            _store(artifact, stream)  # type: ignore[arg-type]  # ZipExtFile reads bytes like any binary file
    except KeyError as error:
        raise BuildError(f"{wheel.name} has no file {source.member!r} inside.") from error
    except zipfile.BadZipFile as error:
        raise BuildError(f"{wheel.name} is damaged: {error}.") from error


@contextmanager
def _wheel(package: str, version: str) -> Iterator[Path]:
    """The package's wheel in a temporary folder. Its Python requirement is of no concern: nothing is installed."""
    with tempfile.TemporaryDirectory(prefix="cutout-fetch-") as folder:
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--disable-pip-version-check"]
        command += ["--only-binary=:all:", "--ignore-requires-python", "--no-input", "-d", folder]
        command.append(f"{package}=={version}")
        try:
            done = subprocess.run(
                command, capture_output=True, text=True, timeout=DOWNLOAD_TIMEOUT_S, stdin=subprocess.DEVNULL
            )
        except subprocess.TimeoutExpired as error:
            raise BuildError(f"{package}=={version} was not downloaded within {DOWNLOAD_TIMEOUT_S:.0f} s.") from error
        wheels = sorted(Path(folder).glob("*.whl"))
        if done.returncode != 0 or not wheels:
            raise BuildError(f"{package}=={version} could not be downloaded: {_last_error(done.stderr)}")
        yield wheels[0]


def _last_error(stderr: str) -> str:
    """pip's own last error as one sentence."""
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    errors = [line.removeprefix("ERROR:").strip() for line in lines if line.startswith("ERROR:")]
    text = (errors or lines or ["pip gave no reason"])[-1]
    return text if text.endswith(".") else text + "."


@contextmanager
def _open(source: NpmSource | UrlSource | FileSource, say: Callable[[str], None]) -> Iterator[BinaryIO]:
    if isinstance(source, FileSource):
        try:
            with Path(source.path).open("rb") as stream:
                yield stream
        except OSError as error:
            raise BuildError(f"{source.path} cannot be read: {error.strerror}.") from error
        return
    if isinstance(source, NpmSource):
        say(f"downloading {source.npm}@{source.version} ...")
        with open_npm(source, DOWNLOAD_TIMEOUT_S) as stream:
            yield stream
        return
    scheme = urlsplit(source.url).scheme
    if scheme not in ("https", "file"):
        raise BuildError(f"{source.url} starts with {scheme!r}; only https:// and file:// addresses are taken.")
    say(f"downloading {source.url} ...")
    opener = urllib.request.build_opener(_NoDowngrade())
    try:
        with opener.open(source.url, timeout=IDLE_TIMEOUT_S) as stream:
            yield stream
    except urllib.error.HTTPError as error:
        raise BuildError(f"{source.url} was answered with {error.code} {error.reason}.") from error
    except OSError as error:
        raise BuildError(f"{source.url} could not be downloaded: {getattr(error, 'reason', error)}.") from error


class _NoDowngrade(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https only."""

    def redirect_request(  # type: ignore[no-untyped-def]  # the signature is urllib's
        self, req, fp, code, msg, headers, newurl
    ):
        if urlsplit(newurl).scheme != "https":
            raise urllib.error.HTTPError(newurl, code, "a redirect away from https", headers, fp)
        return super().redirect_request(req, fp, code, msg, headers, newurl)
