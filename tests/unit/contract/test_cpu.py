"""Which CPUs are given INT8, and how many cores there are."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cutout_core.contract import cpu
from cutout_core.contract.cpu import has_int8_dot_products


@pytest.mark.parametrize(
    ("flags", "expected"),
    [("fpu avx2 avx512f avx512_vnni", True), ("avx2 avx_vnni", True), ("amx_int8", True), ("avx2 avx512bw", False)],
)
def test_flags_decide(tmp_path: Path, flags: str, expected: bool) -> None:
    file = tmp_path / "cpuinfo"
    file.write_text(f"processor\t: 0\nflags\t\t: {flags}\nbugs\t\t: none\n")
    assert has_int8_dot_products(file) is expected


def test_an_unknown_machine_has_none(tmp_path: Path) -> None:
    assert not has_int8_dot_products(tmp_path / "none")


def test_a_cgroup_quota_bounds_the_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(cpu, "_CGROUP_QUOTA", quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert cpu.available_cores() == 8
    for text, cores in (("max 100000", 8), ("150000 100000", 2), ("1000 100000", 1), ("9000000 100000", 8)):
        quota.write_text(text)
        assert cpu.available_cores() == cores
