"""`python -m cutout_loadtest.profile`: flame graphs of the gateway and of Triton's Python stubs under load (py-spy)."""

from __future__ import annotations

import argparse
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cutout_loadtest import procfs
from cutout_loadtest.service import running_service, stop

_CALLERS = 4
_STUB = "triton_python_backend_stub"


@dataclass(frozen=True, slots=True)
class Target:
    """A process to record. name: `gateway` or the model that a stub serves."""

    name: str
    pid: int


def targets(gateway: int) -> list[Target]:
    """The gateway and, below it, one stub for each instance of a Python model; `name-2` and so on for further ones."""
    found = [Target("gateway", gateway)]
    for pid in sorted(procfs.tree(gateway)):
        model = stub_model(procfs.command_line(pid))
        if model is not None:
            count = sum(target.name.rpartition("-")[0] == model or target.name == model for target in found)
            found.append(Target(model if count == 0 else f"{model}-{count + 1}", pid))
    return found


def stub_model(command: Sequence[str]) -> str | None:
    """The model whose file a stub was given as its first argument; None for another program."""
    if len(command) < 2 or Path(command[0]).name != _STUB:
        return None
    return Path(command[1]).parent.parent.name


def record(program: Path, found: Sequence[Target], seconds: float, out: Path) -> list[Path]:
    """One SVG for each target into `out`, recorded at the same time; returns those that were written.

    Raises RuntimeError where py-spy may not read the processes or none had anything to show.
    """
    out.mkdir(parents=True, exist_ok=True)
    running = {}
    for target in found:
        path = out / f"{target.name}.svg"
        path.unlink(missing_ok=True)
        command = [str(program), "record", "--pid", str(target.pid), "--duration", f"{seconds:.0f}", "--rate", "100"]
        command += ["--threads", "--nonblocking", "--format", "flamegraph", "--output", str(path)]
        running[path] = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    said = {path: process.communicate()[1] for path, process in running.items()}
    written = [path for path in said if path.is_file()]
    if not written:
        text = "\n".join(said.values())
        if re.search("permission|not permitted", text, re.IGNORECASE):
            raise RuntimeError(
                "py-spy may not read the service's processes: it needs ptrace, which may be for root alone or, in "
                "a container, for --cap-add SYS_PTRACE (docs/profiling.md)"
            )
        raise RuntimeError(f"py-spy wrote nothing:\n{text[-1500:]}")
    for path in said:
        if path not in written:
            print(f"no flame graph of {path.stem}: it did nothing, or was not readable", file=sys.stderr)
    return written


def main(arguments: Sequence[str] | None = None) -> int:
    """0 where flame graphs were written, 2 where not."""
    parser = argparse.ArgumentParser(prog="python -m cutout_loadtest.profile", description=__doc__)
    parser.add_argument("photos", nargs="+", type=Path, help="image files, sent in turn")
    parser.add_argument("--seconds", type=float, default=10.0, help="of recording (default %(default)g)")
    parser.add_argument("--out", type=Path, default=Path("out/profile"), metavar="DIR")
    options = parser.parse_args(arguments)
    try:
        for path in _profile(options.photos, options.seconds, options.out):
            print(path)
    except (OSError, RuntimeError) as error:
        print(f"cutout_loadtest.profile: {error}", file=sys.stderr)
        return 2
    return 0


def _profile(photos: Sequence[Path], seconds: float, out: Path) -> list[Path]:
    program = shutil.which("py-spy", path=sysconfig.get_path("scripts")) or shutil.which("py-spy")
    if program is None:
        raise RuntimeError("py-spy is not installed: run `make setup`")
    with running_service() as service:
        closed = [sys.executable, "-m", "cutout_loadtest", "closed", *map(str, photos), "--url", service.http]
        warm_up = [*closed, "-n", str(2 * _CALLERS), "-c", str(_CALLERS)]
        if subprocess.run(warm_up, stdout=subprocess.DEVNULL, check=False).returncode:
            raise RuntimeError("the service does not answer the photos without errors")
        load = subprocess.Popen([*closed, "-n", "1000000", "-c", str(_CALLERS)])
        try:
            return record(Path(program), targets(service.pid), seconds, out)
        finally:
            stop(load)


if __name__ == "__main__":
    sys.exit(main())
