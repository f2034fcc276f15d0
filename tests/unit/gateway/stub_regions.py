"""A stub in the place of Triton's gRPC stub, which knows shared memory alone."""

from __future__ import annotations

import asyncio
from typing import Any

import grpc
from tritonclient.grpc import service_pb2 as pb

from cutout_gateway.shared_memory import FOLDER


class StubTriton:
    """Remembers what is registered; refuses with `refusal` where one is set."""

    def __init__(self, refusal: grpc.StatusCode | None = None) -> None:
        self.refusal = refusal
        self.registered: dict[str, int] = {}
        self.asked, self.answers = asyncio.Event(), asyncio.Event()
        self.answers.set()

    async def SystemSharedMemoryRegister(self, request: Any, timeout: float) -> Any:  # noqa: N802
        if self.refusal is not None:
            raise grpc.aio.AioRpcError(self.refusal, grpc.aio.Metadata(), grpc.aio.Metadata(), "not here")
        assert (FOLDER / request.key.removeprefix("/")).stat().st_size == request.byte_size
        self.registered[request.name] = request.byte_size
        self.asked.set()
        await self.answers.wait()
        return pb.SystemSharedMemoryRegisterResponse()

    async def SystemSharedMemoryUnregister(self, request: Any, timeout: float) -> Any:  # noqa: N802
        self.registered.pop(request.name, None)
        return pb.SystemSharedMemoryUnregisterResponse()

    async def SystemSharedMemoryStatus(self, request: Any, timeout: float) -> Any:  # noqa: N802
        answer = pb.SystemSharedMemoryStatusResponse()
        for name in self.registered:
            answer.regions[name].name = name
        return answer
