"""Runs a job: reads, sends as much as the server takes, writes each result once, tries again what may pass."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import random
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from cutout_client._bulk import storage
from cutout_client._bulk.items import Item
from cutout_client._bulk.journal import DONE, FAILED, Journal, stage
from cutout_client._bulk.pace import Pace
from cutout_client._bulk.report import Report
from cutout_client._config import Timeout
from cutout_client._endpoint import Endpoint
from cutout_client._exceptions import (
    CutoutClientError,
    DeadlineExceeded,
    Overloaded,
    ProtocolError,
    ServiceError,
    TimeoutError_,
    TransportError,
)
from cutout_client._messages import CutoutResult, Operation, Request, cutout_request
from cutout_client._transport import AsyncTransport
from cutout_client._transport_grpc import AsyncGRPCTransport
from cutout_client._transport_http import AsyncHTTPTransport
from cutout_client._transport_stream import AsyncGRPCStreamTransport
from cutout_core.contract import CutoutError

#: Faults of the place of results that every item would meet.
_DISK_FAULTS = {errno.ENOSPC, errno.EDQUOT, errno.EROFS}
_PROBE_S = 1.0
_UPLOADS = 3


@dataclass(frozen=True, slots=True)
class JobSettings:
    """How to run. timeout_s: of one attempt. attempts: of one item, refusals not counted.

    patience_s: how long a server may be away or refuse everything before the job stops, to be taken up later.
    """

    server: str
    results: str
    jobs: int
    timeout_s: float
    attempts: int
    patience_s: float
    overwrite: bool
    api_key: str | None = field(default=None, repr=False)


class JobStopped(Exception):
    """The job cannot go on now; what is left stays to be done."""


class Results:
    """Where results go: a local folder or a URL. A finished result waits in its staging file until it is placed."""

    def __init__(self, results: str, journal: Journal) -> None:
        self._results = results
        self._staged = journal.folder / "staged" if storage.is_url(results) else None

    def name(self, item: Item) -> str:
        return (
            f"{self._results.rstrip('/')}/{item.target}" if self._staged else os.path.join(self._results, item.target)
        )

    def staging(self, item: Item) -> Path:
        """A local result is staged beside its place, so that placing is a rename."""
        if self._staged is not None:
            return self._staged / item.key
        place = Path(self.name(item))
        return place.with_name(f".{place.name[:64]}.{item.key}.part")

    def place(self, item: Item) -> None:
        """Moves the staged result to its place. Raises OSError; the result is then still staged."""
        staged = self.staging(item)
        if self._staged is None:
            os.replace(staged, self.name(item))
            return
        for attempt in range(_UPLOADS):
            try:
                storage.write_remote(self.name(item), staged.read_bytes())
                break
            except OSError:
                if attempt == _UPLOADS - 1:
                    raise
                time.sleep(0.5 * 2**attempt)
        staged.unlink()

    def is_done(self, item: Item) -> bool:
        """For an item that the journal calls done: whether its result is there, placed now where it was only staged.

        An object store is not asked for each object; only a result that was staged and not sent is missing there.
        """
        if self.staging(item).exists():
            self.place(item)
            return True
        return self._staged is not None or os.path.exists(self.name(item))


class Runner:
    """One run of a job."""

    def __init__(self, settings: JobSettings, journal: Journal, results: Results, report: Report) -> None:
        self.pace = Pace(settings.jobs)
        self._settings = settings
        self._journal = journal
        self._results = results
        self._report = report
        self._transport = _open(settings)
        self._tasks = asyncio.Semaphore(settings.jobs)
        self._probing = asyncio.Lock()
        self._last_progress = time.monotonic()
        self._stopped: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self, items: Sequence[Item]) -> None:
        """Does all items. Raises `JobStopped`."""
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(self._settings.jobs + 4))
        ticker = asyncio.create_task(self._tick())
        feeder = asyncio.create_task(self._feed(items))
        try:
            await asyncio.wait((feeder, self._stopped), return_when=asyncio.FIRST_COMPLETED)
            if self._stopped.done():
                self._stopped.result()
            await feeder
        finally:
            for task in (ticker, feeder):
                task.cancel()
            await asyncio.gather(ticker, feeder, return_exceptions=True)
            if self._stopped.done():
                self._stopped.exception()
            await self._transport.aclose()

    async def _feed(self, items: Sequence[Item]) -> None:
        running: set[asyncio.Task[None]] = set()
        try:
            for item in items:
                await self._tasks.acquire()
                task = asyncio.create_task(self._item(item))
                running.add(task)
                task.add_done_callback(running.discard)
                task.add_done_callback(self._item_done)
            await asyncio.gather(*running)
        finally:
            left = list(running)
            for task in left:
                task.cancel()
            await asyncio.gather(*left, return_exceptions=True)

    def _item_done(self, task: asyncio.Task[None]) -> None:
        self._tasks.release()
        if not task.cancelled() and (error := task.exception()) is not None and not self._stopped.done():
            self._stopped.set_exception(error)

    async def _item(self, item: Item) -> None:
        """Brings one item to its end. Raises `JobStopped` or a defect."""
        attempts = 0
        try:
            if item.error is not None:
                raise item.error
            if await asyncio.to_thread(self._is_in_the_way, item):
                self._report.tell(item.row.image, item.target, "skipped", {})
                return
            image = await asyncio.to_thread(storage.read, item.row.image)
            while True:
                try:
                    result = await self._attempt(item, image)
                    break
                except CutoutClientError as error:
                    attempts += not _is_refusal(error)
                    if not _may_pass(error) or attempts >= self._settings.attempts:
                        raise
                    await self._recover_from(error, attempts)
            details = await asyncio.to_thread(self._keep, item, result, attempts + 1)
        except (CutoutClientError, CutoutError, OSError) as error:
            await self._fail(item, error, attempts)
        else:
            self._last_progress = time.monotonic()
            self._report.bytes_in += len(image)
            self._report.bytes_out += len(result.data)
            self._report.tell(item.row.image, item.target, DONE, details)

    async def _attempt(self, item: Item, image: bytes) -> CutoutResult:
        await self.pace.enter()
        try:
            result = await self._transport.send(cutout_request(image, item.options, None), self._settings.timeout_s)
        except CutoutClientError as error:
            if _is_refusal(error):
                self.pace.refused(error.retry_after_s)
            elif isinstance(error, TimeoutError):
                self.pace.slow_down()
            if isinstance(error, ServiceError) and not error.retryable:
                self._last_progress = time.monotonic()
            raise
        finally:
            self.pace.leave()
        self.pace.succeeded()
        if not isinstance(result, CutoutResult):
            raise ProtocolError("the answer is no cut-out")
        return result

    def _is_in_the_way(self, item: Item) -> bool:
        """Whether a file that this job did not write has the result's name."""
        if self._settings.overwrite or item.target in self._journal.targets:
            return False
        return storage.exists(self._results.name(item))

    def _keep(self, item: Item, result: CutoutResult, attempts: int) -> dict[str, object]:
        """Stages, notes and places a result, in this order: see `journal`."""
        stage(self._results.staging(item), result.data)
        details: dict[str, object] = {
            "bytes": len(result.data),
            "width": result.width,
            "height": result.height,
            "warnings": list(result.warnings),
            "confidence": result.confidence,
            "attempts": attempts,
            "request_id": result.request_id,
        }
        self._journal.add(item.key, DONE, item.target, image=item.row.image, **details)
        self._results.place(item)
        return details

    async def _fail(self, item: Item, error: Exception, attempts: int) -> None:
        if isinstance(error, OSError) and error.errno in _DISK_FAULTS:
            raise JobStopped(f"{self._settings.results}: {error.strerror}") from error
        if isinstance(error, storage.StorageError):
            raise JobStopped(str(error)) from error
        details = {"error": describe(error), "attempts": max(1, attempts)}
        if self._journal.status(item.key) == DONE:
            self._report.say(f"{self._results.name(item)}: {error}; the result is kept, the next run puts it there")
        else:
            await asyncio.to_thread(
                lambda: self._journal.add(item.key, FAILED, item.target, image=item.row.image, **details)
            )
        self._report.tell(item.row.image, item.target, FAILED, details)

    async def _recover_from(self, error: CutoutClientError, attempts: int) -> None:
        """Waits until a new attempt makes sense. Raises `JobStopped` where patience has ended."""
        self._check_patience(error)
        if _is_refusal(error) or isinstance(error, TimeoutError):
            return  # the pace waits
        pause = error.retry_after_s if error.retry_after_s is not None else 0.2 * 2**attempts
        await asyncio.sleep(random.uniform(pause, 1.25 * pause))
        async with self._probing:
            said = False
            while not await self._answers():
                self._check_patience(error)
                if not said:
                    self._report.say(f"waiting for the server: {error}")
                    said = True
                await asyncio.sleep(_PROBE_S)

    async def _answers(self) -> bool:
        try:
            return await self._transport.send(Request(Operation.READY), 5.0) is True
        except CutoutClientError:
            return False

    def _check_patience(self, error: CutoutClientError) -> None:
        if time.monotonic() - self._last_progress > self._settings.patience_s:
            raise JobStopped(f"nothing could be done for {self._settings.patience_s:g} s: {error}") from error

    async def _tick(self) -> None:
        while True:
            self._report.progress(self.pace.in_flight, int(self.pace.limit), self.pace.refusals)
            await asyncio.sleep(1.0)


