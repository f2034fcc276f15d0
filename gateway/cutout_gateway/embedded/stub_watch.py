"""Notices the death of a Python stub, which Triton does not.

Seen on Triton 2.51: after the SIGKILL of a stub the model stays "ready", the server too, and every request fails with
INTERNAL "Stub process ... is not healthy" from then on; the backend does not start it again. So the stubs are watched
from here, once Triton says that it serves: a stub of a loaded model never ends by itself.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Callable
from pathlib import Path

from cutout_gateway.embedded.guardian import open_marked

_STUB = b"triton_python_backend_stub"
_LOADED = re.compile(r"successfully loaded '([^']+)'")
_SERVING = "Started GRPCInferenceService"


class StubWatch:
    """Follows one Triton through its log lines; `on_death` is told the model whose stub ended."""

    def __init__(self, marker: str, on_death: Callable[[str], None]) -> None:
        self._marker = marker
        self._on_death = on_death
        self._loaded: set[str] = set()
        self._handles: list[int] = []

    def see(self, line: str) -> None:
        """Takes the next line of Triton's log."""
        if match := _LOADED.search(line):
            self._loaded.add(match[1])
        elif _SERVING in line:
            self._watch_stubs()

    def close(self) -> None:
        """Ends the watch."""
        loop = asyncio.get_running_loop()
        while self._handles:
            handle = self._handles.pop()
            loop.remove_reader(handle)
            os.close(handle)

    def _watch_stubs(self) -> None:
        loop = asyncio.get_running_loop()
        for pid, handle in open_marked(self._marker):
            try:
                model = _model_of(Path(f"/proc/{pid}/cmdline").read_bytes())
            except OSError:  # gone meanwhile
                model = ""
            if model in self._loaded:
                self._handles.append(handle)
                loop.add_reader(handle, self._died, handle, model)
            else:
                os.close(handle)

    def _died(self, handle: int, model: str) -> None:
        asyncio.get_running_loop().remove_reader(handle)
        self._on_death(model)


def _model_of(command_line: bytes) -> str:
    """The model that a stub serves: its first argument is `.../models/<model>/<version>/model.py`."""
    program, *arguments = command_line.split(b"\0")
    if not program.endswith(_STUB) or not arguments:
        return ""
    return Path(os.fsdecode(arguments[0])).parts[-3]
