"""What admission must know about a KServe v2 inference request; everything else of it is forwarded unread.

The protocol: https://github.com/kserve/open-inference-protocol and Triton's extensions of it (binary tensor data,
schedule policy, shared memory).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

from cutout_core.contract import MAX_BATCH_SIZE, CutoutError, Limits
from cutout_core.contract.tensors import ENSEMBLES
from cutout_core.imaging.header import read_header

#: Models whose `IMAGE` holds encoded files.
_TAKE_FILES = frozenset((*ENSEMBLES.values(), "preprocess", "postprocess", "postprocess_high"))


@dataclass(frozen=True, slots=True)
class InferFacts:
    """One inference request.

    images: the encoded files of the batch, as far as they can be found without decoding a tensor.
    timeout_s: what the request's own parameter `timeout` (microseconds) allows; None where it has none.
    shared_memory: some tensor lies in, or goes to, a shared-memory region that somebody registered.
    """

    images: tuple[memoryview, ...] = ()
    timeout_s: float | None = None
    shared_memory: bool = False

    def pixels(self, limits: Limits) -> int:
        """Pixels of all images, by their headers. One that is unreadable or too large counts 0: its row fails early."""
        return sum(_pixels(image, limits) for image in self.images)


def takes_files(model: str) -> bool:
    """Whether the model's `IMAGE` holds encoded files."""
    return model in _TAKE_FILES


def elements(tensor: memoryview) -> tuple[memoryview, ...]:
    """The elements of a BYTES tensor (4 bytes of little-endian length before each), at most a batch of them."""
    found: list[memoryview] = []
    offset = 0
    while offset + 4 <= len(tensor) and len(found) < MAX_BATCH_SIZE:
        (length,) = struct.unpack_from("<I", tensor, offset)
        found.append(tensor[offset + 4 : offset + 4 + length])
        offset += 4 + length
    return tuple(found)


def timeout_s(microseconds: object) -> float | None:
    """The parameter `timeout` in seconds; None where it sets no limit."""
    if isinstance(microseconds, int) and not isinstance(microseconds, bool) and microseconds > 0:
        return microseconds / 1e6
    return None


def _pixels(image: memoryview, limits: Limits) -> int:
    try:
        header = read_header(bytes(image), limits)
    except CutoutError:
        return 0
    return header.width * header.height
