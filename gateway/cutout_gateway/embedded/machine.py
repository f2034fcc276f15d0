"""What this machine gives: cores, and the arithmetic that the CPU has instructions for."""

from __future__ import annotations

import math
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

from cutout_core.contract import cpu

_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_PROBE = """
import cutout_core.no_telemetry, openvino
print(*openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
"""


def available_cores() -> int:
    """Cores that this process may use: its affinity mask, bounded by a cgroup v2 quota (rounded up)."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = _CGROUP_QUOTA.read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, math.ceil(int(quota) / int(period))))


@cache
def native_precisions() -> frozenset[str]:
    """Precisions that the CPU runs natively ("fp32", "bf16" ...), as OpenVINO's CPU plugin reports them; int8 by the
    CPU's flags.

    Asked in a process of its own, which keeps OpenVINO out of the gateway. OpenVINO also *emulates* bf16 on CPUs
    without it, several times slower than fp32, and still reports it as the precision served: hence this question.
    Raises RuntimeError where OpenVINO is missing.
    """
    # In a session of its own, so that Ctrl-C in a terminal reaches the gateway alone, which then stops in order.
    answer = subprocess.run(
        [sys.executable, "-c", _PROBE], capture_output=True, text=True, check=False, start_new_session=True
    )
    if answer.returncode < 0:
        raise RuntimeError(f"Asking OpenVINO about this CPU was ended by signal {-answer.returncode}.")
    if answer.returncode > 0:
        raise RuntimeError("OpenVINO cannot be asked about this CPU: install the package `openvino`.")
    return cpu.native_precisions(answer.stdout.split())
