"""The clients. All they add to their shared base is how one request is sent: blocking, or in asyncio."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterable, Iterable, Iterator, Mapping
from contextlib import aclosing
from types import TracebackType
from typing import TYPE_CHECKING, Any, TypeVar

from cutout_client._config import Retry, Timeout
from cutout_client._endpoint import Endpoint
from cutout_client._exceptions import CutoutClientError
from cutout_client._many import ManyItem, ManyOutcome, ThreadedTransport, blocking, outcomes
from cutout_client._messages import (
    CutoutResult,
    ImageSource,
    Operation,
    Reply,
    Request,
    cutout_request,
)
from cutout_client._options import CutoutOptions
from cutout_client._retry import Attempts, Clock
from cutout_client._transport import AsyncTransport, Transport
from cutout_client._transport_grpc import AsyncGRPCTransport, GRPCTransport
from cutout_client._transport_http import AsyncHTTPTransport, HTTPTransport
from cutout_client._transport_stream import AsyncGRPCStreamTransport

if TYPE_CHECKING:
    from typing_extensions import Unpack

#: Where `make serve` listens.
DEFAULT_URL = "http://127.0.0.1:8080"

_T = TypeVar("_T")
_NO_RETRY = Retry(attempts=1)


class _BaseClient:
    """Settings and state that both clients have, and everything of a call but the sending."""

    _clock = Clock()

    def __init__(self, timeout: Timeout | float | None, retry: Retry) -> None:
        self._timeout = timeout if isinstance(timeout, Timeout) else Timeout(total=timeout)
        self._retry = retry
        self._closed = False

    def _attempts(self, request: Request, timeout: float | None = None) -> Attempts:
        if self._closed:
            raise RuntimeError("the client is closed")
        total = self._timeout.total if timeout is None else Timeout(total=timeout).total
        retry = _NO_RETRY if request.operation is Operation.READY else self._retry
        return Attempts(retry, total, self._clock)


class Client(_BaseClient):
    """Removes backgrounds, blocking. One client may be used by many threads.

    url: `http://`, `https://`, `grpc://host:port` or `grpcs://host:port` (TLS). timeout: a `Timeout`, the total
    seconds of a call, or None for no limit. retry: a `Retry`. api_key: sent with every call, where the server wants
    one. transport: used instead of `url`'s, for tests. Raises ValueError for a URL or a key that is none.

        with Client("http://127.0.0.1:8080") as client:
            client.remove_background("photo.jpg").save("photo.png")
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        timeout: Timeout | float | None = Timeout(),  # noqa: B008 - frozen
        retry: Retry = Retry(),  # noqa: B008 - frozen
        api_key: str | None = None,
        transport: Transport | None = None,
    ) -> None:
        super().__init__(timeout, retry)
        self._given = transport
        self._endpoint = Endpoint.parse(url, api_key)  # holds the key, and does not show it
        self._transport: Transport = transport or _open(self._endpoint, self._timeout)

    def remove_background(
        self,
        image: ImageSource,
        *,
        background_image: ImageSource | None = None,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: Unpack[CutoutOptions],
    ) -> CutoutResult:
        """Removes the background of one image.

        image: the encoded file (JPEG, PNG, WebP, TIFF, BMP, GIF, AVIF, HEIC) as bytes, a path, or a file opened
        for binary reading, which is read to its end and left open. background_image: a picture to put behind the
        subject, likewise. options: see `CutoutOptions`, e.g. `output="jpeg", canvas="2000x2000", scale="85%"`.
        timeout: total seconds of this call, retries included; None is the client's.
        request_id: the caller's own id for logs (1 to 128 of `A-Z a-z 0-9 . _ : / + = @ -`); made up where None.

        Raises `CutoutClientError` (see `cutout_client.CutoutClientError`'s tree), OSError where an image cannot
        be read, TypeError or ValueError for bad arguments, RuntimeError on a closed client.
        """
        request = cutout_request(image, options, request_id, background_image)
        return _expect(CutoutResult, self._call(request, timeout))

    def remove_many(
        self,
        images: Iterable[ImageSource | ManyItem],
        *,
        options: Mapping[str, object] | None = None,
        in_flight: int = 8,
        timeout: float | None = None,
    ) -> Iterator[ManyOutcome]:
        """Removes the background of many images and yields each `ManyOutcome` as it is finished.

        images: image sources as `remove_background` takes them, or `ManyItem`s with options and a key of their own;
        the iterable is read from another thread, no further than `in_flight` items ahead. options: names and values
        for every item. timeout: seconds of each item, retries included; None is the client's.
        Over gRPC all go through one stream, opened again where it breaks; over HTTP each is a call of its own. An error
        of one item is its outcome and ends nothing. Leaving the loop early cancels what is in work.
        """
        if self._closed:
            raise RuntimeError("the client is closed")

        async def steps() -> AsyncGenerator[ManyOutcome, None]:
            transport = ThreadedTransport(self._given) if self._given is not None else None
            url, key = self._endpoint.url, self._endpoint.api_key
            async with AsyncClient(
                url, timeout=self._timeout, retry=self._retry, api_key=key, transport=transport
            ) as client:
                client._clock = self._clock
                found = client.remove_many(images, options=options, in_flight=in_flight, timeout=timeout)
                async with aclosing(found):
                    async for outcome in found:
                        yield outcome

        return blocking(steps)

    def ready(self) -> bool:
        """Whether the server would take a request now: one attempt. Raises `TransportError` where none answers."""
        return _expect(bool, self._call(Request(Operation.READY)))

    def info(self) -> dict[str, Any]:
        """The server's limits, models, profile and versions. Over gRPC it raises `UnsupportedOperation`."""
        return _expect(dict, self._call(Request(Operation.INFO)))

    def close(self) -> None:
        """Closes every connection; calls on the client then raise RuntimeError."""
        self._closed = True
        self._transport.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _call(self, request: Request, timeout: float | None = None) -> Reply:
        attempts = self._attempts(request, timeout)
        while True:
            try:
                return self._transport.send(request, attempts.remaining_s())
            except CutoutClientError as error:
                pause = attempts.pause_after(_named(error, request))
            self._clock.sleep(pause)


