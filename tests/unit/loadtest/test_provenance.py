"""Commit, changes and CPU as reports tell them, on checkouts and files made up for it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from cutout_core.contract.cpu import available_cores
from cutout_loadtest.provenance import about, checkout, cpu, instant


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=a", "-c", "user.email=a@example.com", "-c", "commit.gpgsign=false")
    command = ["git", "-C", str(folder), *identity, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    if shutil.which("git") is None:
        pytest.skip("needs git")
    for name in ("code", "reports"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("first\n")
    git(tmp_path, "init", "-q")
    git(tmp_path, "add", ".")
    git(tmp_path, "commit", "-qm", "first")
    return tmp_path


def test_a_changed_tree_is_told_but_not_for_its_reports(repository: Path) -> None:
    commit = git(repository, "rev-parse", "HEAD")
    clean = checkout(repository / "code")
    assert (clean.commit, clean.changes, str(clean)) == (commit, "", commit[:7])
    (repository / "reports" / "file").write_text("second\n")
    assert checkout(repository / "code") == clean
    (repository / "code" / "file").write_text("second\n")
    second = checkout(repository / "code")
    assert str(second) == commit[:7] + "+"
    git(repository, "add", ".")  # staged or not, it is the same change
    assert checkout(repository / "code") == second
    (repository / "code" / "file").write_text("third\n")
    assert checkout(repository / "code").changes not in ("", second.changes)


def test_without_git_the_commit_is_unknown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert str(checkout(tmp_path)) == "unknown"
    monkeypatch.setenv("PATH", str(tmp_path))
    assert str(checkout()) == "unknown"


def test_cpus_of_one_name_are_told_apart(tmp_path: Path) -> None:
    file = tmp_path / "cpuinfo"
    core = "processor\t: {}\nmodel\t\t: 143\nmodel name\t: Some CPU\ncpu MHz\t\t: {}\nflags\t\t: fpu {}\n\n"
    file.write_text(core.format(0, 2000.1, "avx2") + core.format(1, 3000.2, "avx2"))
    first = cpu(file)
    assert first["model name"] == "Some CPU"
    file.write_text(core.format(0, 2600.3, "avx2"))
    assert cpu(file) == first
    file.write_text(core.format(0, 2000.1, "avx2 amx_int8"))
    assert cpu(file) != first
    assert cpu(tmp_path / "absent")["model name"]


def test_what_every_report_tells() -> None:
    told = about()
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC", str(told["began"]))
    assert re.fullmatch(r"[0-9a-f]{7}\+?|unknown", str(told["commit"]))
    assert told["cpu"] == cpu()["model name"]
    assert told["cores"] == available_cores()
    assert instant(0.0) == "1970-01-01 00:00:00 UTC"
