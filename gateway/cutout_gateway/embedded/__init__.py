"""Triton as a supervised child of the gateway, without a container: the embedded default.

`EmbeddedTriton` is all that the rest of the gateway uses. It knows the process; whether the models are ready is asked
over gRPC by whoever needs to know.
"""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from cutout_core.contract import Limits
from cutout_core.contract.paths import cache_root, engines_root
from cutout_gateway.embedded.ports import ReservedPort, free_port
from cutout_gateway.embedded.repository import (
    RenderSettings,
    RepositoryError,
    default_source,
    render_repository,
)
from cutout_gateway.embedded.run_directory import RunDirectory, sweep
from cutout_gateway.embedded.runtime import Ports, RuntimeMissingError, TritonRuntime
from cutout_gateway.embedded.supervisor import Backoff, Launch, TritonSupervisor
from cutout_gateway.stub_memory import StubMemory

__all__ = ["Backoff", "EmbeddedSettings", "EmbeddedTriton", "RepositoryError", "RuntimeMissingError"]


@dataclass(frozen=True, slots=True)
class EmbeddedSettings:
    """What the embedded Triton needs to know.

    source: the tracked model repository; None takes the checkout's. engines: None takes the cache's.
    precision: `auto`, or one that the engine is certified for; precision_force: or is not.
    threads: 0 takes one per core. instances: of every model, each with all threads. postprocess_instances: of that
    model; 0 takes one for each thread, at most 4. stub_memory: shared memory of the Python stubs.
    """

    profile: str = "cpu"
    source: Path | None = None
    engines: Path | None = None
    limits: Limits = field(default_factory=Limits)
    precision: str = "auto"
    precision_force: bool = False
    threads: int = 0
    instances: int = 1
    postprocess_instances: int = 0
    stub_memory: StubMemory = field(default_factory=StubMemory)
    backoff: Backoff = field(default_factory=Backoff)


class EmbeddedTriton:
    """One Triton server on loopback: rendered, started, restarted when it dies, and wholly gone after `stop`.

    on_exit: called in the event loop with the exit status of every Triton that ended unasked.
    """

    def __init__(self, settings: EmbeddedSettings, on_exit: Callable[[int], None] | None = None) -> None:
        self._settings = settings
        self._on_exit = on_exit
        self._supervisor: TritonSupervisor | None = None
        self._run: RunDirectory | None = None
        self._grpc, self._http, self._metrics = ReservedPort(), ReservedPort(), free_port()

    @property
    def grpc_url(self) -> str:
        """`host:port` of the gRPC endpoint; the same over all restarts."""
        return f"127.0.0.1:{self._grpc.number}"

    @property
    def http_url(self) -> str:
        """`host:port` of the HTTP endpoint; the same over all restarts."""
        return f"127.0.0.1:{self._http.number}"

    @property
    def metrics_url(self) -> str:
        """URL of Triton's own metrics; its port changes with every restart."""
        return f"http://127.0.0.1:{self._metrics}/metrics"

    @property
    def alive(self) -> bool:
        """True while Triton's process runs."""
        return self._supervisor is not None and self._supervisor.alive

    @property
    def restarts(self) -> int:
        """How often Triton was started again."""
        return self._supervisor.restarts if self._supervisor is not None else 0

    @property
    def run_name(self) -> str:
        """Name of this run: of its folder, its regions and its processes' marker. Empty before `start`."""
        return self._run.name if self._run is not None else ""

    @property
    def last_lines(self) -> list[str]:
        """The last lines of Triton's log."""
        return self._supervisor.last_lines if self._supervisor is not None else []

    async def start(self) -> None:
        """Sweeps what dead runs left, renders the repository and starts Triton; does not wait for the models.

        Raises `RuntimeMissingError` or `RepositoryError` (both RuntimeError) with the remedy.
        """
        runtime = TritonRuntime.find()
        source = self._settings.source or default_source()
        runs = cache_root() / "runs"
        try:
            await asyncio.to_thread(sweep, runs)
            run = self._run = RunDirectory(runs)
        except OSError as error:
            raise RepositoryError(
                f"The cache {cache_root()} cannot be written ({error.strerror}): set CUTOUT_CACHE to a folder that can."
            ) from error
        try:
            await asyncio.to_thread(self._prepare, runtime, source, run.path)
        except BaseException:
            shutil.rmtree(run.path, ignore_errors=True)
            raise
        env = runtime.environment(os.environ)

        def launch() -> Launch:
            self._metrics = free_port()
            ports = Ports(self._grpc.number, self._http.number, self._metrics)
            repository, backends = run.path / "models", run.path / "backends"
            settings = self._settings
            command = runtime.command(repository, backends, settings.profile, run.name, settings.stub_memory, ports)
            return Launch(command, env)

        self._supervisor = TritonSupervisor(launch, run, on_exit=self._on_exit, backoff=self._settings.backoff)
        await self._supervisor.start()

    async def stop(self, grace_s: float = 10.0) -> None:
        """Ends Triton and removes everything of the run; requests in flight get `grace_s` seconds."""
        if self._supervisor is not None:
            await self._supervisor.stop(grace_s)
        if self._run is not None:
            await asyncio.to_thread(self._run.close)
        self._grpc.close()
        self._http.close()

    def restart(self, reason: str) -> None:
        """Starts Triton anew although it runs, because it does not serve; the back-off applies."""
        if self._supervisor is not None:
            self._supervisor.restart(reason)

    def _prepare(self, runtime: TritonRuntime, source: Path, folder: Path) -> None:
        settings = self._settings
        compiled = cache_root() / "compiled"
        compiled.mkdir(parents=True, exist_ok=True)
        runtime.link_backends(folder / "backends")
        render_repository(
            source,
            settings.engines or engines_root(),
            folder / "models",
            RenderSettings(
                settings.profile,
                settings.limits,
                settings.precision,
                settings.precision_force,
                settings.threads,
                compiled,
                settings.instances,
                settings.postprocess_instances,
            ),
        )
