"""Images to a Triton on the same host and results from it through system shared memory, past gRPC and its copies.

Triton's system shared-memory extension of KServe v2
(https://github.com/triton-inference-server/server/blob/main/docs/protocol/extension_shared_memory.md). Regions are
pooled and registered once; where Triton cannot take one (another host, switched off, no memory left), all travels over
gRPC.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import math
import os
import struct
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import grpc
from tritonclient.grpc import service_pb2 as pb

from cutout_gateway.embedded.run_directory import owner_is_dead, run_name

log = logging.getLogger("cutout.gateway.shared_memory")

FOLDER = Path("/dev/shm")
#: A batch of fewer bytes travels over gRPC: below it nothing is gained.
MIN_BYTES = 128 * 1024
_SMALLEST_REGION = 1 << 20
#: More bytes are written in a thread: that long (0.1 ms) the event loop may stand still.
_LOOP_BYTES = 1 << 20
_CALL_TIMEOUT_S = 2.0
#: A region whose call ended without an answer is not used again for so long: Triton may still read it.
_REST_S = 60.0
#: What Triton is to store into has its pages before, needed or not; that share of shared memory stays free of them, and
#: where it has fewer bytes in all, as a container by default, they take none.
_FREE_SHARE, _LEAST_MEMORY = 0.5, 1 << 29

_T = TypeVar("_T")


@dataclass(eq=False, slots=True)
class Region:
    """A file in shared memory, registered with Triton under its own name.

    It is written to, not mapped: that lets other threads run meanwhile, takes pages only for what is written, and where
    there are none left it fails, while a store into a mapping would end the process (SIGBUS).
    handle: its file descriptor, -1 once closed. free_at: time.monotonic(), inf while in use. backed: its first bytes
    that have pages.
    """

    name: str
    size: int
    handle: int
    free_at: float = 0.0
    backed: int = 0

    @property
    def in_use(self) -> bool:
        return self.free_at == math.inf

    def close(self) -> None:
        if self.handle >= 0:
            os.close(self.handle)
            self.handle = -1

    def unlink(self) -> None:
        """Takes its name away; whoever has it open or mapped keeps it."""
        (FOLDER / self.name).unlink(missing_ok=True)

    def remove(self) -> None:
        self.close()
        self.unlink()


@dataclass(frozen=True, slots=True)
class Placed:
    """The first `size` bytes of a region, in use."""

    region: Region
    size: int


@dataclass(slots=True)
class Regions:
    """A pool. stub: Triton's gRPC stub. max_bytes: of all regions together; 0 switches the whole thing off. what: they
    hold, for the log. rest_s: how long an unanswered one is left alone."""

    stub: Any
    max_bytes: int
    what: str = "images"
    rest_s: float = _REST_S
    _regions: list[Region] = field(default_factory=list)
    _growing: asyncio.Lock = field(default_factory=asyncio.Lock)
    _usable: bool = True
    _reclaimed: bool = False

    async def place(self, values: Sequence[bytes]) -> Placed | None:
        """A region that holds `values`; None where they should travel over gRPC.

        The caller gives it back with `release`.
        """
        size = sum(4 + len(value) for value in values)
        if size < MIN_BYTES or size > self.max_bytes or not self._usable:
            return None
        region = self._take(size) or await self._grow(size)
        if region is None:
            return None
        try:
            return Placed(region, await self._write(region, values))
        except OSError as error:
            await self._drop(region)
            self._switch_off(f"{FOLDER}: {os.strerror(error.errno or errno.EIO)}")
            return None

    async def reserve(self, size: int) -> Placed | None:
        """A region into which Triton may store `size` bytes; None where they should come over gRPC.

        The caller gives it back with `release`.
        """
        if size > self.max_bytes or not self._usable:
            return None
        region = self._take(size)
        if (region is None or region.backed < size) and not self._is_roomy(size):
            if region is not None:
                self.release(region, answered=True)
            return None
        region = region or await self._grow(size)
        if region is None:
            return None
        try:
            await self._back(region, size)
        except OSError:
            await self._drop(region)
            return None
        return Placed(region, size)

    def release(self, region: Region, *, answered: bool) -> None:
        """Gives a region back; without an answer from Triton it rests first."""
        if region in self._regions:
            region.free_at = time.monotonic() + (0.0 if answered else self.rest_s)
        else:
            region.close()

    def holds(self, region: Region) -> bool:
        """Whether it is one of the pool's, not forgotten since it was taken."""
        return region in self._regions

    def forget(self) -> None:
        """Drops every region: Triton does not know them (any more), as after its restart. Whoever uses one keeps it
        open until it is given back: its descriptor's number must not become another's meanwhile."""
        for region in self._regions:
            region.unlink()
            if not region.in_use:
                region.close()
        self._regions.clear()

    async def close(self) -> None:
        """Unregisters and removes all regions."""
        for region in self._regions:
            await self._unregister(region.name)
        self.forget()

    async def _write(self, region: Region, values: Sequence[bytes]) -> int:
        """Fills a region that is in use; the size. Raises OSError where shared memory is full."""
        handle = os.dup(region.handle)  # the thread's own: the region may be removed before it is done
        if sum(map(len, values)) <= _LOOP_BYTES:
            return _fill(handle, values)
        return await in_thread(_fill, handle, values, left=lambda: self.release(region, answered=True))

    async def _back(self, region: Region, size: int) -> None:
        """Takes the pages of a region that is in use. Raises OSError where shared memory is full."""
        if region.backed >= size:
            return
        try:
            await in_thread(_take_pages, os.dup(region.handle), size)
        except asyncio.CancelledError:
            self.release(region, answered=True)  # the thread takes pages of whoever uses it next: it harms nobody
            raise
        region.backed = size

    def _take(self, size: int) -> Region | None:
        now = time.monotonic()
        fitting = [region for region in self._regions if region.free_at <= now and region.size >= size]
        if not fitting:
            return None
        region = min(fitting, key=lambda region: region.size)
        region.free_at = math.inf
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
                    await self._drop(region)
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
            await self._unregister(region.name)  # Triton may know it already
            raise
        region.free_at = math.inf
        self._regions.append(region)
        return region

    async def _drop(self, region: Region) -> None:
        """Gives a region up, unless it was forgotten meanwhile."""
        if region in self._regions:
            self._regions.remove(region)
            region.remove()
            await self._unregister(region.name)
        else:
            region.close()

    def _is_roomy(self, size: int) -> bool:
        """Whether `size` bytes more leave enough of shared memory to others, as the Python steps' own regions."""
        try:
            state = os.statvfs(FOLDER)
        except OSError as error:
            self._switch_off(f"{FOLDER}: {os.strerror(error.errno or errno.EIO)}")
            return False
        total, free = state.f_blocks * state.f_frsize, state.f_bavail * state.f_frsize
        return total >= _LEAST_MEMORY and free - size >= _FREE_SHARE * total

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
        log.info("%s travel over gRPC: %s", self.what, reason)