async def check_server(settings: JobSettings) -> None:
    """Raises `JobStopped` where no server listens at all, or none of Cutout's."""
    transport = _open(settings)
    try:
        with contextlib.suppress(ServiceError):
            await transport.send(Request(Operation.READY), 10.0)
    except TransportError as error:
        raise JobStopped(f"no Cutout server answers at {settings.server}: {error}") from error
    finally:
        await transport.aclose()


def describe(error: Exception) -> dict[str, object]:
    """An error as it stands in the journal and in the file of failures."""
    if isinstance(error, ServiceError | CutoutError):
        code = error.code if isinstance(error, ServiceError) else error.code.value
        return {"code": code, "message": error.message, "field": error.field}
    if isinstance(error, CutoutClientError):
        return {"code": "transport", "message": error.message, "field": None}
    return {"code": "file", "message": getattr(error, "strerror", None) or str(error), "field": None}


def _open(settings: JobSettings) -> AsyncTransport:
    endpoint = Endpoint.parse(settings.server, settings.api_key)
    timeout = Timeout(total=settings.timeout_s)
    if endpoint.is_grpc:
        return AsyncGRPCStreamTransport(AsyncGRPCTransport(endpoint, timeout), close_channel=True)
    return AsyncHTTPTransport(endpoint, timeout)


def _is_refusal(error: CutoutClientError) -> bool:
    """Whether the server, or a proxy before it, only says "not now"."""
    return isinstance(error, Overloaded) or (isinstance(error, ProtocolError) and error.http_status == 429)


def _may_pass(error: CutoutClientError) -> bool:
    """What another attempt, with time of its own, may bring to a good end."""
    return error.retryable or isinstance(error, TimeoutError_ | DeadlineExceeded)
