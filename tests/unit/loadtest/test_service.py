"""Whose processes a load test looks at: this machine's, and only where the address is this machine."""

from __future__ import annotations

import os
import socket
import subprocess

import psutil
import pytest

from cutout_loadtest import procfs
from cutout_loadtest.monitor import Monitor, Watch
from cutout_loadtest.open_loop import Sample
from cutout_loadtest.report import Json, build_report
from cutout_loadtest.report_files import markdown
from cutout_loadtest.schedule import Phase
from cutout_loadtest.service import is_here, listening_here


def test_own_addresses_are_here_and_others_are_not() -> None:
    families = {socket.AF_INET, socket.AF_INET6}
    own = {entry.address for entries in psutil.net_if_addrs().values() for entry in entries if entry.family in families}
    assert "127.0.0.1" in own
    assert all(is_here(address) for address in own | {"localhost", "127.8.9.10", "::1"})
    assert not any(is_here(address) for address in ("192.0.2.1", "2001:db8::1", "8.8.8.8"))  # of nobody, and not ours


def test_a_name_with_an_address_elsewhere_is_not_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def found(*addresses: str) -> None:
        entries = [(socket.AF_INET, socket.SOCK_DGRAM, 17, "", (address, 0)) for address in addresses]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: entries)

    found("127.0.0.1")
    assert is_here("service.example")
    found("127.0.0.1", "192.0.2.1")
    assert not is_here("service.example")

    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror("Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    assert not is_here("service.example")


def test_a_local_process_on_the_port_of_another_machines_url_is_not_its_server() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        for scheme in ("http", "grpc"):
            assert listening_here(f"{scheme}://127.0.0.1:{port}") == os.getpid()
            assert listening_here(f"{scheme}://192.0.2.1:{port}") is None
    assert listening_here(f"http://127.0.0.1:{port}") is None


@pytest.mark.parametrize(("url", "port"), [("http://127.0.0.1", 80), ("https://127.0.0.1", 443)])
def test_a_url_without_a_port_has_its_schemes(monkeypatch: pytest.MonkeyPatch, url: str, port: int) -> None:
    monkeypatch.setattr(procfs, "listener", lambda asked: asked)
    assert listening_here(url) == port


def test_memory_is_of_processes_that_live() -> None:
    assert procfs.pss_mb([]) == 0.0
    assert 5 < procfs.pss_mb([os.getpid()]) < 5000
    with subprocess.Popen(["sleep", "60"]) as process:
        with Monitor([process.pid]) as monitor:
            pass
        process.kill()
    assert len(monitor.watch.times) == len(monitor.watch.pss_mb) >= 1
    assert procfs.pss_mb([process.pid]) == 0.0


def report(watch: Watch) -> Json:
    setup: Json = {
        "scenario": "soak",
        "protocol": "http",
        "arrivals": "constant",
        "seed": 0,
        "capacity": 2.0,
        "capacity_from": "given",
        "deadline_s": 30.0,
        "began": "2026-01-02 03:04:05 UTC",
        "commit": "abc1234",
        "cpu": "Some CPU",
        "cores": 2,
    }
    samples = [Sample(0, "kind", at, at, at + 0.1, at + 0.1, "ok", 1000, {}) for at in (0.0, 0.5)]
    return build_report(setup, [Phase("soak", 2.0, 1.0)], samples, watch, [])


def test_a_server_elsewhere_has_no_figures_and_the_report_says_so() -> None:
    found = report(Watch(seconds=1.0, own_cpu_s=0.2))
    assert set(found["server"].values()) == {None}
    assert found["generator"]["share_of_cpu"] is None
    assert found["summary"]["peak_pss_mb"] is None
    page = markdown(found)
    assert "- Server: CPU and memory were not measured" in page
    assert "0.200 cores, 100.00 ms a request" in page
    assert "2026-01-02 03:04:05 UTC, commit abc1234; sent from 2 cores (Some CPU)." in page


def test_a_server_here_has_them() -> None:
    watch = Watch([0.0, 1.0], [100.0, 110.0], seconds=1.0, cpu_s=0.6, own_cpu_s=0.2, processes=3)
    page = markdown(report(watch))
    assert "- Server: 3 processes, 0.60 cores, 300.0 core-ms an image; memory 100 MB" in page
    assert "0.200 cores (25.0% of what it and the server used), 100.00 ms a request" in page
    assert "not measured" not in page
