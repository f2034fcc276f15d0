"""Compiles the kernels of cutout_core/imaging/native when the package is built or installed, where there is a compiler.

`CC` names another one than `cc`. Without any the package works too: its functions in Python do the same, slower.
"""

from __future__ import annotations

import os
import runpy
import shlex
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

_NATIVE = Path(__file__).parent / "cutout_core" / "imaging" / "native"
_source_hash = runpy.run_path(str(_NATIVE / "source_hash.py"))["source_hash"]
_FLAGS = ["-std=gnu11", "-O3", "-fno-math-errno", "-fPIC", "-shared", "-fvisibility=hidden", "-Wall", "-Wextra"]


class CustomBuildHook(BuildHookInterface):  # type: ignore[type-arg]
    """Called by hatchling for wheels and editable installs."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Compiles in place; a wheel takes the library along and is then of one platform."""
        if compile_kernels(_NATIVE) and version != "editable":
            build_data["pure_python"] = False
            platform = sysconfig.get_platform().replace("-", "_").replace(".", "_")
            build_data["tag"] = f"py3-none-{platform}"
            build_data["artifacts"].append("cutout_core/imaging/native/kernels.so")


def compile_kernels(folder: Path) -> bool:
    """Writes kernels.so beside the sources; False, without the file, where there is no compiler or it fails."""
    library = folder / "kernels.so"
    library.unlink(missing_ok=True)
    compiler = shlex.split(os.environ.get("CC", "cc"))
    if not compiler or shutil.which(compiler[0]) is None:
        print("no C compiler: cutout_core works without its compiled kernels, slower")
        return False
    sources = sorted(folder.glob("*.c"))
    partial = library.with_suffix(f".{os.getpid()}.so")
    command = [*compiler, *_FLAGS, f'-DSOURCE_HASH="{_source_hash(folder)}"']
    done = subprocess.run([*command, "-o", str(partial), *map(str, sources), "-lm"], capture_output=True, text=True)
    if done.returncode:
        print(f"{compiler[0]} cannot compile the kernels; cutout_core works without them, slower:\n{done.stderr}")
        partial.unlink(missing_ok=True)
        return False
    partial.replace(library)
    return True
