"""Files out of packages of the JavaScript registry. A small program stands in for npm: no network is used."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path

import pytest

from cutout_build.errors import BuildError
from cutout_build.fetch import fetch
from cutout_build.sources import Artifact, NpmSource

CHUNKS = [b"first part, ", b"second part"]
WHOLE = b"".join(CHUNKS)


def write_package(path: Path, chunks: list[bytes] = CHUNKS, listed: str = "/models/net") -> None:
    names = [hashlib.sha256(chunk).hexdigest() for chunk in CHUNKS]
    files = dict(zip([f"dist/{name}" for name in names], chunks, strict=False))
    index = {listed: {"chunks": [{"hash": name, "offsets": [0, 0]} for name in names], "size": len(WHOLE)}}
    files |= {"dist/resources.json": json.dumps(index).encode(), "package.json": b"{}"}
    with tarfile.open(path, "w:gz") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(f"package/{name}")
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder whose package the stand-in hands out; without one it fails as npm does."""
    monkeypatch.setenv("CUTOUT_CACHE", str(tmp_path / "cache"))
    programs = tmp_path / "bin"
    programs.mkdir()
    npm = programs / "npm"
    npm.write_text(
        "#!/bin/sh\n"
        f'echo "$@" > {tmp_path}/arguments\n'
        f'[ -f {tmp_path}/package.tgz ] || {{ echo "npm error 404 No match found" >&2; exit 1; }}\n'
        'while [ "$1" != --pack-destination ]; do shift; done\n'
        f'cp {tmp_path}/package.tgz "$2"/some-package-1.0.0.tgz\n'
    )
    npm.chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    return tmp_path


def artifact(content: bytes = WHOLE) -> Artifact:
    return Artifact(NpmSource("@some/package", "1.0.0", "/models/net"), hashlib.sha256(content).hexdigest())


def test_the_parts_are_joined_in_order_and_kept(shelf: Path) -> None:
    write_package(shelf / "package.tgz")
    lines: list[str] = []
    path = fetch(artifact(), lines.append)
    assert (path.name, path.read_bytes()) == ("net", WHOLE)
    assert lines == ["downloading @some/package@1.0.0 ..."]
    arguments = (shelf / "arguments").read_text().split()
    assert arguments[0] == "pack"
    assert "--ignore-scripts" in arguments
    assert arguments[-1] == "@some/package@1.0.0"
    (shelf / "package.tgz").unlink()
    assert fetch(artifact(), pytest.fail) == path


@pytest.mark.parametrize(
    ("package", "reason"),
    [
        (None, "npm @some/package@1.0.0 could not be downloaded: npm error 404 No match found"),
        ({"listed": "/models/other"}, "is not listed in the package; it has /models/other"),
        ({"chunks": CHUNKS[:1]}, "cannot be read out of its package"),
        ({"chunks": [b"other", b"bytes"]}, "is pinned: it is not the file that was checked"),
    ],
)
def test_what_is_not_there_is_told(shelf: Path, package: dict[str, object] | None, reason: str) -> None:
    if package is not None:
        write_package(shelf / "package.tgz", **package)  # type: ignore[arg-type]
    with pytest.raises(BuildError, match=reason):
        fetch(artifact(), lambda line: None)


def test_a_damaged_package_is_told(shelf: Path) -> None:
    (shelf / "package.tgz").write_bytes(b"damaged")
    with pytest.raises(BuildError, match="cannot be read out of its package"):
        fetch(artifact(), lambda line: None)


def test_without_npm_the_remedy_is_told(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(shelf))
    with pytest.raises(BuildError, match="install the system package `npm`"):
        fetch(artifact(), lambda line: None)
