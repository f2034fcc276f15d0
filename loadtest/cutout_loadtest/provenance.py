"""Where a report's figures come from: the instant, the code and the machine."""

from __future__ import annotations

import hashlib
import os
import platform
import subprocess
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path

from cutout_core.contract.cpu import CPUINFO, available_cores, described_cores

#: What tells one CPU from another: virtual machines often give many the same name.
_CPU_FIELDS = ("vendor_id", "cpu family", "model", "model name", "stepping", "flags")
#: Of the checkout, without the reports, which these programs write themselves.
_SOURCE = ("--", ":/", ":(top,exclude)reports")
_INSTANT = "%Y-%m-%d %H:%M:%S UTC"


@dataclass(frozen=True, slots=True)
class Checkout:
    """commit: the full hash, empty without git. changes: SHA-256 (hex) of `git diff HEAD`, empty where nothing differs.

    What differs in reports/ alone is no change, nor is a file that git does not track.
    """

    commit: str
    changes: str

    def __str__(self) -> str:
        """The short hash, with a + where the tree is changed; "unknown" without git."""
        return self.commit[:7] + ("+" if self.changes else "") if self.commit else "unknown"


def checkout(folder: Path = Path(__file__).parent) -> Checkout:
    """The checkout that `folder` lies in."""
    commit = _git(folder, "rev-parse", "HEAD").decode().strip()
    changes = _git(folder, "diff", "--no-ext-diff", "--no-textconv", "--no-color", "HEAD", *_SOURCE) if commit else b""
    return Checkout(commit, hashlib.sha256(changes).hexdigest() if changes else "")


def cpu(cpuinfo: Path = CPUINFO) -> dict[str, str]:
    """What tells this machine's CPU from another, of its first core; at least its "model name"."""
    first = next(iter(described_cores(cpuinfo)), {})
    return {"model name": platform.machine(), **{name: first[name] for name in _CPU_FIELDS if name in first}}


def about() -> dict[str, str | int]:
    """The keys that every report has: began (now, UTC), commit, cpu (its model) and cores, of this machine."""
    return {"began": instant(), "commit": str(checkout()), "cpu": cpu()["model name"], "cores": available_cores()}


def instant(seconds: float | None = None) -> str:
    """Seconds since 1970 as UTC; now where there are none."""
    at = datetime.now(timezone.utc) if seconds is None else datetime.fromtimestamp(seconds, timezone.utc)
    return at.strftime(_INSTANT)


def _git(folder: Path, *arguments: str) -> bytes:
    """What git prints; empty where there is no git, or no checkout."""
    try:
        done = subprocess.run(["git", "-C", os.fspath(folder), *arguments], capture_output=True, check=False)
    except OSError:
        return b""
    return done.stdout if done.returncode == 0 else b""
