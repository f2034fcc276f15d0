"""Shared memory of Triton's Python stubs: the rule, and what is set."""

from __future__ import annotations

import os
from pathlib import Path
from types import SimpleNamespace

import pytest

from cutout_gateway import stub_memory
from cutout_gateway.stub_memory import StubMemory, growth_of, main

MIB = 1 << 20


@pytest.mark.parametrize(
    ("shared_memory", "growth"),
    [(16, 1), (64, 1), (512, 2), (1000, 3), (1024, 4), (2048, 8), (100_000, 8)],
)
def test_the_growth_follows_the_size_of_shared_memory(
    shared_memory: int, growth: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = SimpleNamespace(f_blocks=shared_memory * 256, f_frsize=4096)
    monkeypatch.setattr(stub_memory.os, "statvfs", lambda folder: state)
    assert growth_of(Path("/dev/shm")) == growth * MIB


def test_what_is_set_wins_over_the_rule(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    flags = StubMemory(2 * MIB, 5).flags()
    assert flags == [
        "--backend-config=python,shm-default-byte-size=2097152",
        "--backend-config=python,shm-growth-byte-size=5",
    ]
    monkeypatch.setenv("CUTOUT_STUB_SHM_BYTES", str(2 * MIB))
    monkeypatch.setenv("CUTOUT_STUB_SHM_GROWTH_BYTES", "5")
    main()
    assert capsys.readouterr().out.split() == flags


def test_what_is_empty_is_not_set(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("CUTOUT_STUB_SHM_BYTES", "")
    monkeypatch.delenv("CUTOUT_STUB_SHM_GROWTH_BYTES", raising=False)
    main()
    state = os.statvfs("/dev/shm")
    growth = min(8 * MIB, max(MIB, state.f_blocks * state.f_frsize // 256 // MIB * MIB))
    assert capsys.readouterr().out.split() == [
        f"--backend-config=python,shm-default-byte-size={MIB}",
        f"--backend-config=python,shm-growth-byte-size={growth}",
    ]
