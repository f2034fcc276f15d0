"""The blocking and the asyncio client behind one face, so that each behaviour is tested on both."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cutout_client import AsyncClient, Client, CutoutResult, Retry, Timeout
from cutout_client._retry import Clock

SYNC, ASYNC = "sync", "async"


@dataclass
class FakeTime:
    """Draws half of each range and notes pauses instead of waiting; time goes on by itself."""

    pauses: list[float] = field(default_factory=list)

    def clock(self) -> Clock:
        async def pause(seconds: float) -> None:
            self.pauses.append(seconds)

        return Clock(sleep=self.pauses.append, sleep_async=pause, uniform=lambda low, high: (low + high) / 2)


@dataclass
class Caller:
    """Opens a client, makes one call and closes it."""

    kind: str
    url: str
    time: FakeTime = field(default_factory=FakeTime)
    retry: Retry = field(default_factory=Retry)
    timeout: Timeout = field(default_factory=Timeout)

    def cut_out(self, image: bytes = b"photo", **options: Any) -> CutoutResult:
        result = self._call(lambda client: client.remove_background(image, **options))
        assert isinstance(result, CutoutResult)
        return result

    def ready(self) -> object:
        return self._call(lambda client: client.ready())

    def info(self) -> object:
        return self._call(lambda client: client.info())

    def _call(self, call: Callable[[Any], Any]) -> object:
        if self.kind == SYNC:
            with Client(self.url, retry=self.retry, timeout=self.timeout) as client:
                client._clock = self.time.clock()
                return call(client)

        async def awaited() -> object:
            async with AsyncClient(self.url, retry=self.retry, timeout=self.timeout) as client:
                client._clock = self.time.clock()
                return await call(client)

        return asyncio.run(awaited())
