"""Finds the Triton server inside the wheel `nvidia-pytriton` and says how to start it, without a container.

The wheel holds a whole Triton 2.51 with the Python backend, but leaves three things to whoever starts it: a backend
directory in which the stub of the running Python version lies beside the backend's library, the path of `libpython`
(which the stub is linked to), and a PATH on which the stub finds this environment's interpreter and so its packages.
The package itself is never imported: that would start threads and read settings of its own.
"""

from __future__ import annotations

import importlib.util
import os
import sys
import sysconfig
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from cutout_core import allocator
from cutout_gateway.stub_memory import StubMemory

_WHEEL = "nvidia-pytriton"
_LOOPBACK = "127.0.0.1"
_SYSTEM_LIBRARIES = Path("/usr/lib")

#: Variables of the environment that would reach into Triton or its stubs, and ours where nothing else is set.
_DEFAULTS = {"OPENBLAS_NUM_THREADS": "1", **allocator.environment()}


class RuntimeMissingError(RuntimeError):
    """The embedded Triton cannot run here; the message names the package to install."""


@dataclass(frozen=True, slots=True)
class Ports:
    """The ports of one start, all on loopback."""

    grpc: int
    http: int
    metrics: int


@dataclass(frozen=True, slots=True)
class TritonRuntime:
    """Where the parts lie: Triton's own folder in the wheel, the stub, the folders of shared libraries."""

    home: Path
    stub: Path
    libraries: tuple[Path, ...]

    @classmethod
    def find(cls) -> TritonRuntime:
        """Looks for the wheel and `libpython` of the running interpreter. Raises `RuntimeMissingError`."""
        spec = importlib.util.find_spec("pytriton")
        if spec is None or not spec.submodule_search_locations:
            raise RuntimeMissingError(
                f"The embedded Triton is not installed: install the package `{_WHEEL}`, "
                "or set CUTOUT_TRITON_URL to use a Triton that runs elsewhere."
            )
        package = Path(spec.submodule_search_locations[0])
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        home = package / "tritonserver"
        stub = home / "python_backend_stubs" / version / "triton_python_backend_stub"
        for part in (home / "bin" / "tritonserver", stub):
            if not part.is_file():
                raise RuntimeMissingError(f"The package `{_WHEEL}` has no {part.name} for Python {version}.")
        return cls(home, stub, (package.parent / "nvidia_pytriton.libs", _libpython_folder()))

    def link_backends(self, folder: Path) -> None:
        """Makes `folder` a backend directory: the Python backend, its helper module and the right stub, linked."""
        python = folder / "python"
        python.mkdir(parents=True)
        source = self.home / "backends" / "python"
        for name in ("libtriton_python.so", "triton_python_backend_utils.py"):
            (python / name).symlink_to(source / name)
        (python / self.stub.name).symlink_to(self.stub)

    def environment(self, base: Mapping[str, str]) -> dict[str, str]:
        """`base` with this environment's programs and the libraries first on their paths."""
        env = {**_DEFAULTS, **base}
        env["PATH"] = _prepend([Path(sys.prefix, "bin")], base.get("PATH", os.defpath))
        env["LD_LIBRARY_PATH"] = _prepend(self.libraries, base.get("LD_LIBRARY_PATH", ""))
        return env

    def command(
        self, repository: Path, backends: Path, profile: str, prefix: str, memory: StubMemory, ports: Ports
    ) -> list[str]:
        """The command line of one start. prefix: of the shared-memory regions of the Python backend; memory: theirs.

        Raises OSError where there is no shared memory. gRPC and HTTP allow another holder of their port, because the
        launcher keeps both reserved between two starts.
        """
        return [
            str(self.home / "bin" / "tritonserver"),
            f"--model-repository={repository}",
            f"--model-config-name={profile}",
            f"--backend-directory={backends}",
            f"--backend-config=python,shm-region-prefix-name={prefix}",
            *memory.flags(),
            "--disable-auto-complete-config",
            "--exit-on-error=false",
            "--exit-timeout-secs=10",
            f"--grpc-address={_LOOPBACK}",
            f"--grpc-port={ports.grpc}",
            "--reuse-grpc-port=true",
            f"--http-address={_LOOPBACK}",
            f"--http-port={ports.http}",
            "--reuse-http-port=true",
            f"--metrics-address={_LOOPBACK}",
            f"--metrics-port={ports.metrics}",
            "--log-format=ISO8601",
        ]


def _prepend(folders: list[Path] | tuple[Path, ...], path: str) -> str:
    return os.pathsep.join([*map(str, folders), *filter(None, [path])])


def _libpython_folder() -> Path:
    """Folder of the shared `libpython` that the stub is linked to (`libpython3.11.so.1.0`)."""
    name = f"libpython{sys.version_info.major}.{sys.version_info.minor}.so.1.0"
    configured, architecture = sysconfig.get_config_var("LIBDIR"), sysconfig.get_config_var("MULTIARCH")
    roots = [Path(configured or _SYSTEM_LIBRARIES), Path(sys.base_prefix, "lib"), _SYSTEM_LIBRARIES]
    for root in roots:
        for folder in (root, root / (architecture or "")):
            if (folder / name).is_file():
                return folder
    raise RuntimeMissingError(
        f"The embedded Triton needs the shared library {name}, which this Python does not have: "
        f"install the system package `{name.removesuffix('.so.1.0')}`, or a Python built with --enable-shared."
    )
