"""Shared memory between Triton and its Python stubs: how large a stub's region begins, and by how much it grows.

`python -m cutout_gateway.stub_memory` prints the flags for a Triton that is not the gateway's child, by the
environment variables of the two settings.

Every image, mask and result on its way to or from a Python step lies in the region of its stub. A region grows when a
tensor does not fit, by as many growths as the tensor is large, and never shrinks; each time Triton and the stub map it
once more, beside the old mappings. Six sizes in a row, to 12 megapixels, in batches of one and two images, made a
region grow four times by Triton's own megabyte and three times by eight; all regions together had 73 and 79 MB.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

SHARED_MEMORY = Path("/dev/shm")
_MIB = 1 << 20
#: The least that Triton takes, and its own default.
INITIAL = _MIB
#: Growth by the rule: this part of shared memory, so that what a dozen stubs have too much stays below a twentieth of
#: it, whole mebibytes from 1 (a container's default of 64 MB) to 8 (2 GB and more).
_PART, _MOST = 256, 8 * _MIB


@dataclass(frozen=True, slots=True)
class StubMemory:
    """initial: bytes of a region at the start. growth: bytes by which it grows; 0 takes the rule's."""

    initial: int = INITIAL
    growth: int = 0

    def flags(self) -> list[str]:
        """Arguments for `tritonserver`. Raises OSError where there is no shared memory."""
        growth = self.growth or growth_of(SHARED_MEMORY)
        return [
            f"--backend-config=python,shm-default-byte-size={self.initial}",
            f"--backend-config=python,shm-growth-byte-size={growth}",
        ]


def growth_of(folder: Path) -> int:
    """Bytes by the rule for the file system of `folder`. Raises OSError."""
    state = os.statvfs(folder)
    part = state.f_blocks * state.f_frsize // _PART
    return min(_MOST, max(_MIB, part // _MIB * _MIB))


def main() -> None:
    """Prints the flags on one line. Raises ValueError for a variable that is no number."""
    given = (os.environ.get(f"CUTOUT_STUB_SHM_{name}") for name in ("BYTES", "GROWTH_BYTES"))
    initial, growth = (int(text) if text else 0 for text in given)
    print(*StubMemory(initial or INITIAL, growth).flags())


if __name__ == "__main__":
    main()
