"""How many cores there are, and what this CPU has instructions for."""

from __future__ import annotations

import math
import os
from collections.abc import Iterable
from pathlib import Path

#: OpenVINO's names of what a CPU runs with instructions of its own, and ours.
_CAPABILITIES = {"FP32": "fp32", "BF16": "bf16", "FP16": "fp16"}
CPUINFO = Path("/proc/cpuinfo")
_CGROUP_QUOTA = Path("/sys/fs/cgroup/cpu.max")
_FLAGS = {"avx512_vnni", "avx_vnni", "amx_int8"}


def available_cores() -> int:
    """Cores that this process may use: its affinity mask, bounded by a cgroup v2 quota (rounded up)."""
    cores = len(os.sched_getaffinity(0))
    try:
        quota, period = _CGROUP_QUOTA.read_text().split()
    except (OSError, ValueError):
        return cores
    return cores if quota == "max" else max(1, min(cores, math.ceil(int(quota) / int(period))))


def native_precisions(capabilities: Iterable[str]) -> frozenset[str]:
    """What this CPU runs at speed ("fp32", "bf16", "fp16", "int8"), from OpenVINO's OPTIMIZATION_CAPABILITIES.

    They always have INT8; whether that is right and fast, the CPU's flags tell.
    """
    known = frozenset(_CAPABILITIES[name] for name in capabilities if name in _CAPABILITIES)
    return known | {"int8"} if has_int8_dot_products() else known


def described_cores(cpuinfo: Path = CPUINFO) -> list[dict[str, str]]:
    """What the kernel tells of each core ("model name", "flags" ...); empty where it tells nothing."""
    blocks = cpuinfo.read_text().split("\n\n") if cpuinfo.is_file() else []
    cores = [{k.strip(): v.strip() for k, _, v in (line.partition(":") for line in b.splitlines())} for b in blocks]
    return [core for core in cores if core]


def has_int8_dot_products(cpuinfo: Path = CPUINFO) -> bool:
    """Whether INT8 products are summed in 32 bits at once (VNNI, AMX).

    Without, OpenVINO sums pairs in 16 bits, which overflow: `u2netp` in INT8 then loses 2.7 % of band error, and gains
    a tenth in speed.
    """
    flags = next((core["flags"] for core in described_cores(cpuinfo) if "flags" in core), "")
    return not _FLAGS.isdisjoint(flags.split())
