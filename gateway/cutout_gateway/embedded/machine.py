"""The arithmetic that this machine's CPU has instructions for."""

from __future__ import annotations

import subprocess
import sys
from functools import cache

from cutout_core.contract import cpu

_PROBE = """
import cutout_core.no_telemetry, openvino
print(*openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"))
"""


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
