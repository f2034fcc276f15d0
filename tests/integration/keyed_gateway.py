"""A gateway process before the fake Triton that wants API keys."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from tests.integration.fake_triton import FakeTriton
from tests.integration.gateway_process import GatewayProcess, start_gateway


@dataclass
class Keyed:
    """A gateway with a file of keys, and the keys by name."""

    gateway: GatewayProcess
    file: Path
    keys: dict[str, str]

    def post(self, image: bytes, name: str = "") -> httpx.Response:
        headers = {"X-Api-Key": self.keys[name]} if name else {}
        return httpx.post(f"{self.gateway.http}/v1/cutouts", content=image, headers=headers, timeout=20)


def new_key(file: Path, name: str, *flags: str) -> str:
    command = [sys.executable, "-m", "cutout_gateway.keys", "new", name, "--file", str(file), *flags]
    shown = subprocess.run(command, check=True, capture_output=True, text=True, timeout=30).stdout
    return shown.splitlines()[0].split(": ")[1]


@contextmanager
def keyed_gateway(fake: FakeTriton, folder: Path, names: Mapping[str, Sequence[str]]) -> Iterator[Keyed]:
    """It lives as long as the block. names: of the keys, each with the flags that it is made with."""
    file = folder / "keys"
    keys = {name: new_key(file, name, *flags) for name, flags in names.items()}
    gateway = start_gateway(folder, "--triton-url", f"127.0.0.1:{fake.port}", "--api-keys-file", str(file))
    yield Keyed(gateway, file, keys)
    assert gateway.stop() == 0