async def in_thread(work: Callable[..., _T], *arguments: object, left: Callable[[], None] = lambda: None) -> _T:
    """Runs `work` in a thread, to its end where the caller leaves too: it closes the file that it was given. left: is
    called at that end."""
    running = asyncio.ensure_future(asyncio.to_thread(work, *arguments))

    def end(done: asyncio.Future[_T]) -> None:
        if not done.cancelled():
            done.exception()  # nobody else asks for it
        left()

    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        running.add_done_callback(end)
        raise


def _unlink_orphans() -> None:
    for path in FOLDER.glob("cutout-*"):
        if owner_is_dead(path.name):
            path.unlink(missing_ok=True)


def _create(size: int) -> Region:
    """A new region of `size` bytes, none of them taken yet, which only this user can open. Raises OSError."""
    name = run_name(os.getpid())
    handle = os.open(FOLDER / name, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    try:
        os.ftruncate(handle, size)
    except OSError:
        os.close(handle)
        (FOLDER / name).unlink(missing_ok=True)
        raise
    return Region(name, size, handle)


def _take_pages(handle: int, size: int) -> None:
    """Gives the first `size` bytes of a file their pages and closes it. Raises OSError."""
    try:
        os.posix_fallocate(handle, 0, size)
    finally:
        os.close(handle)


def _fill(handle: int, values: Sequence[bytes]) -> int:
    """Writes BYTES elements as KServe v2 lays them out, a 4-byte little-endian length before each, and closes the file;
    their size. Raises OSError."""
    offset = 0
    try:
        for value in values:
            written = os.pwritev(handle, [struct.pack("<I", len(value)), value], offset)
            if written != 4 + len(value):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            offset += written
    finally:
        os.close(handle)
    return offset
