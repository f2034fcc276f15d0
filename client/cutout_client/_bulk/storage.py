"""Reading and writing by name: local paths, and everything else that fsspec knows (`s3://bucket/a.jpg`, `memory://a`)."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+://")


class StorageError(OSError):
    """A place cannot be used at all; the message says what to change."""


def is_url(name: str) -> bool:
    """Whether `name` belongs to fsspec; `C:\\photos` does not."""
    return _URL.match(name) is not None


def read(name: str) -> bytes:
    """The whole content. Raises OSError."""
    if not is_url(name):
        return Path(name).read_bytes()
    with _store(name) as (files, path):
        data: bytes = files.cat_file(path)
    return data


def write_remote(name: str, data: bytes) -> None:
    """Writes a whole object at a URL. Raises OSError."""
    with _store(name) as (files, path):
        files.makedirs(path.rsplit("/", 1)[0], exist_ok=True)
        files.pipe_file(path, data)


def exists(name: str) -> bool:
    """Whether there is a file or an object. Raises OSError."""
    if not is_url(name):
        return os.path.exists(name)
    with _store(name) as (files, path):
        return bool(files.exists(path))


def version_of(name: str) -> str:
    """Size and time of a local file, which change with its content; empty for URLs and for files that are not there."""
    if is_url(name):
        return ""
    try:
        status = os.stat(name)
    except OSError:
        return ""
    return f"{status.st_size}:{status.st_mtime_ns}"


def find(folder: str) -> list[str]:
    """Names of all objects below a URL, sorted, relative to it. Raises OSError."""
    with _store(folder.rstrip("/")) as (files, path):
        prefix = path.rstrip("/") + "/"
        return sorted(name.removeprefix(prefix) for name in files.find(path) if name.startswith(prefix))


def is_remote_folder(name: str) -> bool:
    """Whether something lies below the URL. Raises OSError."""
    with _store(name.rstrip("/")) as (files, path):
        return bool(files.isdir(path))


@contextmanager
def _store(name: str) -> Iterator[tuple[Any, str]]:
    """The file system of a URL and the path in it; stores raise exceptions of their own, which become OSError."""
    try:
        import fsspec
    except ImportError:
        raise StorageError(f'{name} needs fsspec: pip install "cutout-client[fsspec]"') from None
    try:
        files, path = fsspec.core.url_to_fs(name)
    except (ImportError, ValueError) as error:
        raise StorageError(f"{name}: {error}") from error
    try:
        yield files, path
    except OSError as error:
        raise OSError(error.errno, f"{name}: {error.strerror or error}") from error
    except Exception as error:
        raise OSError(f"{name}: {type(error).__name__}: {error}") from error
