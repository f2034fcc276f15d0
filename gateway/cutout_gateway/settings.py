"""Settings: environment variables with the prefix `CUTOUT_` and flags, as one frozen object, checked at start."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Literal

from pydantic import Field, SecretStr, field_validator, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cutout_core.contract import MAX_BATCH_SIZE, Limits
from cutout_core.contract.cpu import available_cores
from cutout_gateway.stub_memory import INITIAL
from cutout_gateway.url_fetch import FetchRules

#: `CUTOUT_` variables that are not the gateway's, but belong to another part of Cutout.
_OTHERS = {"CUTOUT_CACHE", "CUTOUT_SERVER", "CUTOUT_API_KEY"}


class Settings(BaseSettings):
    """Everything an operator may set. Flags win over the environment; both win over the defaults."""

    model_config = SettingsConfigDict(
        env_prefix="CUTOUT_",
        frozen=True,
        cli_kebab_case=True,
        cli_prog_name="python -m cutout_gateway",
        cli_implicit_flags=True,
        cli_hide_none_type=True,
        use_attribute_docstrings=True,
    )

    http_host: str = "127.0.0.1"
    """Address of the HTTP listener; 0.0.0.0 opens the service to other machines."""
    http_port: int = Field(8080, ge=0, le=65535)
    """Port of the HTTP listener; 0 takes a free one."""
    grpc_host: str = "127.0.0.1"
    """Address of the gRPC listener."""
    grpc_port: int = Field(8081, ge=0, le=65535)
    """Port of the gRPC listener; 0 takes a free one."""
    ready_file: Path | None = None
    """A file that is written (JSON: pid, http_port, grpc_port) once the service is ready, removed at the end."""

    api_keys_file: Path | None = None
    """A file of API keys (python -m cutout_gateway.keys new NAME), read again when it changes."""
    api_keys: str | None = None
    """The same list as text, entries separated by `;`, for deployments without a file."""
    fetch_urls: bool = False
    """Whether photos are downloaded from http and https URLs that callers name."""
    fetch_hosts: str = ""
    """Hosts to download from, separated by commas; `*.example.com` takes its subdomains. Empty: any public host."""
    fetch_timeout_s: float = Field(10.0, gt=0, le=600)
    """Longest time of one download with its redirects, seconds."""

    removebg_quality: Literal["fast", "standard", "high"] = "standard"
    """Quality of the requests to remove.bg's interface, which has no field for it."""
    removebg_png_megapixels: float = Field(10.0, ge=0.25, le=1000)
    """Largest PNG that remove.bg's interface answers, megapixels; remove.bg's own limit is 10."""

    profile: Literal["cpu", "gpu"] = "cpu"
    """Which engine configuration Triton is expected to run: cpu (OpenVINO) or gpu (TensorRT)."""
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = "auto"
    """Precision of the engines on the CPU; auto takes the fastest that is certified and that the CPU has."""
    precision_force: bool = False
    """Serves the named precision even without a certificate or CPU instructions; every response then has a warning."""
    threads: int = Field(0, ge=0, le=1024)
    """Threads of the engines and of the pixel work; 0 takes one per core."""
    instances: int = Field(1, ge=1, le=64)
    """Instances of every model in the embedded Triton; each has all threads, an engine its weights again."""
    postprocess_instances: int = Field(0, ge=0, le=64)
    """Instances of `postprocess`; 0 takes one for each thread, at most 4."""
    triton_url: str | None = None
    """host:port of an external Triton's gRPC endpoint; when set, none is started."""
    triton_metrics_url: str | None = None
    """URL of the external Triton's metrics, shown at /metrics/triton."""
    triton_http_url: str | None = None
    """host:port of the external Triton's HTTP endpoint, for KServe v2 over HTTP; without it /v2 is gRPC only."""
    admin_key: SecretStr | None = Field(None, min_length=16)
    """Opens the control endpoints of KServe v2 (loading, shared memory, tracing, logging) to who sends it."""
    model_repository: Path | None = None
    """The model repository to serve; the default is the one of this checkout."""

    max_bytes: int = Field(Limits().max_bytes, ge=1024, le=1 << 30)
    """Largest encoded image, bytes."""
    max_pixels: int = Field(Limits().max_pixels, ge=1024, le=1_000_000_000)
    """Largest image, width × height."""
    max_in_flight: int = Field(64, ge=1, le=100_000)
    """Requests that may wait or be worked on at once; the next one is refused with 429."""
    max_wait_s: float = Field(3.0, ge=0, le=3600)
    """Longest wait, by the recent rate, with which requests are let in once the queue was full; 0: any wait."""
    max_crowd_wait_s: float = Field(0.0, ge=0, le=3600)
    """The same before that, for crowds that come by chance; 0: half of timeout_s. Without max_wait_s none."""
    max_in_flight_pixels: int = Field(512_000_000, ge=1024)
    """The same bound in pixels, so that a few huge photos count as many small ones."""
    max_in_flight_bytes: int = Field(512 * 1024 * 1024, ge=1024)
    """The same bound in encoded bytes."""
    max_uploads: int = Field(256, ge=1, le=100_000)
    """HTTP bodies and gRPC messages that may be on their way in at once."""
    max_streams: int = Field(32, ge=1, le=10_000)
    """gRPC streams (RemoveBackgrounds) that may be open at once."""
    max_stream_items: int = Field(32, ge=1, le=10_000)
    """Items of one stream in work at once; further ones are not read before one is answered."""
    stream_wait_s: float = Field(10.0, ge=0, le=3600)
    """How long an item of a stream waits for a place in a full server before it is refused, seconds."""
    batch_slots: int = Field(3, ge=1, le=64)
    """Batches in flight to Triton at once, of each quality; from three on the last is for photos of 1 MP or less."""
    max_batch_rows: int = Field(0, ge=0, le=MAX_BATCH_SIZE)
    """Images in one batch; 0: as many as cores, from 2 to 8; with a GPU 8."""
    max_batch_rows_high: int = Field(2, ge=1, le=MAX_BATCH_SIZE)
    """Images in one batch of quality high: few, as each takes seconds on a CPU and all are answered together."""
    max_batch_pixels: int = Field(48_000_000, ge=1024)
    """Pixels in one batch; an image above it travels alone."""

    shared_memory_bytes: int = Field(256 * 1024 * 1024, ge=0)
    """Shared memory for images on their way to a Triton on this host; 0 sends them over gRPC."""
    shared_memory_result_bytes: int = Field(256 * 1024 * 1024, ge=0)
    """Shared memory for results on their way back; 0 has them sent over gRPC."""
    stub_shm_bytes: int = Field(INITIAL, ge=INITIAL, le=1 << 30)
    """Shared memory of each Python process of the embedded Triton at the start, bytes."""
    stub_shm_growth_bytes: int = Field(0, ge=0, le=1 << 30)
    """By how much that grows, bytes; 0 takes a 256th of /dev/shm, from 1 to 8 MiB."""

    timeout_s: float = Field(30.0, gt=0, le=3600)
    """Deadline of a request that names none, seconds."""
    max_timeout_s: float = Field(300.0, gt=0, le=3600)
    """Longest deadline that a request may name, seconds."""
    upload_timeout_s: float = Field(30.0, gt=0, le=3600)
    """Longest time an HTTP body or a gRPC message may take to arrive, seconds."""
    send_timeout_s: float = Field(60.0, gt=0, le=3600)
    """Longest time a caller may take to read its answer, over HTTP or in a stream, seconds."""
    shutdown_grace_s: float = Field(20.0, ge=0, le=600)
    """How long requests in flight may take to finish after SIGTERM, seconds."""

    log_level: Literal["debug", "info", "warning", "error"] = "info"
    """Lowest level that is logged."""
    log_format: Literal["text", "json"] = "text"
    """One line of text or one JSON object per event, a request's id, code, ms and key in fields of their own."""

    @field_validator("triton_url", "triton_http_url")
    @classmethod
    def _plain_address(cls, value: str | None) -> str | None:
        if value is not None and ("/" in value or ":" not in value):
            raise ValueError("takes host:port, without a scheme")
        return value

    @model_validator(mode="after")
    def _cross_check(self) -> Settings:
        if self.timeout_s > self.max_timeout_s:
            raise ValueError("timeout_s is above max_timeout_s: raise max_timeout_s or lower timeout_s")
        if 2 * self.max_bytes > self.max_in_flight_bytes:
            raise ValueError(
                "max_in_flight_bytes is below twice max_bytes: an allowed image with an allowed picture for the "
                "background would never be admitted; raise it"
            )
        if 2 * self.max_pixels > self.max_in_flight_pixels:
            raise ValueError(
                "max_in_flight_pixels is below twice max_pixels: an allowed image with an allowed picture for the "
                "background would never be admitted; raise it"
            )
        if self.profile == "gpu" and self.triton_url is None:
            raise ValueError("profile gpu needs triton_url: the embedded Triton has no TensorRT backend")
        if self.profile == "gpu" and self.precision != "auto":
            raise ValueError("precision is for the cpu profile: on a GPU the plan carries its precision")
        if self.precision_force and self.precision == "auto":
            raise ValueError("precision_force is for a precision that is named: set precision too")
        if self.triton_metrics_url is not None and self.triton_url is None:
            raise ValueError("triton_metrics_url is for an external Triton: set triton_url too")
        if self.api_keys is not None and self.api_keys_file is not None:
            raise ValueError("api_keys and api_keys_file are both set: put all keys into the file")
        if self.fetch_hosts and not self.fetch_urls:
            raise ValueError("fetch_hosts is set, but fetch_urls is off: set fetch_urls too")
        if self.triton_http_url is not None and self.triton_url is None:
            raise ValueError("triton_http_url is for an external Triton: set triton_url too")
        if self.http_port and self.http_port == self.grpc_port and self.http_host == self.grpc_host:
            raise ValueError("http_port and grpc_port are the same: give each its own")
        return self

    @property
    def batch_rows(self) -> int:
        """Images in one batch: what is set, else by the machine.

        A batch does not make a network faster on a CPU, where every row is a run of its own: there it only fills the
        cores, and nobody waits for seven neighbours. Measured in docs/capacity.md.
        """
        if self.max_batch_rows:
            return self.max_batch_rows
        return 8 if self.profile == "gpu" else min(8, max(2, self.threads or available_cores()))

    @property
    def limits(self) -> Limits:
        """The limits of one image."""
        return Limits(self.max_bytes, self.max_pixels)

    @property
    def fetch_rules(self) -> FetchRules:
        """What may be downloaded from URLs."""
        hosts = FetchRules.hosts_of(self.fetch_hosts)
        return FetchRules(self.fetch_urls, self.max_bytes, self.fetch_timeout_s, hosts)

    @classmethod
    def unknown_variables(cls) -> list[str]:
        """`CUTOUT_` environment variables that nothing reads (a misspelling, most likely)."""
        known = {f"CUTOUT_{name.upper()}" for name in cls.model_fields} | _OTHERS
        return sorted(name for name in os.environ if name.startswith("CUTOUT_") and name not in known)
