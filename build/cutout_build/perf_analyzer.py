"""NVIDIA's perf_analyzer, out of a wheel that carries it, with the two libraries it needs beside it.

The program is inside the tritonclient wheels up to 2.58. libb64 and the CUDA runtime, which it is linked to, come with
the embedded Triton's wheel, so nothing is installed and no GPU is needed.
"""

from __future__ import annotations

import importlib.util
import os
import shutil
from collections.abc import Callable
from pathlib import Path

from cutout_build.errors import BuildError
from cutout_build.fetch import fetch
from cutout_build.sources import Artifact, PackageSource
from cutout_core.contract.paths import cache_root

_VERSION = "2.51.0"
_PROGRAM = Artifact(
    PackageSource("tritonclient", _VERSION, f"tritonclient-{_VERSION}.data/data/bin/perf_analyzer"),
    "a8e3fa6d2fcd535770f18fa3c9baf21aee85697352637d24c6b2818401c95a34",
)

#: Name that the program asks for, and how the file of the embedded Triton's wheel is called.
_LIBRARIES = {"libb64.so.0d": "libb64-*.so.0d", "libcudart.so.12": "libcudart-*.so.12*"}


def perf_analyzer(say: Callable[[str], None] = print) -> Path:
    """The program in a folder of the cache; that folder is to be its LD_LIBRARY_PATH.

    Raises BuildError: no network and not in the cache, another file than the pinned one, or no embedded Triton.
    """
    program = fetch(_PROGRAM, say)
    folder = cache_root() / f"perf_analyzer-{_VERSION}"
    folder.mkdir(parents=True, exist_ok=True)
    for name, pattern in _LIBRARIES.items():
        _link(folder / name, _library(pattern))
    target = folder / "perf_analyzer"
    if not target.exists():
        partial = folder / f".perf_analyzer-{os.getpid()}"
        shutil.copyfile(program, partial)
        partial.chmod(0o755)
        partial.replace(target)
    return target


def _library(pattern: str) -> Path:
    package = importlib.util.find_spec("pytriton")
    if package is not None and package.origin is not None:
        found = sorted((Path(package.origin).parents[1] / "nvidia_pytriton.libs").glob(pattern))
        if found:
            return found[0]
    raise BuildError(f"perf_analyzer needs {pattern}, which comes with the package nvidia-pytriton: run `make setup`.")


def _link(link: Path, target: Path) -> None:
    if link.is_symlink() and link.readlink() == target:
        return
    partial = link.with_name(f".{link.name}-{os.getpid()}")
    partial.symlink_to(target)
    partial.replace(link)
