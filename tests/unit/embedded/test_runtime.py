"""Finding Triton in its wheel, and what is said where a part is missing."""

from __future__ import annotations

import importlib.util
import logging
import os
import socket
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from cutout_gateway.embedded import runtime
from cutout_gateway.embedded.log_lines import LogForwarder
from cutout_gateway.embedded.ports import ReservedPort, free_port
from cutout_gateway.embedded.runtime import Ports, RuntimeMissingError, TritonRuntime
from cutout_gateway.stub_memory import StubMemory


def test_the_wheel_is_found_without_importing_it() -> None:
    code = (
        "import sys; from cutout_gateway.embedded.runtime import TritonRuntime; "
        "print(TritonRuntime.find().home); assert 'pytriton' not in sys.modules"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert Path(found.strip(), "bin", "tritonserver").is_file()


def test_the_backend_directory_holds_the_stub_of_this_python(tmp_path: Path) -> None:
    TritonRuntime.find().link_backends(tmp_path / "backends")
    folder = tmp_path / "backends" / "python"
    assert {path.name for path in folder.iterdir()} == {
        "libtriton_python.so",
        "triton_python_backend_utils.py",
        "triton_python_backend_stub",
    }
    stub = (folder / "triton_python_backend_stub").resolve()
    assert stub.parent.name == f"{sys.version_info.major}.{sys.version_info.minor}"


def test_the_environment_puts_this_interpreter_and_its_library_first() -> None:
    env = TritonRuntime.find().environment({"PATH": "/bin", "LD_LIBRARY_PATH": "/opt/lib", "HOME": "/h"})
    assert env["PATH"].split(os.pathsep) == [str(Path(sys.prefix, "bin")), "/bin"]
    *own, last = env["LD_LIBRARY_PATH"].split(os.pathsep)
    assert last == "/opt/lib"
    assert any(list(Path(folder).glob("libpython3*.so.1.0")) for folder in own)
    assert env["HOME"] == "/h"


def test_everything_listens_on_loopback_only(tmp_path: Path) -> None:
    command = TritonRuntime.find().command(tmp_path, tmp_path, "cpu", "cutout-x", StubMemory(), Ports(1, 2, 3))
    addresses = [argument.partition("=")[2] for argument in command if "-address=" in argument]
    assert addresses == ["127.0.0.1"] * 3
    assert "--model-config-name=cpu" in command
    assert "--backend-config=python,shm-region-prefix-name=cutout-x" in command


def test_a_missing_wheel_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RuntimeMissingError, match=r"`nvidia-pytriton`.*CUTOUT_TRITON_URL"):
        TritonRuntime.find()


def test_a_missing_libpython_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sysconfig, "get_config_var", lambda name: str(tmp_path))
    monkeypatch.setattr(sys, "base_prefix", str(tmp_path))
    monkeypatch.setattr(runtime, "_SYSTEM_LIBRARIES", tmp_path)
    with pytest.raises(RuntimeMissingError, match="install the system package `libpython3"):
        TritonRuntime.find()


def test_a_reserved_port_is_nobody_elses_but_can_be_shared() -> None:
    port = ReservedPort()
    with socket.socket() as other, pytest.raises(OSError, match="in use"):
        other.bind(("127.0.0.1", port.number))
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        server.bind(("127.0.0.1", port.number))
        server.listen()
        with socket.create_connection(("127.0.0.1", port.number), timeout=1):
            pass
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port.number), timeout=1)
    port.close()


def test_a_free_port_can_be_bound() -> None:
    with socket.socket() as server:
        server.bind(("127.0.0.1", free_port()))


def test_triton_lines_are_logged_at_sensible_levels(caplog: pytest.LogCaptureFixture) -> None:
    logger = logging.getLogger("cutout.test")
    seen: list[str] = []
    lines = LogForwarder(logger, seen.append)
    with caplog.at_level(logging.DEBUG, "cutout.test"):
        lines.feed(b'2026-01-02T03:04:05Z I 7 a.cc:1] "loading"\n2026-01-02T03:04:05Z E 7 b.cc:2] "bro')
        lines.feed(b'ken"\n+----+\n| x |\nfrom a step\n2026-01-02T03:04:05Z W 7 c.cc:3] "no pinned system memory"\n')
    assert [(record.levelname, record.message) for record in caplog.records] == [
        ("DEBUG", 'a.cc:1] "loading"'),
        ("ERROR", 'b.cc:2] "broken"'),
        ("INFO", "from a step"),
        ("DEBUG", 'c.cc:3] "no pinned system memory"'),
    ]
    assert lines.last == seen
    lines.feed(b"x" * 5000)
    assert len(lines.last[-1]) == 4000
