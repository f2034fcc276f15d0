"""Room in shared memory for the results of a batch, as much as recent results of so many pixels took.

How large a result becomes is not known before. Where it does not fit, Triton says so once it has it, and the batch is
worked again for an answer over gRPC; so the room follows the largest of the recent results and has some to spare.
"""

from __future__ import annotations

import os
import re
from collections import deque
from collections.abc import Sequence
from typing import Any

from cutout_gateway.batcher import Row
from cutout_gateway.shared_memory import Placed, Region, Regions, in_thread

#: A batch of fewer pixels is answered over gRPC: below it nothing is gained.
MIN_PIXELS = 1_000_000
#: What Triton says of results that do not fit.
_TOO_SMALL = re.compile(r"shared memory size specified with the request for output .* at least (\d+) bytes")

#: Bytes of each row beside its pixels, such as a colour profile; and, for each pixel, what is expected at first, at
#: least and at most. A PNG of noise takes 4, cut-outs 0.5 to 2.
_FIXED, _FIRST, _LEAST, _MOST = 64 * 1024, 1.5, 1.0, 4.2
#: Recent results that are looked at, and the room for one over the largest among them.
_RECENT, _SPARE = 256, 1.2
#: As the length of the first element it stands for "nothing was written", so that no older result is taken for it.
_UNWRITTEN = b"\xff\xff\xff\xff"
#: An unanswered region is not used again for so long, as Triton might still store into it: a request that was given up
#: ends with the step that runs.
_REST_S = 300.0


class ResultRooms:
    """Regions for results. max_bytes: of all of them together; 0: every result comes over gRPC."""

    def __init__(self, stub: Any, max_bytes: int) -> None:
        self._regions = Regions(stub, max_bytes, "results", _REST_S)
        self._densities = deque([_FIRST], maxlen=_RECENT)

    async def reserve(self, rows: Sequence[Row]) -> Placed | None:
        """Room for the results of `rows`; None where they should come over gRPC. The caller gives it back with
        `release`."""
        pixels = sum(row.pixels for row in rows)
        if pixels < MIN_PIXELS:
            return None
        size = int(_SPARE * max((_LEAST, *self._densities)) * pixels) + _FIXED * len(rows)
        room = await self._regions.reserve(size)
        if room is not None:
            os.pwrite(room.region.handle, _UNWRITTEN, 0)
        return room

    async def read(self, room: Placed, count: int) -> list[bytes]:
        """The `count` BYTES elements that Triton stored. Raises ValueError where they are not there."""
        return await in_thread(_read, os.dup(room.region.handle), room.size, count)

    def learn(self, rows: Sequence[Row], results: Sequence[bytes]) -> None:
        """Takes the sizes of a batch's results in."""
        for row, result in zip(rows, results, strict=True):
            self._densities.append(min(_MOST, max(0, len(result) - _FIXED) / row.pixels))

    def was_too_small(self, rows: Sequence[Row], details: str) -> bool:
        """Whether Triton refused because the results do not fit; then takes in how large they are."""
        match = _TOO_SMALL.search(details)
        if match is not None:
            pixels = sum(row.pixels for row in rows)
            self._densities.append(min(_MOST, max(0, int(match[1]) - _FIXED * len(rows)) / pixels))
        return match is not None

    def release(self, room: Placed, *, answered: bool) -> None:
        """Gives a room back; without an answer from Triton it rests first."""
        self._regions.release(room.region, answered=answered)

    def holds(self, region: Region) -> bool:
        """As `Regions.holds`."""
        return self._regions.holds(region)

    def forget(self) -> None:
        """Drops every region, as after a restart of Triton."""
        self._regions.forget()

    async def close(self) -> None:
        """Unregisters and removes all regions."""
        await self._regions.close()


def _read(handle: int, size: int, count: int) -> list[bytes]:
    """The elements, and closes the file."""
    elements: list[bytes] = []
    offset = 0
    try:
        for _ in range(count):
            length = int.from_bytes(os.pread(handle, 4, offset), "little")
            offset += 4 + length
            if offset > size:
                raise ValueError("the results are not in their shared memory")
            elements.append(os.pread(handle, length, offset - length))
    finally:
        os.close(handle)
    return elements
