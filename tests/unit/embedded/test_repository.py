"""Rendering the run-time repository: what lands in it, what is refused, and that the source is left alone."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cutout_core.contract import Limits
from cutout_core.contract.engine import EngineManifest
from cutout_core.contract.tensors import MODELS
from cutout_gateway.embedded import machine, repository
from cutout_gateway.embedded.repository import (
    Allotment,
    RenderSettings,
    RepositoryError,
    allot,
    choose_precision,
    default_source,
    render_repository,
)

MANIFEST = EngineManifest(
    model="segmentation",
    engine="testnet",
    input_size=256,
    mean=(0.1, 0.2, 0.3),
    std=(0.4, 0.5, 0.6),
    divide_by_max=False,
    precisions=("bf16", "fp32"),
    license="Apache-2.0",
    source="test",
    source_sha256="0" * 64,
    graph_sha256="ab" * 32,
)


MATTING = replace(MANIFEST, model="matting", engine="testmatting", input_size=512, precisions=("fp32",))
HIGH = replace(MANIFEST, model="segmentation_high", engine="testhigh", input_size=640, mean=(0.5, 0.5, 0.5))
HIGH_MODELS = {"segmentation_high", "postprocess_high", "cutout_high"}


def add_engine(engines: Path, manifest: EngineManifest) -> None:
    folder = engines / manifest.model
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(b"graph")
    manifest.write(folder)


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    """The engines of a plain build: all but the optional one."""
    folder = tmp_path / "engines"
    add_engine(folder, MANIFEST)
    add_engine(folder, MATTING)
    return folder


@pytest.fixture(autouse=True)
def _cpu_without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "native_precisions", lambda: frozenset({"fp32"}))


def read(target: Path, *parts: str) -> tuple[model_config_pb2.ModelConfig, dict[str, str]]:
    config = text_format.Parse(target.joinpath(*parts).read_text(), model_config_pb2.ModelConfig())
    return config, {key: value.string_value for key, value in config.parameters.items()}


def fingerprint(folder: Path) -> dict[str, str]:
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_settings_and_manifest_land_in_the_configurations(engines: Path, tmp_path: Path) -> None:
    target, source = tmp_path / "models", default_source()
    before = fingerprint(source)
    settings = RenderSettings(limits=Limits(1000, 2000), threads=3, compile_cache=tmp_path / "compiled")
    render_repository(source, engines, target, settings)
    config, values = read(target, "preprocess", "config.pbtxt")
    assert list(config.output[0].dims) == [3, 256, 256]
    assert values == {
        "max_bytes": "1000",
        "max_pixels": "2000",
        "threads": "3",
        "segmentation.input_size": "256",
        "segmentation.mean": "0.1 0.2 0.3",
        "segmentation.std": "0.4 0.5 0.6",
        "segmentation.divide_by_max": "false",
        "segmentation_high.input_size": "1024",  # not built: what the source says
        "segmentation_high.mean": "0.5 0.5 0.5",
        "segmentation_high.std": "1.0 1.0 1.0",
        "segmentation_high.divide_by_max": "false",
    }
    config, values = read(target, "segmentation", "configs", "cpu.pbtxt")
    assert list(config.input[0].dims) == [3, 256, 256]
    assert list(config.output[0].dims) == [1, 512, 512]
    assert values["engine"] == "testnet"
    assert values["precision"] == "fp32"
    assert values["threads"] == "3"
    assert values["compile_cache"] == str(tmp_path / "compiled" / ("ab" * 8))
    config, values = read(target, "matting", "configs", "cpu.pbtxt")
    assert [list(tensor.dims) for tensor in config.input] == [[3, 512, 512], [1, 512, 512], [3, 1, 1]]
    assert (values["engine"], values["precision"]) == ("testmatting", "fp32")
    _, values = read(target, "postprocess", "config.pbtxt")
    assert (values["precision.segmentation"], values["precision.matting"]) == ("fp32", "fp32")
    assert values["max_pixels"] == "2000"
    assert fingerprint(source) == before


def test_the_copy_has_links_to_the_graph_and_files_of_its_own(engines: Path, tmp_path: Path) -> None:
    target = tmp_path / "models"
    render_repository(default_source(), engines, target, RenderSettings())
    graph, adapter = target / "segmentation" / "1" / "model.onnx", target / "preprocess" / "1" / "model.py"
    assert graph.resolve() == (engines / "segmentation" / "model.onnx").resolve()
    assert not adapter.is_symlink()
    assert adapter.read_text() == (default_source() / "preprocess" / "1" / "model.py").read_text()
    assert (target / "cutout_fast" / "1").is_dir()


def test_without_its_engine_quality_high_is_left_out(engines: Path, tmp_path: Path) -> None:
    target = tmp_path / "models"
    render_repository(default_source(), engines, target, RenderSettings())
    assert {path.name for path in target.iterdir()} == set(MODELS) - HIGH_MODELS


def test_with_its_engine_quality_high_is_rendered_for_it(engines: Path, tmp_path: Path) -> None:
    add_engine(engines, HIGH)
    target = tmp_path / "models"
    render_repository(default_source(), engines, target, RenderSettings())
    assert {path.name for path in target.iterdir()} == set(MODELS)
    config, values = read(target, "preprocess", "config.pbtxt")
    sizes = {tensor.name: tensor.dims[-1] for tensor in config.output if tensor.name.endswith("_IMAGE")}
    assert sizes == {"SEGMENTATION_IMAGE": 256, "SEGMENTATION_HIGH_IMAGE": 640, "MATTING_IMAGE": 512}
    assert values["segmentation_high.input_size"] == "640"
    assert values["segmentation_high.mean"] == "0.5 0.5 0.5"
    config, _ = read(target, "segmentation_high", "config.pbtxt")
    assert list(config.input[0].dims) == [3, 640, 640]
    _, values = read(target, "postprocess_high", "config.pbtxt")
    assert (values["precision.segmentation_high"], values["tile_batch"]) == ("fp32", "4")
    assert (target / "segmentation_high" / "1" / "model.onnx").is_symlink()


@pytest.mark.parametrize("fault", ["manifest", "precision"])
def test_a_fault_of_quality_high_leaves_the_rest(
    engines: Path, tmp_path: Path, fault: str, caplog: pytest.LogCaptureFixture
) -> None:
    add_engine(engines, replace(HIGH, precisions=("bf16",)) if fault == "precision" else HIGH)
    if fault == "manifest":
        (engines / "segmentation_high" / "model.json").write_text("{}")
    target = tmp_path / "models"
    render_repository(default_source(), engines, target, RenderSettings())
    assert {path.name for path in target.iterdir()} == set(MODELS) - HIGH_MODELS
    assert "segmentation_high is not served" in caplog.text


def test_the_profile_gpu_keeps_the_plan_and_links_it(engines: Path, tmp_path: Path) -> None:
    add_engine(engines, HIGH)
    (engines / "segmentation" / "model.plan").write_bytes(b"plan")
    target = tmp_path / "models"
    render_repository(default_source(), engines, target, RenderSettings(profile="gpu"))
    config, values = read(target, "segmentation", "config.pbtxt")
    assert config.platform == "tensorrt_plan"
    assert list(config.input[0].dims) == [3, 256, 256]
    assert values == {"engine": "testnet"}
    assert (target / "segmentation" / "1" / "model.plan").read_bytes() == b"plan"
    assert read(target, "postprocess", "config.pbtxt")[1]["precision.segmentation"] == "plan"
    assert read(target, "postprocess_high", "config.pbtxt")[1]["tile_batch"] == "16"


def test_an_engine_that_is_not_built_is_refused_with_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="make models"):
        render_repository(default_source(), tmp_path / "none", tmp_path / "models", RenderSettings())


def test_only_one_engine_is_optional(engines: Path, tmp_path: Path) -> None:
    shutil.rmtree(engines / "matting")
    add_engine(engines, HIGH)
    with pytest.raises(RepositoryError, match="'matting' is not built: run `make models`"):
        render_repository(default_source(), engines, tmp_path / "models", RenderSettings())


def test_a_broken_manifest_is_refused_with_the_remedy(engines: Path, tmp_path: Path) -> None:
    (engines / "segmentation" / "model.json").write_text('{"model": "segmentation"}')
    with pytest.raises(RepositoryError, match="make models"):
        render_repository(default_source(), engines, tmp_path / "models", RenderSettings())


def test_a_source_without_a_model_is_refused(engines: Path, tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="has no model 'preprocess'"):
        render_repository(tmp_path, engines, tmp_path / "models", RenderSettings())


def test_an_unknown_profile_is_refused(engines: Path, tmp_path: Path) -> None:
    with pytest.raises(RepositoryError, match="'tpu' is none of: cpu, gpu"):
        render_repository(default_source(), engines, tmp_path / "models", RenderSettings(profile="tpu"))


def test_auto_takes_the_fastest_that_the_cpu_has(monkeypatch: pytest.MonkeyPatch) -> None:
    assert choose_precision("auto", MANIFEST) == "fp32"
    monkeypatch.setattr(repository, "native_precisions", lambda: frozenset({"fp32", "bf16"}))
    assert choose_precision("auto", MANIFEST) == "bf16"
    assert choose_precision("fp32", MANIFEST) == "fp32"


def test_a_precision_that_is_not_certified_is_refused() -> None:
    with pytest.raises(RepositoryError, match="set CUTOUT_PRECISION to auto or one of: bf16, fp32"):
        choose_precision("int8", MANIFEST)


def test_a_precision_that_the_cpu_would_only_emulate_is_refused() -> None:
    with pytest.raises(RepositoryError, match="no instructions for bf16"):
        choose_precision("bf16", MANIFEST)
    with pytest.raises(RepositoryError, match="no instructions for bf16"):
        choose_precision("auto", replace(MANIFEST, precisions=("bf16",)))


@pytest.mark.parametrize(("threads", "cores", "expected"), [(0, 2, 2), (0, 64, 64), (1, 8, 1), (12, 4, 12)])
def test_each_model_has_one_instance_with_all_threads(threads: int, cores: int, expected: int) -> None:
    assert allot(threads, cores) == Allotment(instances=1, threads=expected)


def test_a_cgroup_quota_bounds_the_cores(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    quota = tmp_path / "cpu.max"
    monkeypatch.setattr(machine, "_CGROUP_QUOTA", quota)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    assert machine.available_cores() == 8
    for text, cores in (("max 100000", 8), ("150000 100000", 2), ("1000 100000", 1), ("9000000 100000", 8)):
        quota.write_text(text)
        assert machine.available_cores() == cores


def test_the_cpu_tells_its_precisions() -> None:
    assert "fp32" in machine.native_precisions()
