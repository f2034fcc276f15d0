"""Images to a Triton on the same host through system shared memory, so that gRPC does not copy them.

Triton's system shared-memory extension of KServe v2
(https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_shared_memory.md). Regions are
pooled and registered once; where Triton cannot take one (another host, switched off, no memory left), images travel
over gRPC. Results come over gRPC always: their size is not known before.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import mmap
import os
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb

from cutout_gateway.embedded.run_directory import owner_is_dead, run_name

log = logging.getLogger("cutout.gateway.shared_memory")

FOLDER = Path("/dev/shm")
#: A batch of fewer bytes travels over gRPC: below it nothing is gained.
MIN_BYTES = 128 * 1024
_SMALLEST_REGION = 1 << 20
_CALL_TIMEOUT_S = 2.0
#: A region whose call ended without an answer is not used again for so long: Triton may still read it.
_REST_S = 60.0


@dataclass(eq=False, slots=True)
class Region:
    """One mapped region, registered with Triton under its own name. `free_at`: time.monotonic(), inf while in use."""

    name: str
    size: int
    memory: mmap.mmap
    free_at: float = 0.0

    def write(self, values: Sequence[bytes]) -> int:
        """Writes BYTES elements as KServe v2 lays them out (a 4-byte little-endian length before each); their size."""
        offset = 0
        for value in values:
            struct.pack_into("<I", self.memory, offset, len(value))
            self.memory[offset + 4 : offset + 4 + len(value)] = value
            offset += 4 + len(value)
        return offset

    def remove(self) -> None:
        """Unmaps and unlinks; whoever has it mapped keeps it."""
        self.memory.close()
        (FOLDER / self.name).unlink(missing_ok=True)


@dataclass(slots=True)
class InputRegions:
    """The pool. stub: Triton's gRPC stub. max_bytes: of all regions together; 0 switches the whole thing off."""

    stub: Any
    max_bytes: int
    _regions: list[Region] = field(default_factory=list)
    _growing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _usable: bool = True
    _reclaimed: bool = False

    async def place(self, values: Sequence[bytes]) -> tuple[Region, int] | None:
        """A region that holds `values`, and their size in it; None where they should travel over gRPC.

        The caller gives it back with `release`.
        """
        size = sum(4 + len(value) for value in values)
        if size < MIN_BYTES or size > self.max_bytes or not self._usable:
            return None
        region = self._take(size) or await self._grow(size)
        if region is None:
            return None
        return region, region.write(values)

    def release(self, region: Region, *, answered: bool) -> None:
        """Gives a region back; without an answer from Triton it rests first."""
        region.free_at = time.monotonic() + (0.0 if answered else _REST_S)

    def forget(self) -> None:
        """Drops every region: Triton does not know them (any more), as after its restart."""
        for region in self._regions:
            region.remove()
        self._regions.clear()

    async def close(self) -> None:
        """Unregisters and removes all regions."""
        for region in self._regions:
            await self._unregister(region.name)
        self.forget()

    def _take(self, size: int) -> Region | None:
        now = time.monotonic()
        fitting = [region for region in self._regions if region.free_at <= now and region.size >= size]
        if not fitting:
            return None
        region = min(fitting, key=lambda region: region.size)
        region.free_at = float("inf")
        return region

    async def _grow(self, size: int) -> Region | None:
        async with self._growing:
            if not self._reclaimed:
                self._reclaimed = True
                await self._reclaim()
            wanted = max(_SMALLEST_REGION, 1 << (size - 1).bit_length())
            now = time.monotonic()
            for region in sorted(self._regions, key=lambda region: region.size):
                if sum(other.size for other in self._regions) + wanted <= self.max_bytes:
                    break
                if region.free_at <= now:  # too small for this batch: its bytes are needed
                    self._regions.remove(region)
                    await self._unregister(region.name)
                    region.remove()
            if sum(region.size for region in self._regions) + wanted > self.max_bytes:
                return None
            return await self._register(wanted)

    async def _register(self, size: int) -> Region | None:
        try:
            region = _create(size)
        except OSError as error:
            self._switch_off(f"{FOLDER}: {os.strerror(error.errno or errno.EIO)}")
            return None
        request = pb.SystemSharedMemoryRegisterRequest(name=region.name, key=f"/{region.name}", byte_size=size)
        try:
            await self.stub.SystemSharedMemoryRegister(request, timeout=_CALL_TIMEOUT_S)
        except grpc.aio.AioRpcError as error:
            region.remove()
            if error.code() not in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED):
                self._switch_off(f"Triton refused a region ({error.code().name}: {error.details()})")
            return None
        except asyncio.CancelledError:
            region.remove()
            raise
        region.free_at = float("inf")
        self._regions.append(region)
        return region

    async def _reclaim(self) -> None:
        """Frees what gateways that died left: regions that Triton still maps, and their names."""
        _unlink_orphans()
        with contextlib.suppress(grpc.aio.AioRpcError):
            request = pb.SystemSharedMemoryStatusRequest()
            status = await self.stub.SystemSharedMemoryStatus(request, timeout=_CALL_TIMEOUT_S)
            for name in [name for name in status.regions if owner_is_dead(name)]:
                await self._unregister(name)

    async def _unregister(self, name: str) -> None:
        with contextlib.suppress(grpc.aio.AioRpcError):
            request = pb.SystemSharedMemoryUnregisterRequest(name=name)
            await self.stub.SystemSharedMemoryUnregister(request, timeout=_CALL_TIMEOUT_S)

    def _switch_off(self, reason: str) -> None:
        self._usable = False
        log.info("images travel to Triton over gRPC: %s", reason)


def _unlink_orphans() -> None:
    for path in FOLDER.glob("cutout-*"):
        if owner_is_dead(path.name):
            path.unlink(missing_ok=True)


def _create(size: int) -> Region:
    """A new region of `size` bytes, which only this user can open. Raises OSError."""
    name = run_name(os.getpid())
    handle = os.open(FOLDER / name, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        os.posix_fallocate(handle, 0, size)  # writing to a hole of a full tmpfs would be a SIGBUS
        return Region(name, size, mmap.mmap(handle, size))
    except OSError:
        (FOLDER / name).unlink(missing_ok=True)
        raise
    finally:
        os.close(handle)
