"""Other people's client packages, each in an environment of its own in the cache, run unmodified but for their address.

What cannot be had here (no Node.js, no way to the registry) is a skip with its reason.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from cutout_core.contract.paths import cache_root

_PINNED = Path(__file__).parent / "clients"


def python_with(name: str) -> Path:
    """The Python of an environment with the packages of `clients/<name>.txt`, made once."""
    requirements = _PINNED / f"{name}.txt"

    def make(folder: Path) -> None:
        _run([sys.executable, "-m", "venv", str(folder)])
        pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
        _run([*pip, "-r", str(requirements)])

    return _made(name, [requirements], make) / "bin" / "python"


def node_modules() -> Path:
    """The folder `node_modules` with the packages of `clients/package-lock.json`, installed once."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Node.js and npm are not installed")
    pinned = [_PINNED / "package.json", _PINNED / "package-lock.json"]

    def make(folder: Path) -> None:
        folder.mkdir(parents=True)
        for file in pinned:
            shutil.copy(file, folder)
        _run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", str(folder)])

    return _made("node", pinned, make) / "node_modules"


def run_client(command: list[str | Path], folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a client in `folder`; no proxy stands between it and the gateway."""
    env = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    env = {**env, "NO_PROXY": "*", "PYTHONWARNINGS": "ignore", **environment}
    return subprocess.run(
        [str(part) for part in command], cwd=folder, env=env, capture_output=True, text=True, timeout=100
    )


def _made(name: str, inputs: list[Path], make: Callable[[Path], None]) -> Path:
    folder = cache_root() / "clients" / name
    mark = folder / "inputs.sha256"
    wanted = hashlib.sha256(b"".join(file.read_bytes() for file in inputs)).hexdigest()
    if not (mark.is_file() and mark.read_text() == wanted):
        shutil.rmtree(folder, ignore_errors=True)
        make(folder)
        mark.write_text(wanted)
    return folder


def _run(command: list[str], environment: Mapping[str, str] = os.environ) -> None:
    done = subprocess.run(
        command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=100, env=dict(environment)
    )
    if done.returncode:
        pytest.skip(f"the client could not be installed: {(done.stderr or done.stdout).strip()[-300:]}")
