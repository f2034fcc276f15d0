"""The package's face: one sorted list of documented names, and light imports."""

from __future__ import annotations

import importlib.metadata
import inspect
import subprocess
import sys
import types
import typing

import pytest

import cutout_client

EXPORTED = [name for name in cutout_client.__all__ if not name.startswith("__")]


def test_all_lists_every_public_name_of_the_package() -> None:
    public = {
        name
        for name, value in vars(cutout_client).items()
        if not name.startswith("_") and not isinstance(value, types.ModuleType)
    }
    assert set(EXPORTED) == public
    assert len(set(cutout_client.__all__)) == len(cutout_client.__all__)


@pytest.mark.parametrize("name", [name for name in EXPORTED if name != "Reply"])
def test_every_export_and_its_public_methods_are_documented(name: str) -> None:
    export = getattr(cutout_client, name)
    assert (export.__doc__ or "").strip(), name
    for method, value in vars(export).items():
        if inspect.isfunction(value) and not method.startswith("_") and name != "Box":
            assert (value.__doc__ or "").strip() or "Mock" in name, f"{name}.{method}"


def test_reply_is_what_the_operations_return() -> None:
    assert set(typing.get_args(cutout_client.Reply)) == {cutout_client.CutoutResult, bool, dict[str, typing.Any]}


def test_the_version_is_the_distributions() -> None:
    assert cutout_client.__version__ == importlib.metadata.version("cutout-client")


def test_the_client_installs_light() -> None:
    heavy = "numpy", "cv2", "PIL", "fastapi", "tritonclient", "cutout_core.imaging", "cutout_gateway"
    script = f"import sys, cutout_client.cli; print([name for name in {heavy} if name in sys.modules])"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == "[]"


@pytest.mark.parametrize("method", ["remove_background", "ready", "info"])
def test_both_clients_have_the_same_signature(method: str) -> None:
    blocking = inspect.signature(getattr(cutout_client.Client, method))
    awaited = inspect.signature(getattr(cutout_client.AsyncClient, method))
    assert blocking == awaited
