"""How much work is in flight, derived from the machine.

On a CPU a batch does not make a network faster (its rows run one after the other), so a batch is as small as what fills
the cores, and a caller does not wait for seven neighbours. On a GPU batches are what makes the network fast. What may
wait is bounded by what is answered in a few seconds, so that an overloaded service refuses at once instead of answering
everybody late.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flow:
    """rows: images in a batch. in_flight: requests admitted at once."""

    rows: int
    in_flight: int

    @classmethod
    def derive(cls, profile: str, cores: int) -> Flow:
        """The rule for a profile (`cpu` or `gpu`) and, for `cpu`, the number of cores; measured in docs/capacity.md."""
        if profile == "gpu":
            return cls(rows=8, in_flight=64)
        return cls(rows=min(8, max(2, cores)), in_flight=max(16, 8 * cores))
