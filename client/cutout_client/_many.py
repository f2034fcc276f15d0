"""Many images at a time: `remove_many` of both clients, on asyncio, with outcomes in the order of completion."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from cutout_client._exceptions import CutoutClientError
from cutout_client._messages import CutoutResult, ImageSource, Reply, Request
from cutout_client._transport import Transport

_T = TypeVar("_T")
_END = object()


@dataclass(frozen=True, slots=True)
class ManyItem:
    """One image for `remove_many`. `options` are added to the call's; `key` is the caller's own and comes back."""

    image: ImageSource
    options: Mapping[str, object] = field(default_factory=dict)
    key: Any = None


@dataclass(frozen=True, slots=True)
class ManyOutcome:
    """What became of one item: a result or the error that `remove_background` would have raised, never both.

    index: the item's place in the iterable, from 0.
    """

    index: int
    item: ManyItem
    result: CutoutResult | None = None
    error: Exception | None = None


async def outcomes(
    images: Iterable[ImageSource | ManyItem] | AsyncIterable[ImageSource | ManyItem],
    cut_out: Callable[[ManyItem], Awaitable[CutoutResult]],
    in_flight: int,
) -> AsyncGenerator[ManyOutcome, None]:
    """Keeps up to `in_flight` items in work and yields each outcome; reads no further while they are not taken.

    Closing it cancels what is in work. An error of the iterable itself is raised after the outcomes that came before.
    """
    if in_flight < 1:
        raise ValueError(f"in_flight is {in_flight!r}; it takes 1 or more")
    source = _Source(images)
    running: set[asyncio.Task[ManyOutcome]] = set()
    following: asyncio.Task[Any] | None = None
    broken: Exception | None = None
    ended = False
    count = 0
    try:
        while True:
            if following is None and not ended and len(running) < in_flight:
                following = asyncio.ensure_future(source.next())
            waiting: set[asyncio.Task[Any]] = set(running)
            if following is not None:
                waiting.add(following)
            if not waiting:
                break
            done, _ = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
            if following in done:
                try:
                    item = following.result()
                except Exception as error:
                    broken, ended = error, True
                else:
                    ended = item is _END
                    if not ended:
                        item = item if isinstance(item, ManyItem) else ManyItem(item)
                        running.add(asyncio.ensure_future(_outcome(count, item, cut_out)))
                        count += 1
                following = None
            for task in done & running:
                running.discard(task)
                yield task.result()
        if broken is not None:
            raise broken
    finally:
        left = [*running, *([following] if following is not None else [])]
        for task in left:
            task.cancel()
        await asyncio.gather(*left, return_exceptions=True)


async def _outcome(index: int, item: ManyItem, cut_out: Callable[[ManyItem], Awaitable[CutoutResult]]) -> ManyOutcome:
    try:
        return ManyOutcome(index, item, result=await cut_out(item))
    except (CutoutClientError, OSError, TypeError, ValueError) as error:
        return ManyOutcome(index, item, error=error)


class _Source:
    """The next of an iterable of either kind; a plain one is read in a thread, since it may block."""

    def __init__(self, images: Iterable[Any] | AsyncIterable[Any]) -> None:
        self._async = aiter(images) if isinstance(images, AsyncIterable) else None
        self._plain = None if isinstance(images, AsyncIterable) else iter(images)

    async def next(self) -> Any:
        if self._async is not None:
            return await anext(self._async, _END)
        assert self._plain is not None
        return await asyncio.to_thread(next, self._plain, _END)


class ThreadedTransport:
    """A blocking transport for asyncio: each request in a thread."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def send(self, request: Request, timeout_s: float | None) -> Reply:
        return await asyncio.to_thread(self._transport.send, request, timeout_s)

    async def aclose(self) -> None:
        """The blocking transport belongs to its own client."""


def blocking(make: Callable[[], AsyncGenerator[_T, None]]) -> Iterator[_T]:
    """Steps through the asynchronous generator of `make`, whose event loop runs on in a thread between the steps."""
    loop = asyncio.new_event_loop()
    thread = threading.Thread(target=loop.run_forever, name="cutout-many", daemon=True)
    thread.start()
    generator = make()

    async def step() -> Any:
        return await anext(generator, _END)

    try:
        while (value := asyncio.run_coroutine_threadsafe(step(), loop).result()) is not _END:
            yield value
    finally:
        asyncio.run_coroutine_threadsafe(generator.aclose(), loop).result()
        asyncio.run_coroutine_threadsafe(loop.shutdown_default_executor(), loop).result()
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        loop.close()
