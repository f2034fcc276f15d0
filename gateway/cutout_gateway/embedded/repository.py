"""Renders the tracked model repository into the run-time copy that Triton reads.

What depends on the machine, the settings or the built engines is decided here: limits, threads and instances,
the engines' statistics and precision, the engines' files. The tracked tree is only read.
"""

from __future__ import annotations

import hashlib
import logging
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cutout_core.contract import Limits
from cutout_core.contract.certificate import Choice, choose, read_certificate
from cutout_core.contract.cpu import available_cores
from cutout_core.contract.engine import GRAPH_NAME, EngineManifest, graph_name
from cutout_core.contract.plan import PLAN_NAME, ServedPlan, choose_plan
from cutout_core.contract.tensors import ENGINES, MODELS, OPTIONAL_MODELS, POSTPROCESS, PROFILE_BACKENDS
from cutout_gateway.embedded.machine import native_precisions

log = logging.getLogger("cutout.gateway")

#: Tiles in one request to `matting` on a CPU, where batches gain nothing and other rows wait for the request to end.
_CPU_TILE_BATCH = 4
#: Most rows that an engine runs beside each other on a CPU: each holds memory (U²-Net-p 75 MB, matting 40 MB).
_MOST_STREAMS = 8
#: Most instances of `postprocess` by the rule: each is a process of 0.1 GB and more.
_MOST_POSTPROCESS = 4


class RepositoryError(RuntimeError):
    """The repository cannot be rendered; the message names the remedy."""


@dataclass(frozen=True, slots=True)
class RenderSettings:
    """What the operator decides. `precision`: `auto` or one of the contract's; `force`: that one without a certificate
    too; `threads`: 0 takes one per core; `instances`: of every model in Python; `postprocess_instances`: 0 takes one
    for each thread, at most 4.

    `compile_cache`: where OpenVINO keeps compiled graphs, None for nowhere.
    """

    profile: str = "cpu"
    limits: Limits = field(default_factory=Limits)
    precision: str = "auto"
    force: bool = False
    threads: int = 0
    compile_cache: Path | None = None
    instances: int = 1
    postprocess_instances: int = 0


@dataclass(frozen=True, slots=True)
class Allotment:
    """Instances of every model, of `postprocess` alone, and threads in each."""

    instances: int
    postprocess: int
    threads: int


class ServedEngine(NamedTuple):
    """An engine of the run-time repository, and how it is served."""

    manifest: EngineManifest
    choice: Choice


def allot(threads: int, cores: int, instances: int = 1, postprocess: int = 0) -> Allotment:
    """The rule: one instance of every model unless told otherwise, each with all threads (0: one per core), but of
    `postprocess` one for each thread, at most 4.

    Batches fill the threads. The models take turns under load, so that more threads than cores in all is meant.
    `postprocess` works on pixels with numpy too, which holds the interpreter: its rows need processes to run beside
    each other.
    """
    threads = threads or cores
    return Allotment(instances, postprocess or max(instances, min(threads, _MOST_POSTPROCESS)), threads)


def default_source() -> Path:
    """The checkout's `model_repository`. Raises `RepositoryError` where the gateway is installed without one."""
    folder = Path(__file__).resolve().parents[3] / "model_repository"
    if not (folder / "preprocess" / "config.pbtxt").is_file():
        raise RepositoryError(
            "There is no model repository beside this installation: set CUTOUT_MODEL_REPOSITORY to the folder "
            "`model_repository` of a checkout."
        )
    return folder


def render_repository(source: Path, engines: Path, target: Path, settings: RenderSettings) -> None:
    """Writes the run-time copy of `source` to `target`, which must not exist.

    `engines` holds `<model>/{model.onnx, model.json, certificate.json}` for each engine of the contract (and
    `model.plan` and `plan.json` for the profile `gpu`); without one of the optional engine the models of quality `high`
    are left out. Every configuration of every model is rendered, so that Triton still chooses by profile: a parameter
    that a configuration declares gets the value known here, and what is not known stays as it is. Graphs and plans are
    linked, everything else is a file of its own. Raises `RepositoryError`.
    """
    if settings.profile not in PROFILE_BACKENDS:
        raise RepositoryError(f"Profile {settings.profile!r} is none of: {', '.join(PROFILE_BACKENDS)}.")
    served = _served_engines(engines, settings)
    allotment = allot(settings.threads, available_cores(), settings.instances, settings.postprocess_instances)
    values = {
        "max_bytes": str(settings.limits.max_bytes),
        "max_pixels": str(settings.limits.max_pixels),
        "threads": str(allotment.threads),
    }
    if settings.profile == "cpu":
        values["tile_batch"] = str(_CPU_TILE_BATCH)
        values["streams"] = str(min(allotment.threads, _MOST_STREAMS))
    values["uncertified"] = " ".join(engine for engine, one in served.items() if not one.choice.certified)
    for engine, one in served.items():
        values[f"precision.{engine}"] = one.choice.precision
        values |= {f"{engine}.{name}": value for name, value in _input_values(one.manifest).items()}
    for model in MODELS:
        if model in OPTIONAL_MODELS and not set(OPTIONAL_MODELS).intersection(served):
            continue
        own = dict(values)
        if model in served:
            own |= _engine_values(served[model])
            if settings.profile == "cpu":
                own |= _openvino_values(served[model], settings.compile_cache)
        for path in _config_paths(source / model):
            config = _read_config(path)
            _render(config, own, served, allotment)
            rendered = target / path.relative_to(source)
            rendered.parent.mkdir(parents=True, exist_ok=True)
            rendered.write_text(text_format.MessageToString(config))
        _copy_version(source / model / "1", target / model / "1")
    for engine, one in served.items():
        for name, source_name in ((GRAPH_NAME, graph_name(one.choice.precision)), (PLAN_NAME, PLAN_NAME)):
            if (engines / engine / source_name).is_file():
                (target / engine / "1" / name).symlink_to((engines / engine / source_name).resolve())


