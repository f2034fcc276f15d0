"""Prometheus metrics, prefix `cutout_`, in a registry of their own."""

from __future__ import annotations

import contextlib
import platform
from collections.abc import Mapping
from importlib.metadata import version

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.gc_collector import GCCollector
from prometheus_client.process_collector import ProcessCollector

from cutout_core.contract import ErrorCode
from cutout_core.contract.tensors import ENSEMBLES

#: `outcome` of a request that got its cut-out; every other outcome is a code of the error table.
OK = "ok"

#: Stages of `cutout_stage_seconds`, by their names in META's timings.
STAGES = ("queue", "preprocess", "engines", "postprocess", "refine", "tiles", "decontaminate", "encode", "total")

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Metrics:
    """All metrics of one gateway. Every label has a closed set of values; `key` has the names of the API keys."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        self.requests = Counter(
            "cutout_requests",
            "Requests by protocol, outcome (ok or a code of the error table) and option class.",
            ["protocol", "outcome", "quality", "output"],
            registry=self.registry,
        )
        self.stage = Histogram(
            "cutout_stage_seconds",
            "Time of a finished image in each stage.",
            ["stage", "quality"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.batch_rows = Histogram(
            "cutout_batch_rows",
            "Images in a batch that was sent to Triton.",
            ["ensemble"],
            buckets=(1, 2, 3, 4, 6, 8, 12, 16),
            registry=self.registry,
        )
        self.kserve = Histogram(
            "cutout_kserve_seconds",
            "Time of a served KServe v2 inference, by protocol and model.",
            ["protocol", "model"],
            buckets=_SECONDS,
            registry=self.registry,
        )
        self.dropped = Counter(
            "cutout_dropped_rows",
            "Rows given up before their result, by place (queue, engine) and reason (deadline, cancelled).",
            ["place", "reason"],
            registry=self.registry,
        )
        self.in_flight = Gauge("cutout_in_flight_requests", "Requests that hold a permit.", registry=self.registry)
        self.in_flight_limit = Gauge(
            "cutout_in_flight_limit",
            "Requests that may hold a permit now; it follows the rate of the last ones.",
            registry=self.registry,
        )
        self.queue = Gauge("cutout_queue_rows", "Rows that wait for a batch slot.", registry=self.registry)
        self.uploads = Gauge("cutout_uploads", "Bodies and messages on their way in.", registry=self.registry)
        self.streams = Gauge("cutout_streams", "Open gRPC streams of many images.", registry=self.registry)
        self.bytes = Counter("cutout_bytes", "Encoded bytes, in and out.", ["direction"], registry=self.registry)
        self.pixels = Counter("cutout_pixels", "Pixels of the images cut out.", registry=self.registry)
        self.key_images = Counter(
            "cutout_key_images", "Images charged, by the name of the API key.", ["key"], registry=self.registry
        )
        self.key_megapixels = Counter(
            "cutout_key_megapixels", "Megapixels charged, by the name of the API key.", ["key"], registry=self.registry
        )
        self.key_refusals = Counter(
            "cutout_key_refusals", "Requests beyond the rate of the API key.", ["key"], registry=self.registry
        )
        self.warnings = Counter("cutout_warnings", "Warnings given with results.", ["warning"], registry=self.registry)
        self.restarts = Counter("cutout_child_restarts", "Restarts of the embedded Triton.", registry=self.registry)
        self.ready = Gauge("cutout_ready", "1 where the quality can be served.", ["quality"], registry=self.registry)
        self.build = Gauge(
            "cutout_build_info",
            "Always 1; the labels are the versions and the profile.",
            ["version", "profile", "triton", "python"],
            registry=self.registry,
        )
        self.engine = Gauge(
            "cutout_engine_info",
            "Always 1; the labels are what each model serves and whether its precision is certified.",
            ["model", "engine", "precision", "certified", "graph"],
            registry=self.registry,
        )
        self.engine_mae = Gauge(
            "cutout_engine_certificate_mae",
            "Mean difference from fp32 (of 0..1) that the certificate of the served precision tells.",
            ["model"],
            registry=self.registry,
        )
        self._create_children()

    def _create_children(self) -> None:
        """Labelled series exist from the start, so that a rate over them is defined before the first event."""
        for place in ("queue", "engine"):
            for reason in ("deadline", "cancelled"):
                self.dropped.labels(place, reason)
        for direction in ("in", "out"):
            self.bytes.labels(direction)
        for quality in ENSEMBLES:
            self.ready.labels(quality).set(0)
        for protocol in ("http", "grpc", "grpc_stream", "kserve_http", "kserve_grpc"):
            for outcome in (ErrorCode.OVERLOADED, ErrorCode.DEADLINE_EXCEEDED, ErrorCode.INTERNAL):
                self.requests.labels(protocol, outcome.value, "none", "none")

    def batch_started(self, ensemble: str, rows: int) -> None:
        """The batcher sent a batch."""
        self.batch_rows.labels(ensemble).observe(rows)

    def row_dropped(self, place: str, reason: str) -> None:
        """The batcher gave a row up."""
        self.dropped.labels(place, reason).inc()

    def image_done(self, quality: str, timings_ms: dict[str, float]) -> None:
        """A cut-out is finished; its stages are observed."""
        for stage in STAGES:
            if stage in timings_ms:
                self.stage.labels(stage, quality).observe(timings_ms[stage] / 1000)

    def key_charged(self, name: str, megapixels: int) -> None:
        """An image was charged to an API key. Names come from the operator's list, never from a caller."""
        self.key_images.labels(name).inc()
        self.key_megapixels.labels(name).inc(megapixels)

    def key_refused(self, name: str) -> None:
        """A request was refused because of the key's rate."""
        self.key_refusals.labels(name).inc()

    def key_removed(self, name: str) -> None:
        """A key is gone from the list; its series go too."""
        for counter in (self.key_images, self.key_megapixels, self.key_refusals):
            with contextlib.suppress(KeyError):
                counter.remove(name)

    def set_build(self, profile: str, triton: str) -> None:
        """Sets the build information; an unknown Triton version is the empty label."""
        self.build.clear()
        self.build.labels(version("cutout-gateway"), profile, triton, platform.python_version()).set(1)

    def set_engines(self, engines: Mapping[str, Mapping[str, str]]) -> None:
        """Sets what is served, from the parameters of the engines' configurations; what one does not tell is empty."""
        self.engine.clear()
        self.engine_mae.clear()
        for model, told in engines.items():
            names = (told.get("engine", ""), told.get("precision", ""), told.get("certified", ""))
            self.engine.labels(model, *names, told.get("graph_sha256", "")[:12]).set(1)
            if told.get("certificate_mae"):
                self.engine_mae.labels(model).set(float(told["certificate_mae"]))

    def exposition(self) -> bytes:
        """The page in Prometheus' text format."""
        return generate_latest(self.registry)
