"""Runs the jobs of the command line: some at a time, each read, cut out and written whole."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from cutout_client._cli_plan import Job
from cutout_client._cli_report import Report
from cutout_client._client import AsyncClient
from cutout_client._config import Retry, Timeout
from cutout_client._exceptions import ConnectError, CutoutClientError, ProtocolError, TransportError, WrongProtocol
from cutout_client._files import write_atomically
from cutout_client._messages import CutoutResult
from cutout_client._options import CutoutOptions


@dataclass(frozen=True, slots=True)
class RunSettings:
    """How to run. `options` and the encoded `background_image` go to the server."""

    server: str
    timeout: Timeout
    retry: Retry
    jobs: int
    overwrite: bool
    options: CutoutOptions
    background_image: bytes | None
    api_key: str | None = field(default=None, repr=False)


async def run_jobs(jobs: Sequence[Job], settings: RunSettings, report: Report, piped: bytes) -> None:
    """Runs every job and tells `report`; `piped` is what came on standard input.

    Stops early, with `report.unreachable` set, once no server answers. asyncio and not threads, so that an
    interrupt cancels what is in flight, here and at the server, instead of waiting for it.
    """
    client = AsyncClient(settings.server, timeout=settings.timeout, retry=settings.retry, api_key=settings.api_key)
    async with client:
        runner = _Runner(client, settings, report, piped)
        queue = iter(jobs)
        workers = [asyncio.ensure_future(runner.work(queue)) for _ in range(min(settings.jobs, len(jobs)))]
        try:
            await asyncio.gather(*workers)
        finally:
            for worker in workers:
                worker.cancel()
            await asyncio.gather(*workers, return_exceptions=True)


class _Runner:
    def __init__(self, client: AsyncClient, settings: RunSettings, report: Report, piped: bytes) -> None:
        self._client = client
        self._settings = settings
        self._report = report
        self._piped = piped

    async def work(self, queue: Iterator[Job]) -> None:
        """Takes jobs from the shared queue until it is empty or the server is gone."""
        for job in queue:
            await self._run(job)
            if self._report.unreachable:
                return

    async def _run(self, job: Job) -> None:
        if job.target is not None and job.target.exists() and not self._settings.overwrite:
            self._report.skip(job)
            return
        try:
            image = self._piped if job.source is None else await asyncio.to_thread(job.source.read_bytes)
            result = await self._cut_out(image)
            if job.target is None:
                sys.stdout.buffer.write(result.data)
                sys.stdout.buffer.flush()
            else:
                await asyncio.to_thread(_write, job.target, result.data)
        except (ConnectError, ProtocolError) as error:
            gone = await self._look_for_server()
            # A port of another protocol may hang up while a photo is sent; only the small question learns why.
            self._report.fail(job, gone if isinstance(gone, WrongProtocol) else error)
        except (CutoutClientError, OSError) as error:
            self._report.fail(job, error)
        else:
            self._report.succeed(job, result)

    async def _cut_out(self, image: bytes) -> CutoutResult:
        settings = self._settings
        return await self._client.remove_background(
            image, background_image=settings.background_image, **settings.options
        )

    async def _look_for_server(self) -> TransportError | None:
        """Tells a server that is gone, or none of Cutout's, from one that dropped a single request."""
        try:
            await self._client.ready()
        except TransportError as error:
            self._report.unreachable = error
            return error
        except CutoutClientError:
            pass
        return None


def _write(target: Path, data: bytes) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(target, data)