class AsyncClient(_BaseClient):
    """`Client` for asyncio: the same arguments, results and exceptions. Used within one event loop.

    Cancelling a call closes its connection or stream, so that the server drops the work.

        async with AsyncClient("grpc://127.0.0.1:8081") as client:
            results = await asyncio.gather(*(client.remove_background(path) for path in paths))
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        *,
        timeout: Timeout | float | None = Timeout(),  # noqa: B008 - frozen
        retry: Retry = Retry(),  # noqa: B008 - frozen
        api_key: str | None = None,
        transport: AsyncTransport | None = None,
    ) -> None:
        super().__init__(timeout, retry)
        self._transport: AsyncTransport = transport or _open_async(Endpoint.parse(url, api_key), self._timeout)

    async def remove_background(
        self,
        image: ImageSource,
        *,
        background_image: ImageSource | None = None,
        timeout: float | None = None,
        request_id: str | None = None,
        **options: Unpack[CutoutOptions],
    ) -> CutoutResult:
        """See `Client.remove_background`. Files are read in a thread."""
        request = await asyncio.to_thread(cutout_request, image, options, request_id, background_image)
        return _expect(CutoutResult, await self._call(request, timeout))

    async def remove_many(
        self,
        images: Iterable[ImageSource | ManyItem] | AsyncIterable[ImageSource | ManyItem],
        *,
        options: Mapping[str, object] | None = None,
        in_flight: int = 8,
        timeout: float | None = None,
    ) -> AsyncGenerator[ManyOutcome, None]:
        """See `Client.remove_many`; `contextlib.aclosing` around it makes sure of the cancelling."""
        common = dict(options or {})
        unary = self._transport
        transport = AsyncGRPCStreamTransport(unary) if isinstance(unary, AsyncGRPCTransport) else unary

        async def cut_out(item: ManyItem) -> CutoutResult:
            request = await asyncio.to_thread(cutout_request, item.image, {**common, **item.options}, None)
            return _expect(CutoutResult, await self._call(request, timeout, transport))

        try:
            async with aclosing(outcomes(images, cut_out, in_flight)) as found:
                async for outcome in found:
                    yield outcome
        finally:
            if transport is not unary:
                await transport.aclose()

    async def ready(self) -> bool:
        """See `Client.ready`."""
        return _expect(bool, await self._call(Request(Operation.READY)))

    async def info(self) -> dict[str, Any]:
        """See `Client.info`."""
        return _expect(dict, await self._call(Request(Operation.INFO)))

    async def aclose(self) -> None:
        """Closes every connection; calls on the client then raise RuntimeError."""
        self._closed = True
        await self._transport.aclose()

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def _call(
        self, request: Request, timeout: float | None = None, transport: AsyncTransport | None = None
    ) -> Reply:
        attempts = self._attempts(request, timeout)
        while True:
            try:
                return await (transport or self._transport).send(request, attempts.remaining_s())
            except CutoutClientError as error:
                pause = attempts.pause_after(_named(error, request))
            await self._clock.sleep_async(pause)


def _open(endpoint: Endpoint, timeout: Timeout) -> Transport:
    return GRPCTransport(endpoint, timeout) if endpoint.is_grpc else HTTPTransport(endpoint, timeout)


def _open_async(endpoint: Endpoint, timeout: Timeout) -> AsyncTransport:
    return AsyncGRPCTransport(endpoint, timeout) if endpoint.is_grpc else AsyncHTTPTransport(endpoint, timeout)


def _expect(kind: type[_T], reply: object) -> _T:
    if not isinstance(reply, kind):
        raise TypeError(f"the transport answered with {type(reply).__name__} where {kind.__name__} is due")
    return reply


def _named(error: CutoutClientError, request: Request) -> CutoutClientError:
    """`error` with the request's id, which is then in no answer; without one where no server's log has it."""
    if error.request_id is None and request.request_id and error.arrived:
        error.request_id = request.request_id
    return error
