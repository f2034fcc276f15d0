"""One run's folder in the cache, the name that marks everything of the run, and the sweep of runs that died.

The name tells whose run it is: `cutout-<scope>-<pid>-<start>-<nonce>`. `scope` stands for the machine, its boot and the
process-id namespace; `start` is the process' start time in clock ticks since boot (proc(5), field 22), so that a
reused process id is not taken for the owner. It is the folder's name, the prefix of the run's shared-memory regions
and the value of an environment variable of each of its processes. Leftovers can therefore be judged wherever they
turn up, and what another live run, machine or container owns is never touched.
"""

from __future__ import annotations

import json
import logging
import os
import re
import secrets
import shutil
import socket
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path

from cutout_gateway.embedded.guardian import SHARED_MEMORY, kill_marked, unlink_regions

log = logging.getLogger("cutout.triton")

#: Marks every process of a run, stubs included.
RUN_VARIABLE = "CUTOUT_TRITON_RUN"

_NAME = re.compile(r"cutout-(?P<scope>[0-9a-f]{8})-(?P<pid>\d+)-(?P<start>\d+)-[0-9a-f]{8}")
_STATE = "state.json"


@dataclass(frozen=True, slots=True)
class Machine:
    """Where process ids mean something: host name, boot and process-id namespace."""

    host: str
    boot: str
    namespace: str

    @classmethod
    def current(cls) -> Machine:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return cls(socket.gethostname(), boot, os.readlink("/proc/self/ns/pid"))

    @property
    def scope(self) -> str:
        """Eight hexadecimal digits that stand for it in a name."""
        return f"{zlib.crc32(repr(self).encode()):08x}"


def start_time(pid: int) -> int | None:
    """Start of a process in clock ticks since boot; None where there is none, or only its zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[19])


def run_name(pid: int) -> str:
    """A new name for a run owned by process `pid` of this machine."""
    return f"cutout-{Machine.current().scope}-{pid}-{start_time(pid)}-{secrets.token_hex(4)}"


def owner_is_dead(name: str) -> bool:
    """True where `name` is that of a run of this machine whose owner is gone; False for anything else."""
    match = _NAME.match(name)
    if match is None or match["scope"] != Machine.current().scope:
        return False
    return start_time(int(match["pid"])) != int(match["start"])


class RunDirectory:
    """A folder under `root` for one run of this process. `close` removes it."""

    def __init__(self, root: Path) -> None:
        self.name = run_name(os.getpid())
        self.path = root / self.name
        self.path.mkdir(parents=True, mode=0o700)
        (self.path / _STATE).write_text(json.dumps(asdict(Machine.current())))

    @property
    def marker(self) -> str:
        """The `NAME=value` that stands in the environment of each of the run's processes."""
        return f"{RUN_VARIABLE}={self.name}"

    def close(self) -> None:
        """Removes the folder and, should any be left, the run's processes and regions."""
        remove_remains(self.name)
        shutil.rmtree(self.path, ignore_errors=True)


def remove_remains(name: str) -> None:
    """Kills the processes of the run `name` and unlinks its shared-memory regions."""
    killed, unlinked = kill_marked(f"{RUN_VARIABLE}={name}"), unlink_regions(name)
    if killed or unlinked:
        log.warning("run %s had left %d processes and %d regions; removed", name, killed, unlinked)


def sweep(root: Path) -> list[str]:
    """Removes what dead runs left: processes, shared-memory regions, folders under `root`; returns their names.

    A folder of an earlier boot of this host goes too. Folders and regions of other machines and of other process-id
    namespaces stay: from here nobody can tell whether their owners live.
    """
    folders = [path for path in root.glob("cutout-*") if path.is_dir()]
    regions = {match[0] for path in SHARED_MEMORY.glob("cutout-*") if (match := _NAME.match(path.name))}
    dead = {name for name in regions | {path.name for path in folders} if owner_is_dead(name)}
    for name in sorted(dead):
        remove_remains(name)
    for path in folders:
        if path.name in dead or _is_of_earlier_boot(path):
            shutil.rmtree(path, ignore_errors=True)
            dead.add(path.name)
    return sorted(dead)


def _is_of_earlier_boot(folder: Path) -> bool:
    try:
        machine = Machine(**json.loads((folder / _STATE).read_text()))
    except (OSError, ValueError, TypeError):
        return False
    current = Machine.current()
    return machine.host == current.host and machine.boot != current.boot
