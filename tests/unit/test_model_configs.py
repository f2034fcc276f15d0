"""Every configuration of the model repository agrees with the contract, and the repository holds nothing else."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cutout_core.contract.tensors import (
    ENGINES,
    ENSEMBLES,
    MATTING,
    MODELS,
    OPTIONAL_MODELS,
    PROFILE_BACKENDS,
    QUALITY_ENGINES,
    SEGMENTATION,
    TensorSpec,
)

REPOSITORY = Path(__file__).parents[2] / "model_repository"
CONFIGS = sorted(path.relative_to(REPOSITORY) for path in REPOSITORY.rglob("*.pbtxt"))
ADAPTERS = sorted(path.relative_to(REPOSITORY) for path in REPOSITORY.rglob("*.py"))
TRITON_TYPES = {
    "BYTES": model_config_pb2.TYPE_STRING,
    "FP32": model_config_pb2.TYPE_FP32,
    "UINT8": model_config_pb2.TYPE_UINT8,
}


def parse(path: Path) -> model_config_pb2.ModelConfig:
    return text_format.Parse((REPOSITORY / path).read_text(), model_config_pb2.ModelConfig())


def agrees(tensor: model_config_pb2.ModelInput | model_config_pb2.ModelOutput, spec: TensorSpec) -> bool:
    """The same name, type and dimensions; -1 in the contract leaves a dimension to the engine."""
    dims = len(tensor.dims) == len(spec.dims) and all(
        wanted in (-1, given) for wanted, given in zip(spec.dims, tensor.dims, strict=True)
    )
    return tensor.name == spec.name and tensor.data_type == TRITON_TYPES[spec.dtype] and dims


def test_every_folder_is_a_model_and_every_model_has_its_folder() -> None:
    entries = {path.name for path in REPOSITORY.iterdir()}
    assert entries == set(MODELS)
    for name in entries:
        assert (REPOSITORY / name / "config.pbtxt").is_file()
        assert (REPOSITORY / name / "1").is_dir()


@pytest.mark.parametrize("path", CONFIGS, ids=str)
def test_a_configuration_agrees_with_the_contract(path: Path) -> None:
    config, spec = parse(path), MODELS[path.parts[0]]
    assert config.name == spec.name
    assert config.max_batch_size == spec.max_batch_size
    for tensors, specs in ((config.input, spec.inputs), (config.output, spec.outputs)):
        assert [t.name for t in tensors] == [s.name for s in specs]
        assert all(agrees(t, s) for t, s in zip(tensors, specs, strict=True))
    assert {t.name for t in config.input if t.optional} == {s.name for s in spec.inputs if s.optional}


@pytest.mark.parametrize("engine", ENGINES)
def test_both_profiles_of_an_engine_declare_the_same_tensors(engine: str) -> None:
    gpu, cpu = parse(Path(engine, "config.pbtxt")), parse(Path(engine, "configs", "cpu.pbtxt"))
    assert list(gpu.input) == list(cpu.input)
    assert list(gpu.output) == list(cpu.output)
    assert gpu.max_batch_size == cpu.max_batch_size
    assert gpu.platform.removesuffix("_plan") == PROFILE_BACKENDS["gpu"]
    assert cpu.backend == PROFILE_BACKENDS["cpu"]
    assert gpu.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_GPU
    assert cpu.instance_group[0].kind == model_config_pb2.ModelInstanceGroup.KIND_CPU
    own = {"hint", "threads", "compile_cache"}
    if engine in (SEGMENTATION.name, MATTING.name):  # in the other rows take turns, which docs/decisions.md explains
        own.add("streams")
    assert set(cpu.parameters) == {*gpu.parameters, *own}  # both tell the same to /info


def test_only_engines_depend_on_the_profile() -> None:
    assert {path.parts[0] for path in CONFIGS if "configs" in path.parts} == set(ENGINES)


@pytest.mark.parametrize("path", [p for p in CONFIGS if MODELS[p.parts[0]].kind != "ensemble"], ids=str)
def test_a_step_is_batched_bounded_and_obeys_a_request_timeout(path: Path) -> None:
    batching = parse(path).dynamic_batching
    assert batching.max_queue_delay_microseconds == 0
    assert batching.default_queue_policy.max_queue_size > 0
    assert batching.default_queue_policy.allow_timeout_override
    assert batching.default_queue_policy.default_timeout_microseconds > 0  # with 0 Triton ignores a request's own


@pytest.mark.parametrize("ensemble", ENSEMBLES.values())
def test_an_ensemble_connects_tensors_of_the_same_kind(ensemble: str) -> None:
    """Walks the steps: what a step takes exists by then with the same type and shape, and all outputs are made."""
    config = parse(Path(ensemble, "config.pbtxt"))
    sizes = {name: parse(Path(name, "config.pbtxt")) for name in MODELS}
    known = {t.name: (t.data_type, tuple(t.dims)) for t in config.input}
    for step in config.ensemble_scheduling.step:
        model = sizes[step.model_name]
        inputs = {t.name: t for t in model.input}
        given = set(step.input_map)
        assert {name for name, tensor in inputs.items() if not tensor.optional} <= given <= set(inputs), step.model_name
        for name, source in step.input_map.items():
            assert known[source] == (inputs[name].data_type, tuple(inputs[name].dims)), (step.model_name, name)
        outputs = {t.name: t for t in model.output}
        for name, target in step.output_map.items():
            assert target not in known, target
            known[target] = (outputs[name].data_type, tuple(outputs[name].dims))
    for tensor in config.output:
        assert known[tensor.name] == (tensor.data_type, tuple(tensor.dims))


@pytest.mark.parametrize(("quality", "ensemble"), ENSEMBLES.items())
def test_an_ensemble_runs_the_engines_of_its_quality(quality: str, ensemble: str) -> None:
    steps = [step.model_name for step in parse(Path(ensemble, "config.pbtxt")).ensemble_scheduling.step]
    assert tuple(step for step in steps if step in ENGINES) == QUALITY_ENGINES[quality]


def test_what_may_be_absent_serves_quality_high_alone() -> None:
    """Without the optional models every step of the other ensembles is still there."""
    for quality, ensemble in ENSEMBLES.items():
        steps = {step.model_name for step in parse(Path(ensemble, "config.pbtxt")).ensemble_scheduling.step}
        assert bool(steps & set(OPTIONAL_MODELS)) == (quality == "high")
        assert (ensemble in OPTIONAL_MODELS) == (quality == "high")


@pytest.mark.parametrize("path", ADAPTERS, ids=str)
def test_an_adapter_is_thin_and_leaves_pixels_to_the_core(path: Path) -> None:
    text = (REPOSITORY / path).read_text()
    assert len(text.splitlines()) <= 60
    imported = {
        alias.name.split(".")[0]
        for node in ast.walk(ast.parse(text))
        if isinstance(node, ast.Import)
        for alias in node.names
    } | {(node.module or "").split(".")[0] for node in ast.walk(ast.parse(text)) if isinstance(node, ast.ImportFrom)}
    assert not imported & {"cv2", "PIL", "cutout_gateway", "cutout_build", "cutout_client"}
