"""The folders, and that no tool swallows `build/`, which is source here."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
import tomllib

ROOT = Path(__file__).parents[2]
PACKAGES = ("core", "client", "build", "gateway", "loadtest")


def test_the_top_level_is_the_designed_one() -> None:
    for name in ("model_repository", "client", "build", "gateway", "loadtest", "tests", "core", "docs", "deploy"):
        assert (ROOT / name).is_dir(), name
    for name in ("Makefile", "README.md", "LICENSE", "CHANGELOG.md", "requirements.lock", "docs/decisions.md"):
        assert (ROOT / name).is_file(), name


def test_git_does_not_ignore_build() -> None:
    if not (ROOT / ".git").exists() or shutil.which("git") is None:
        pytest.skip("not a git checkout")
    ignored = subprocess.run(
        ["git", "check-ignore", "build/cutout_build/new_file.py", "build/models.toml"], cwd=ROOT, capture_output=True
    )
    assert ignored.returncode == 1, ignored.stdout


def test_docker_does_not_ignore_build() -> None:
    patterns = [line.strip() for line in (ROOT / ".dockerignore").read_text().splitlines()]
    rules = [line for line in patterns if line and not line.startswith("#")]
    for rule in rules:
        assert rule.strip("/").removeprefix("**/") not in {"build", "build/**", "*", "**"}, rule


def test_ruff_reads_build() -> None:
    ruff = Path(sys.executable).with_name("ruff")
    listed = subprocess.run(
        [ruff, "check", "--show-files", "."], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert "/build/cutout_build/__init__.py" in listed


def test_mypy_reads_build() -> None:
    excluded = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["exclude"]
    assert not any("build" in pattern for pattern in excluded)


@pytest.mark.slow
@pytest.mark.parametrize("package", PACKAGES)
def test_the_built_wheel_holds_every_source_file(package: str, tmp_path: Path) -> None:
    source = tmp_path / package
    shutil.copytree(ROOT / package, source, ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "reports").mkdir()
    shutil.copy(ROOT / "reports" / "engines.json", tmp_path / "reports")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "--quiet", "-w", tmp_path]
    subprocess.run([*command, source], check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    names = set(zipfile.ZipFile(wheel).namelist())
    expected = {
        path.relative_to(ROOT / package).as_posix()
        for path in (ROOT / package / f"cutout_{package}").rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert expected <= names, expected - names


def test_the_lock_pins_every_direct_dependency() -> None:
    groups = tomllib.loads((ROOT / "pyproject.toml").read_text())["dependency-groups"]
    lock = (ROOT / "requirements.lock").read_text()
    pinned = {line.split("==")[0].strip() for line in lock.splitlines() if "==" in line and not line.startswith("#")}
    assert [requirement.split("==")[0] for requirement in groups.pop("train")] == [
        "torch"
    ]  # outside, and pinned itself
    for group in groups.values():
        for requirement in group:
            name = requirement.split("[")[0].split("=")[0].split("<")[0].split(">")[0].strip().lower()
            assert name in pinned, f"{requirement} is not in requirements.lock; run `make lock`"
    assert "://" not in lock
