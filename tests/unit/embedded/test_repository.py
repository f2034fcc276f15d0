"""Rendering the run-time repository: what lands in it, what is refused, and that the source is left alone."""

from __future__ import annotations

import hashlib
import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cutout_core.contract import Limits
from cutout_core.contract.certificate import CertificateRow, write_certificate
from cutout_core.contract.engine import EngineManifest
from cutout_core.contract.tensors import MODELS
from cutout_gateway.embedded import machine, repository
from cutout_gateway.embedded.repository import (
    Allotment,
    RenderSettings,
    RepositoryError,
    allot,
    default_source,
    render_repository,
)
from cutout_gateway.render import main as render_command

GRAPH = b"graph"
SHA256 = hashlib.sha256(GRAPH).hexdigest()

MANIFEST = EngineManifest(
    model="segmentation",
    engine="testnet",
    input_size=256,
    mean=(0.1, 0.2, 0.3),
    std=(0.4, 0.5, 0.6),
    divide_by_max=False,
    license="Apache-2.0",
    source="test",
    source_sha256="0" * 64,
    graphs=dict.fromkeys(("fp32", "bf16"), SHA256),
)


MATTING = replace(MANIFEST, model="matting", engine="testmatting", input_size=512)
HIGH = replace(MANIFEST, model="segmentation_high", engine="testhigh", input_size=640, mean=(0.5, 0.5, 0.5))
HIGH_MODELS = {"segmentation_high", "postprocess_high", "cutout_high"}


def add_engine(engines: Path, manifest: EngineManifest) -> None:
    folder = engines / manifest.model
    folder.mkdir(parents=True)
    (folder / "model.onnx").write_bytes(GRAPH)
    manifest.write(folder)
    write_certificate(folder, [row(manifest.engine, "fp32"), row(manifest.engine, "bf16")])


def row(engine: str, precision: str, certified: bool = True, sha256: str = SHA256) -> dict[str, object]:
    hint = "bf16" if precision == "bf16" else "f32"
    found = CertificateRow(engine, precision, "openvino", "test", hint, sha256, certified, 0.5, None, "Measured.")
    return asdict(found)


@pytest.fixture
def engines(tmp_path: Path) -> Path:
    """The engines of a plain build: all but the optional one."""
    folder = tmp_path / "engines"
    add_engine(folder, MANIFEST)
    add_engine(folder, MATTING)
    return folder


