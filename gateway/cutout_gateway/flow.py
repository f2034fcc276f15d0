"""How much work is in flight: the depth of the queue and of the batches, derived from the machine.

On a CPU a batch does not make a network faster (its rows run one after the other), so batches are kept about as small
as what fills the cores, and several are in flight: while one is in a network, others are decoded, refined or encoded,
and a caller does not wait for seven neighbours. On a GPU batches are what makes the network fast. What may wait is
bounded by what is answered in a few seconds, so that an overloaded service refuses at once instead of answering
everybody late.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Flow:
    """slots: batches in flight of each quality. rows: images in a batch; rows_high: the same for quality `high`.

    in_flight: requests admitted at once.
    """

    slots: int
    rows: int
    rows_high: int
    in_flight: int

    @classmethod
    def derive(cls, profile: str, cores: int) -> Flow:
        """The rule for a profile (`cpu` or `gpu`) and, for `cpu`, the number of cores; measured in docs/capacity.md."""
        if profile == "gpu":
            return cls(slots=2, rows=8, rows_high=2, in_flight=64)
        return cls(slots=4, rows=min(8, max(2, cores)), rows_high=1, in_flight=max(16, 8 * cores))