def _served_engines(engines: Path, settings: RenderSettings) -> dict[str, ServedEngine]:
    """Manifest and precision of each engine that is served; an optional one that cannot be is left out."""
    served: dict[str, ServedEngine] = {}
    for engine in ENGINES:
        optional = engine in OPTIONAL_MODELS
        if optional and not (engines / engine).is_dir():
            continue
        try:
            manifest = _manifest(engines / engine)
            served[engine] = ServedEngine(manifest, _choice(engines / engine, manifest, settings))
        except RepositoryError as error:
            if not optional:
                raise
            log.error("%s is not served: %s", engine, error)
    return served


def _manifest(folder: Path) -> EngineManifest:
    try:
        return EngineManifest.read(folder)
    except FileNotFoundError:
        raise RepositoryError(f"The engine {folder.name!r} is not built: run `make models`.") from None
    except ValueError as error:
        raise RepositoryError(f"An engine's manifest cannot be read, run `make models`: {error}") from error


def _choice(folder: Path, manifest: EngineManifest, settings: RenderSettings) -> Choice:
    """The precision by the certificate beside the engine; the file's bytes must be those that were built."""
    try:
        rows = read_certificate(folder)
        if settings.profile == "gpu":
            plan = ServedPlan.read(folder)
            choice = choose_plan(plan, manifest, rows)
            path, known, remedy = folder / PLAN_NAME, plan.plan_sha256, "python -m cutout_build plans"
        else:
            choice = choose(settings.precision, manifest, rows, native_precisions(), force=settings.force)
            path, remedy = folder / graph_name(choice.precision), "make models"
            known = manifest.graphs[choice.precision]
    except ValueError as error:  # PrecisionError and a damaged certificate
        raise RepositoryError(str(error)) from error
    try:
        with path.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
    except OSError as error:
        raise RepositoryError(f"{path} cannot be read ({error.strerror}): run `{remedy}`.") from error
    if found != known:
        raise RepositoryError(f"{path} is not the file that was built and certified: run `{remedy}`.")
    if not choice.certified:
        log.warning("%s is served in %s without a certificate, because it was forced", manifest.model, choice.precision)
    return choice


def _engine_values(one: ServedEngine) -> dict[str, str]:
    row = one.choice.row
    return {
        "engine": one.manifest.engine,
        "precision": one.choice.precision,
        "graph_sha256": one.manifest.graphs[one.choice.precision],
        "certified": str(one.choice.certified).lower(),
        "certificate_mae": "" if row is None or row.mae is None else f"{row.mae:.6f}",
        "certificate": row.reason if row is not None else "This graph is in no certificate.",
    }


def _openvino_values(one: ServedEngine, compile_cache: Path | None) -> dict[str, str]:
    sha256 = one.manifest.graphs[one.choice.precision]
    return {
        "hint": one.choice.hint,
        # OpenVINO takes a compiled graph for current by the graph's path: a folder for each content makes that true.
        "compile_cache": str(compile_cache / sha256[:16]) if compile_cache else "",
    }


def _input_values(manifest: EngineManifest) -> dict[str, str]:
    return {
        "input_size": str(manifest.input_size),
        "mean": " ".join(map(repr, manifest.mean)),
        "std": " ".join(map(repr, manifest.std)),
        "divide_by_max": str(manifest.divide_by_max).lower(),
    }


def _config_paths(model: Path) -> list[Path]:
    """The model's configurations: `config.pbtxt` and those of its profiles."""
    default = model / "config.pbtxt"
    if not default.is_file():
        raise RepositoryError(f"The model repository {model.parent} has no model {model.name!r}.")
    return [default, *sorted(model.glob("configs/*.pbtxt"))]


def _read_config(path: Path) -> model_config_pb2.ModelConfig:
    try:
        return text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise RepositoryError(f"{path} is not a model configuration: {error}") from error


def _render(
    config: model_config_pb2.ModelConfig,
    values: dict[str, str],
    served: Mapping[str, ServedEngine],
    allotment: Allotment,
) -> None:
    for key in config.parameters:
        if key in values:
            config.parameters[key].string_value = values[key]
    if config.backend == "python":
        own = config.name == POSTPROCESS.name
        config.instance_group[0].count = allotment.postprocess if own else allotment.instances
    for engine, one in served.items():
        sized = [tensor for tensor in config.output if tensor.name == f"{engine.upper()}_IMAGE"]
        if config.name == engine:
            sized = [tensor for tensor in config.input if tensor.name == "IMAGE"]
        for tensor in sized:
            tensor.dims[1:] = [one.manifest.input_size] * 2


def _copy_version(source: Path, target: Path) -> None:
    target.mkdir(parents=True)
    adapter = source / "model.py"
    if adapter.is_file():
        shutil.copyfile(adapter, target / adapter.name)
