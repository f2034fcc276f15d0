"""The server's life: bind, start Triton, watch readiness, serve, drain, stop."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import os
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from importlib.metadata import version

import httpx
import uvicorn

from cutout_core.contract import FORMATS, OPTION_HELP
from cutout_core.contract.engine import EngineManifest
from cutout_core.contract.paths import engines_root
from cutout_core.contract.tensors import ENSEMBLES, QUALITY_ENGINES
from cutout_gateway.access import Access, describe_access
from cutout_gateway.admission import Admission, Budget
from cutout_gateway.batcher import Batcher
from cutout_gateway.embedded import EmbeddedSettings, EmbeddedTriton
from cutout_gateway.grpc_api import GrpcApi
from cutout_gateway.http_api import create_app
from cutout_gateway.http_protocol import HttpProtocol
from cutout_gateway.kserve import KserveEdges
from cutout_gateway.metrics import Metrics
from cutout_gateway.readiness_log import ReadinessLog
from cutout_gateway.service import CutoutService
from cutout_gateway.settings import Settings
from cutout_gateway.stub_memory import StubMemory
from cutout_gateway.triton import Readiness, TritonClient
from cutout_gateway.url_fetch import UrlFetcher

log = logging.getLogger("cutout.gateway")

#: Seconds between two readiness probes, while something is missing and while all is well.
_PROBE_FAST_S, _PROBE_SLOW_S = 0.25, 1.0

#: How long callers may take to read what was finished before the stop, seconds.
_SEND_GRACE_S = 5.0

#: Why an embedded Triton lacks a quality that is built.
_NOT_SERVED = (
    "Built, but not served: since this server started, and a restart adds it, or its files are damaged, and the log "
    "tells."
)


class _Uvicorn(uvicorn.Server):
    """Uvicorn without its signal handlers: the gateway owns the signals, for both protocols."""

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Server:
    """One gateway. `run` returns after SIGTERM, SIGINT or `stop`, when everything it started has ended."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.metrics = Metrics()
        self.http_port = 0
        self.grpc_port = 0
        self._stop = asyncio.Event()
        self._drain: asyncio.Task[None] | None = None
        self._changed = asyncio.Event()
        self._embedded: EmbeddedTriton | None = None
        self._triton_version = ""

    def stop(self) -> None:
        """Begins to drain; a second call does not wait for the requests in flight any longer."""
        if self._drain is not None:
            self._drain.cancel()
        self._stop.set()

    async def run(self) -> None:
        """Serves until stopped. Raises OSError, RuntimeError or ValueError where it cannot start."""
        settings = self.settings
        if settings.ready_file is not None:
            settings.ready_file.unlink(missing_ok=True)
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self.stop)
        access = Access(self.metrics, keys=settings.api_keys, file=settings.api_keys_file)
        describe_access(access, (settings.http_host, settings.grpc_host))
        with _listen(settings.http_host, settings.http_port) as listener:
            self.http_port = listener.getsockname()[1]
            news = ReadinessLog()
            async with self._triton() as triton:
                await self._serve(triton, listener, access, news)
        log.info("stopped")

    async def _serve(self, triton: TritonClient, listener: socket.socket, access: Access, news: ReadinessLog) -> None:
        settings = self.settings
        budget = Budget(
            settings.max_in_flight,
            settings.max_in_flight_pixels,
            settings.max_in_flight_bytes,
            settings.max_uploads,
            # Half a deadline leaves room for an error of the estimated rate.
            crowd_s=(settings.max_crowd_wait_s or settings.timeout_s / 2) if settings.max_wait_s else 0.0,
            wait_s=settings.max_wait_s,
            least=2 * settings.batch_slots * settings.batch_rows,
        )
        batcher = Batcher(
            triton.infer,
            self.metrics,
            slots=settings.batch_slots,
            max_rows=settings.batch_rows,
            max_rows_of={ENSEMBLES["high"]: settings.max_batch_rows_high},
            max_pixels=settings.max_batch_pixels,
        )
        service = CutoutService(settings.limits, Admission(budget), batcher, self.metrics, access)
        kserve = KserveEdges(service, settings, triton, self._triton_http_url())
        grpc_api = GrpcApi(service, settings, kserve.grpc_handlers())
        app = create_app(
            service,
            settings,
            lambda: self._info(triton, service),
            self._triton_metrics,
            UrlFetcher(settings.fetch_rules),
        )
        kserve.add_to(app)
        http = _Uvicorn(
            uvicorn.Config(
                app,
                log_config=None,
                access_log=False,
                lifespan="off",
                server_header=False,
                http=HttpProtocol,
                ws="none",
                timeout_graceful_shutdown=round(_SEND_GRACE_S),
            )
        )
        self.grpc_port = await grpc_api.start()
        http_task = asyncio.create_task(http.serve(sockets=[listener]))
        watch_task = asyncio.create_task(self._watch(triton, service, grpc_api, news))
        stop_task = asyncio.create_task(self._stop.wait())
        address = f"http://{settings.http_host}:{self.http_port}"
        log.info("HTTP on %s (a page to try it; the API is described at %s/docs)", address, address)
        log.info("gRPC on %s:%d", settings.grpc_host, self.grpc_port)
        try:
            done, _ = await asyncio.wait((http_task, watch_task, stop_task), return_when=asyncio.FIRST_COMPLETED)
            for task in done - {stop_task}:
                task.result()
        finally:
            self._stop.set()
            log.info("stopping: no new requests")
            watch_task.cancel()
            await asyncio.gather(watch_task, return_exceptions=True)
            service.set_readiness(Readiness(reason="The server is stopping."))
            await grpc_api.set_serving(False)
            self._drain = asyncio.create_task(service.drain(settings.shutdown_grace_s))
            await asyncio.gather(self._drain, return_exceptions=True)
            kserve.stop()
            http.should_exit = True
            await asyncio.gather(http_task, grpc_api.stop(_SEND_GRACE_S), stop_task, return_exceptions=True)
            await kserve.close()
            if settings.ready_file is not None:
                settings.ready_file.unlink(missing_ok=True)
            log.info("no request is left; stopping Triton" if self._embedded else "no request is left")

    @contextlib.asynccontextmanager
    async def _triton(self) -> AsyncIterator[TritonClient]:
        """An external Triton's client, or the embedded one started and, at the end, stopped."""
        settings = self.settings
        url = settings.triton_url
        if url is None:
            url = await self._start_embedded()
        client = TritonClient(url, settings.profile, settings.shared_memory_bytes, settings.shared_memory_result_bytes)
        try:
            yield client
        finally:
            await client.close()
            if self._embedded is not None:
                await self._embedded.stop()

    async def _start_embedded(self) -> str:
        """Starts the embedded Triton; returns its gRPC address. Raises RuntimeError with the remedy."""
        settings = self.settings
        self._embedded = EmbeddedTriton(
            EmbeddedSettings(
                profile=settings.profile,
                source=settings.model_repository,
                engines=engines_root(),
                limits=settings.limits,
                precision=settings.precision,
                precision_force=settings.precision_force,
                threads=settings.threads,
                instances=settings.instances,
                postprocess_instances=settings.postprocess_instances,
                stub_memory=StubMemory(settings.stub_shm_bytes, settings.stub_shm_growth_bytes),
            ),
            on_exit=lambda status: self._changed.set(),
        )
        await self._embedded.start()
        log.info("Triton itself: gRPC on %s, HTTP on %s", self._embedded.grpc_url, self._embedded.http_url)
        return self._embedded.grpc_url

    def _triton_http_url(self) -> str | None:
        return self._embedded.http_url if self._embedded is not None else self.settings.triton_http_url

    async def _watch(self, triton: TritonClient, service: CutoutService, grpc_api: GrpcApi, news: ReadinessLog) -> None:
        """Probes Triton for ever; a death of the embedded one is known at once, not at the next probe."""
        was_ready = False
        counted = 0
        while True:
            self._changed.clear()
            readiness = await self._probe(triton)
            service.set_readiness(readiness)
            news.tell(readiness)
            if self._embedded is not None and self._embedded.restarts > counted:
                self.metrics.restarts.inc(self._embedded.restarts - counted)
                counted = self._embedded.restarts
            if service.ready != was_ready:
                was_ready = service.ready
                await grpc_api.set_serving(was_ready)
                if was_ready:
                    self._triton_version = await triton.server_version()
                    self.metrics.set_build(self.settings.profile, self._triton_version)
                    self.metrics.set_engines(await triton.engine_parameters())
                    self._write_ready_file()
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_PROBE_SLOW_S if was_ready else _PROBE_FAST_S):
                    await self._changed.wait()

    async def _probe(self, triton: TritonClient) -> Readiness:
        if self._embedded is not None and not self._embedded.alive:
            return Readiness(reason="Triton is being restarted.")
        readiness = await triton.readiness()
        if self._embedded is not None:
            built = {quality: _NOT_SERVED for quality in readiness.absent if _is_built(quality)}
            readiness = replace(readiness, faults=readiness.faults | built)
        for quality, ready in readiness.qualities.items():
            ensemble = ENSEMBLES[quality]
            if ready and triton.suspect(ensemble) and not await triton.answers(ensemble):
                if self._embedded is not None:
                    self._embedded.restart(f"{ensemble} answers no request")
                return Readiness(reason="Triton does not answer requests.")
        return readiness

    async def _info(self, triton: TritonClient, service: CutoutService) -> dict[str, object]:
        settings = self.settings
        engines: dict[str, object] = {}
        for model, parameters in (await triton.engine_parameters()).items():
            engines[model] = parameters | _provenance(model)
        return {
            "version": version("cutout-gateway"),
            "triton": self._triton_version,
            "profile": settings.profile,
            "access": "open" if service.access.is_open else "api_keys",
            "url_fetching": settings.fetch_urls,
            "ready": service.ready,
            "qualities": service.readiness.qualities or dict.fromkeys(ENSEMBLES, False),
            "not_installed": service.readiness.not_installed,
            "reasons": service.readiness.reasons,
            "engines": engines,
            "formats": list(FORMATS),
            "options": OPTION_HELP,
            "limits": {
                "max_bytes": settings.max_bytes,
                "max_pixels": settings.max_pixels,
                "max_in_flight": settings.max_in_flight,
                "timeout_s": settings.timeout_s,
                "max_timeout_s": settings.max_timeout_s,
            },
        }

    async def _triton_metrics(self) -> bytes:
        """Triton's own page; empty with a comment where its address is not known or it does not answer."""
        url = self._embedded.metrics_url if self._embedded is not None else self.settings.triton_metrics_url
        if url is None:
            return b"# CUTOUT_TRITON_METRICS_URL is not set\n"
        try:
            async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
                return (await client.get(url)).raise_for_status().content
        except httpx.HTTPError:
            return b"# Triton does not answer\n"

    def _write_ready_file(self) -> None:
        if self.settings.ready_file is not None:
            text = json.dumps({"pid": os.getpid(), "http_port": self.http_port, "grpc_port": self.grpc_port})
            temporary = self.settings.ready_file.with_suffix(".tmp")
            temporary.write_text(text)
            temporary.replace(self.settings.ready_file)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(2048)  # now, not when uvicorn starts: until then a second gateway could bind the port too
    except OSError as error:
        listener.close()
        raise OSError(
            f"HTTP cannot listen on {host}:{port} ({error.strerror}); set CUTOUT_HTTP_HOST or CUTOUT_HTTP_PORT"
        ) from error
    return listener


def _is_built(quality: str) -> bool:
    """Whether every engine of the quality is in this machine's cache."""
    return all((engines_root() / engine).is_dir() for engine in QUALITY_ENGINES[quality])


def _provenance(model: str) -> dict[str, str]:
    """Licence and source of a locally built engine; nothing for an external Triton's own."""
    try:
        manifest = EngineManifest.read(engines_root() / model)
    except (OSError, ValueError):
        return {}
    return {"engine": manifest.engine, "license": manifest.license, "source": manifest.source}
