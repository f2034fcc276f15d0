"""What a job has done so far, as lines of JSON that are only ever added.

An item goes through this order, so that a process that is killed at any point neither loses nor repeats finished work:

1. the result is written to a file of its own and forced to the disk (`staged`),
2. one line says "done" and is forced to the disk,
3. the file is renamed to its place, or sent to its object store and removed.

`recover` finishes step 3 for items that were killed after step 2. A last line that was cut off is dropped.
"""

from __future__ import annotations

import json
import os
import threading
import time
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # not on Windows: there, two runs at a time are the caller's to avoid
    fcntl = None  # type: ignore[assignment]

DONE, FAILED = "done", "failed"


class JournalInUse(Exception):
    """Another process works on the same job."""


class Journal:
    """The journal in `folder`, which is made where it is not there. One process at a time; any number of threads.

    Raises OSError, `JournalInUse`, or ValueError where the file is not a journal.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self._lock = threading.Lock()
        self._file = open(folder / "journal.ndjson", "a+b")  # noqa: SIM115 - closed by close()
        try:
            if fcntl is not None:
                fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.entries: dict[str, dict[str, Any]] = {}
            self.targets: set[str] = set()
            self._load()
        except BlockingIOError:
            self._file.close()
            raise JournalInUse(f"another run works on this job ({folder}): wait for it or stop it") from None
        except BaseException:
            self._file.close()
            raise

    def add(self, key: str, status: str, target: str, **details: object) -> None:
        """Adds the newest line of an item; on the disk when this returns."""
        entry = {"key": key, "status": status, "output": target, "at": round(time.time(), 3), **details}
        line = json.dumps(entry, ensure_ascii=False).encode() + b"\n"
        with self._lock:
            self._file.write(line)
            self._file.flush()
            os.fsync(self._file.fileno())
            self.entries[key] = entry
            self.targets.add(target)

    def status(self, key: str) -> str | None:
        """DONE, FAILED, or None for an item without an end."""
        entry = self.entries.get(key)
        return None if entry is None else str(entry["status"])

    def close(self) -> None:
        self._file.close()

    def _load(self) -> None:
        self._file.seek(0)
        end = 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n"):
                break
            end += len(line)
            try:
                entry = json.loads(line)
                self.entries[entry["key"]] = entry
                self.targets.add(entry["output"])
                entry["status"]
            except (ValueError, KeyError, TypeError) as error:
                raise ValueError(f"{self._file.name}, line {number}: this is no line of a journal") from error
        self._file.truncate(end)


def stage(path: Path, data: bytes) -> None:
    """Writes `data` to `path`, replacing what is there; on the disk when this returns. Raises OSError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
