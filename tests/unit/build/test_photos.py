"""The photographs: fetched once for all, copied, and told to scripts. The wheel is a stand-in: no network is used."""

from __future__ import annotations

import hashlib
import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from cutout_build import photos as photos_module
from cutout_build.__main__ import main
from cutout_build.errors import BuildError
from cutout_build.photos import DEMO, PHOTOS, photo
from cutout_build.sources import Artifact, PackageSource


@pytest.fixture(autouse=True)
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Every photo is its own name, in a wheel on a local shelf. Returns the cache."""
    shelf = tmp_path / "shelf"
    shelf.mkdir()
    entries = {}
    with zipfile.ZipFile(shelf / "scikit_image-0.26.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(
            "scikit_image-0.26.0.dist-info/METADATA", "Metadata-Version: 2.1\nName: scikit-image\nVersion: 0.26.0\n"
        )
        wheel.writestr("scikit_image-0.26.0.dist-info/WHEEL", "Wheel-Version: 1.0\nTag: py3-none-any\n")
        for name, entry in PHOTOS.items():
            source = entry.artifact.source
            assert isinstance(source, PackageSource)
            wheel.writestr(source.member, name)
            entries[name] = replace(entry, artifact=Artifact(source, hashlib.sha256(name.encode()).hexdigest()))
    monkeypatch.setattr(photos_module, "PHOTOS", entries)
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(shelf))
    monkeypatch.setenv("CUTOUT_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def test_one_download_serves_all_photos() -> None:
    lines: list[str] = []
    assert photo("chelsea", lines.append).read_text() == "chelsea"
    assert photo("rocket", lines.append).name == "rocket.jpg"
    assert lines == ["downloading scikit-image==0.26.0 ..."]


def test_an_unknown_photo_is_refused_by_name() -> None:
    with pytest.raises(BuildError, match="no photo 'lena'; known are astronaut"):
        photo("lena")


def test_the_demo_folder_is_the_only_line_on_stdout(stand_in: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["photos", "--folder"]) == 0
    assert capsys.readouterr().out == f"{stand_in / 'photos'}\n"
    assert sorted(path.stem for path in (stand_in / "photos").iterdir()) == sorted(DEMO)


def test_copies_are_those_with_a_subject_and_a_damaged_one_is_replaced(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (out / "coffee.png").write_text("damaged")
    assert main(["photos", "--out", str(out)]) == 0
    assert {path.stem: path.read_text() for path in out.iterdir()} == {
        name: name for name, entry in PHOTOS.items() if entry.subject
    }
    assert "NASA" in capsys.readouterr().out
