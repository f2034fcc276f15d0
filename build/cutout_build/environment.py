"""Virtual environments of their own in the cache, for tools whose packages clash with ours."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

from cutout_build.errors import BuildError
from cutout_core.contract.paths import cache_root

#: How long an installation may take, seconds.
INSTALL_TIMEOUT_S = 900.0


def environment_python(name: str, requirements: Path) -> Path:
    """The Python of the environment `<cache>/<name>`, made the first time and again when the requirements change.

    Raises BuildError where it cannot be installed.
    """
    folder = cache_root() / name
    python, mark = folder / "bin" / "python", folder / "requirements.sha256"
    wanted = hashlib.sha256(requirements.read_bytes()).hexdigest()
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{name}.lock").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        if python.exists() and mark.is_file() and mark.read_text() == wanted:
            return python
        print(f"making the environment {folder} (once) ...", file=sys.stderr)
        shutil.rmtree(folder, ignore_errors=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--only-binary=:all:"]
        pip.append("--no-deps")  # the files pin everything
        for command in ([sys.executable, "-m", "venv", str(folder)], [*pip, "-r", str(requirements)]):
            _run(command, name)
        mark.write_text(wanted)
    return python


def _run(command: list[str], name: str) -> None:
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=INSTALL_TIMEOUT_S
        )
    except subprocess.TimeoutExpired:
        raise BuildError(f"The environment {name!r} was not installed within {INSTALL_TIMEOUT_S:.0f} s.") from None
    if done.returncode:
        raise BuildError(f"The environment {name!r} could not be made: {done.stderr.strip()[-500:]}")