@pytest.fixture(autouse=True)
def _cpu_without_bf16(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(repository, "native_precisions", lambda: frozenset({"fp32", "int8"}))


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
    settings = RenderSettings(limits=Limits(1000, 2000), threads=3, compile_cache=tmp_path / "compiled", instances=2)
    render_repository(source, engines, target, settings)
    config, values = read(target, "preprocess", "config.pbtxt")
    assert config.instance_group[0].count == 2
    assert read(target, "postprocess", "config.pbtxt")[0].instance_group[0].count == 3
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
    assert (values["threads"], values["streams"]) == ("3", "3")
    assert values["compile_cache"] == str(tmp_path / "compiled" / SHA256[:16])
    config, values = read(target, "matting", "configs", "cpu.pbtxt")
    assert [list(tensor.dims) for tensor in config.input] == [[3, 512, 512], [1, 512, 512], [3, 1, 1]]
    assert (values["engine"], values["precision"]) == ("testmatting", "fp32")
    _, values = read(target, "postprocess", "config.pbtxt")
    assert (values["precision.segmentation"], values["precision.matting"]) == ("fp32", "fp32")
    assert values["max_pixels"] == "2000"
    assert fingerprint(source) == before


def test_many_cores_share_a_bounded_number_of_streams(engines: Path, tmp_path: Path) -> None:
    render_repository(default_source(), engines, tmp_path / "models", RenderSettings(threads=32))
    _, values = read(tmp_path / "models", "segmentation", "configs", "cpu.pbtxt")
    assert (values["threads"], values["streams"]) == ("32", "8")


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
    add_engine(engines, HIGH)
    if fault == "precision":
        write_certificate(engines / "segmentation_high", [row("testhigh", "bf16")])
    if fault == "manifest":
        (engines / "segmentation_high" / "model.json").write_text("{}")
    target = tmp_path / "models"
    render_repository(default_source(), engines, target, RenderSettings())
    assert {path.name for path in target.iterdir()} == set(MODELS) - HIGH_MODELS
    assert "segmentation_high is not served" in caplog.text


def add_plan(engines: Path, model: str, precision: str = "fp32", **facts: object) -> None:
    """A plan and what `python -m cutout_build plans` writes beside it."""
    (engines / model / "model.plan").write_bytes(b"plan")
    known = {"precision": precision, "graph_sha256": SHA256, "plan_sha256": hashlib.sha256(b"plan").hexdigest()}
    (engines / model / "plan.json").write_text(json.dumps(known | facts))


def add_half(engines: Path, *certified: bool) -> None:
    """A graph and a plan in fp16 of `segmentation`, and its certificates, one for each of `certified`."""
    folder = engines / "segmentation"
    (folder / "model_fp16.onnx").write_bytes(b"half")
    sha256 = hashlib.sha256(b"half").hexdigest()
    replace(MANIFEST, graphs=MANIFEST.graphs | {"fp16": sha256}).write(folder)
    rows = [row("testnet", "fp16", passed, sha256) | {"runtime": f"runtime {passed}"} for passed in certified]
    write_certificate(folder, [row("testnet", "fp32"), *rows])
    add_plan(engines, "segmentation", "fp16", graph_sha256=sha256)


def render_plans(engines: Path, target: Path) -> dict[str, str]:
    """The parameters of `segmentation` in the repository of the profile gpu."""
    shutil.rmtree(target, ignore_errors=True)
    render_repository(default_source(), engines, target, RenderSettings(profile="gpu"))
    return read(target, "segmentation", "config.pbtxt")[1]


def test_the_profile_gpu_links_the_plan_and_tells_its_precision_and_certificate(engines: Path, tmp_path: Path) -> None:
    add_engine(engines, HIGH)
    add_half(engines, True, True)
    for model in ("segmentation_high", "matting"):
        add_plan(engines, model)
    target = tmp_path / "models"
    values = render_plans(engines, target)
    config, _ = read(target, "segmentation", "config.pbtxt")
    assert config.platform == "tensorrt_plan"
    assert list(config.input[0].dims) == [3, 256, 256]
    assert values == {
        "engine": "testnet",
        "precision": "fp16",
        "graph_sha256": hashlib.sha256(b"half").hexdigest(),
        "certified": "true",
        "certificate_mae": "0.500000",
        "certificate": "Its graph, by runtime True (test): Measured.",
    }
    assert (target / "segmentation" / "1" / "model.plan").read_bytes() == b"plan"
    assert (target / "segmentation" / "1" / "model.onnx").read_bytes() == b"half"
    _, values = read(target, "postprocess", "config.pbtxt")
    assert (values["precision.segmentation"], values["precision.matting"]) == ("fp16", "fp32")
    assert values["uncertified"] == ""
    assert read(target, "postprocess_high", "config.pbtxt")[1]["tile_batch"] == "16"


@pytest.mark.parametrize("certified", [(), (False,), (True, False)])
def test_a_plan_of_a_graph_that_is_not_certified_is_refused_unless_it_was_asked_for_and_then_marked(
    engines: Path, tmp_path: Path, certified: tuple[bool, ...]
) -> None:
    add_half(engines, *certified)
    add_plan(engines, "matting")
    with pytest.raises(RepositoryError, match=r"testnet is not certified in fp16\. .* --uncertified"):
        render_plans(engines, tmp_path / "models")
    add_plan(engines, "segmentation", "fp16", graph_sha256=hashlib.sha256(b"half").hexdigest(), uncertified=True)
    values = render_plans(engines, tmp_path / "models")
    assert values["certified"] == "false"
    assert ("runtime False" in values["certificate"]) == bool(certified)
    assert read(tmp_path / "models", "postprocess", "config.pbtxt")[1]["uncertified"] == "segmentation"


def test_a_plan_that_is_not_what_was_built_is_refused_with_the_command(engines: Path, tmp_path: Path) -> None:
    remedy = "`python -m cutout_build plans`"
    add_plan(engines, "matting")
    for change, reason in (
        (lambda folder: None, "'segmentation' has no plan"),
        (lambda folder: (folder / "plan.json").write_text("{}"), "plan.json cannot be read"),
        (lambda folder: add_plan(engines, folder.name, graph_sha256="0" * 64), "built from another fp32 graph"),
        (lambda folder: add_plan(engines, folder.name, plan_sha256="0" * 64), "model.plan is not the file"),
    ):
        change(engines / "segmentation")
        with pytest.raises(RepositoryError, match=f"{reason}.*{remedy}"):
            render_plans(engines, tmp_path / "models")


def test_the_command_renders_the_precision_that_is_named(
    engines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("CUTOUT_CACHE", str(engines.parent))
    for number, (force, status) in enumerate((((), 1), (("--precision-force",), 0))):
        target = tmp_path / f"models {number}"
        assert render_command([str(target), "--profile", "cpu", "--precision", "bf16", *force]) == status
    assert "This CPU has no instructions for bf16" in capsys.readouterr().err
    values = read(target, "segmentation", "configs", "cpu.pbtxt")[1]
    assert (values["precision"], values["hint"], values["certified"]) == ("bf16", "bf16", "false")
    for wrong in (["--precision", "int8"], ["--profile", "cpu", "--precision-force"]):
        with pytest.raises(SystemExit):
            render_command([str(target), *wrong])


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


def render(engines: Path, tmp_path: Path, **settings: object) -> dict[str, str]:
    """The parameters of `segmentation` in the rendered repository."""
    target = tmp_path / "models"
    shutil.rmtree(target, ignore_errors=True)
    render_repository(default_source(), engines, target, RenderSettings(**settings))  # type: ignore[arg-type]
    return read(target, "segmentation", "configs", "cpu.pbtxt")[1]


def test_auto_is_the_fastest_that_is_certified_and_that_the_cpu_has(
    engines: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = render(engines, tmp_path)
    assert (values["precision"], values["hint"], values["certified"]) == ("fp32", "f32", "true")
    assert (values["graph_sha256"], values["certificate_mae"]) == (SHA256, "0.500000")
    assert values["certificate"] == "Measured."
    monkeypatch.setattr(repository, "native_precisions", lambda: frozenset({"fp32", "bf16", "int8"}))
    values = render(engines, tmp_path)
    assert (values["precision"], values["hint"]) == ("bf16", "bf16")


def test_a_graph_of_its_own_is_linked_for_its_precision(engines: Path, tmp_path: Path) -> None:
    folder = engines / "segmentation"
    (folder / "model_int8.onnx").write_bytes(b"quantized")
    sha256 = hashlib.sha256(b"quantized").hexdigest()
    replace(MANIFEST, graphs=MANIFEST.graphs | {"int8": sha256}).write(folder)
    write_certificate(folder, [row("testnet", "fp32"), row("testnet", "int8", sha256=sha256)])
    assert render(engines, tmp_path)["precision"] == "int8"
    assert (tmp_path / "models" / "segmentation" / "1" / "model.onnx").read_bytes() == b"quantized"


@pytest.mark.parametrize("failing", ["judged", "unknown graph"])
def test_a_failing_precision_is_refused_unless_it_is_forced_and_then_marked(
    engines: Path, tmp_path: Path, failing: str
) -> None:
    for model, engine in (("segmentation", "testnet"), ("matting", "testmatting")):
        folder = engines / model
        (folder / "model_int8.onnx").write_bytes(b"quantized")
        sha256 = hashlib.sha256(b"quantized").hexdigest()
        manifest = EngineManifest.read(folder)
        replace(manifest, graphs=manifest.graphs | {"int8": sha256}).write(folder)
        spoken_of = sha256 if failing == "judged" else "0" * 64
        write_certificate(folder, [row(engine, "fp32"), row(engine, "int8", certified=False, sha256=spoken_of)])
    assert render(engines, tmp_path)["precision"] == "fp32"
    with pytest.raises(RepositoryError, match=r"testnet is not certified in int8: .* CUTOUT_PRECISION_FORCE"):
        render(engines, tmp_path, precision="int8")
    values = render(engines, tmp_path, precision="int8", force=True)
    assert (values["precision"], values["certified"]) == ("int8", "false")
    assert read(tmp_path / "models", "postprocess", "config.pbtxt")[1]["uncertified"] == "segmentation matting"


def test_a_graph_that_is_not_the_certified_file_is_refused(engines: Path, tmp_path: Path) -> None:
    (engines / "segmentation" / "model.onnx").write_bytes(b"exchanged")
    with pytest.raises(RepositoryError, match="not the file that was built and certified: run `make models`"):
        render(engines, tmp_path)


def test_a_damaged_certificate_is_refused(engines: Path, tmp_path: Path) -> None:
    (engines / "segmentation" / "certificate.json").write_text('[{"engine": "testnet"}]')
    with pytest.raises(RepositoryError, match="is not a certificate"):
        render(engines, tmp_path)


@pytest.mark.parametrize(
    ("threads", "cores", "expected", "postprocess"), [(0, 2, 2, 2), (0, 64, 64, 4), (1, 8, 1, 1), (12, 4, 12, 4)]
)
def test_each_model_has_one_instance_with_all_threads(
    threads: int, cores: int, expected: int, postprocess: int
) -> None:
    assert allot(threads, cores) == Allotment(1, postprocess, expected)
    assert allot(threads, cores, instances=3) == Allotment(3, max(3, postprocess), expected)
    assert allot(threads, cores, postprocess=5) == Allotment(1, 5, expected)


def test_the_cpu_tells_its_precisions() -> None:
    assert "fp32" in machine.native_precisions()
