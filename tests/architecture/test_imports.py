"""Who may import whom, read from the source with `ast`."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

#: Package folder to the packages of ours that it may import, beside itself.
ALLOWED: dict[str, set[str]] = {
    "core/cutout_core/contract": set(),
    "core/cutout_core/imaging": {"cutout_core.contract"},
    "core/cutout_core/serving": {"cutout_core.contract", "cutout_core.imaging", "cutout_core.no_telemetry"},
    "client/cutout_client": {"cutout_core.contract"},
    "client/demo": {"cutout_core.contract", "cutout_client", "cutout_loadtest"},
    "build/cutout_build": {"cutout_core"},
    "gateway/cutout_gateway": {"cutout_core"},
    "loadtest/cutout_loadtest": {"cutout_core.contract", "cutout_client"},
    "model_repository": {"cutout_core"},
}


def imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources(folder: str) -> list[Path]:
    files = sorted((ROOT / folder).rglob("*.py"))
    assert files, f"{folder} has no source"
    return files


def is_within(name: str, packages: set[str]) -> bool:
    return any(name == package or name.startswith(f"{package}.") for package in packages)


@pytest.mark.parametrize("folder", ALLOWED)
def test_packages_import_only_what_they_may(folder: str) -> None:
    own = folder.split("/", 1)[1].replace("/", ".") if "/" in folder else ""
    for path in sources(folder):
        for name in imports(path):
            if name.startswith("cutout_"):
                assert is_within(name, ALLOWED[folder] | {own}), f"{path.relative_to(ROOT)} imports {name}"


def test_the_contract_needs_the_standard_library_and_protobuf_only() -> None:
    for path in sources("core/cutout_core/contract"):
        for name in imports(path):
            top = name.split(".")[0]
            allowed = top in sys.stdlib_module_names or top == "cutout_core" or name.startswith("google.protobuf")
            assert allowed, f"{path.name} imports {name}"


def test_the_client_needs_no_numpy() -> None:
    for path in sources("client/cutout_client"):
        for name in imports(path):
            assert name.split(".")[0] not in {"numpy", "cv2", "PIL", "tritonclient", "fastapi"}, f"{path}: {name}"


def test_a_few_files_of_the_gateway_know_tritons_messages() -> None:
    users = {
        path.relative_to(ROOT / "gateway/cutout_gateway").as_posix()
        for path in sources("gateway/cutout_gateway")
        if any(name.startswith("tritonclient") for name in imports(path))
    }
    # Only the first and the pools of shared memory send some; the renderer reads and writes config.pbtxt with one.
    assert users == {"triton.py", "infer_messages.py", "shared_memory.py", "embedded/repository.py"}


def test_the_batcher_and_the_service_know_no_protocol() -> None:
    for module in ("batcher.py", "admission.py", "service.py", "requests.py"):
        for name in imports(ROOT / "gateway/cutout_gateway" / module):
            assert name.split(".")[0] not in {"grpc", "fastapi", "starlette", "tritonclient"}, f"{module}: {name}"


def test_files_stay_readable() -> None:
    for folder in ALLOWED:
        for path in sources(folder):
            if not path.name.endswith("_pb2.py"):
                lines = len(path.read_text().splitlines())
                assert lines <= 350, f"{path.relative_to(ROOT)} has {lines} lines"


def test_no_usage_statistics_leave_the_machine() -> None:
    """Whoever loads OpenVINO or ONNX Runtime switches their telemetry off first."""
    for folder in ALLOWED:
        for path in sources(folder):
            names = list(imports(path))
            runtimes = [i for i, name in enumerate(names) if name.split(".")[0] in {"openvino", "onnxruntime"}]
            if runtimes:
                assert "cutout_core.no_telemetry" in names, path
                assert names.index("cutout_core.no_telemetry") < runtimes[0], path
