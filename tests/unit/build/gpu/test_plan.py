"""Plans: what is written, when nothing is done, and what is refused with which remedy."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest

from cutout_build.__main__ import main
from cutout_build.errors import BuildError
from cutout_build.gpu import plan as plan_module
from cutout_build.gpu.cuda import Cuda, Gpu, NoGpuError
from cutout_build.gpu.graphs import built_graphs
from cutout_build.gpu.plan import Machine, PlanFacts, build_plans, check_plans
from cutout_core.contract.certificate import CertificateRow, write_certificate
from cutout_core.contract.engine import EngineManifest
from cutout_core.contract.plan import ServedPlan
from tests.unit.build.gpu.fake_tensorrt import FakeDriver, fake_tensorrt

GPU = Gpu("Tesla T4", 75, 16 << 30, "13.0")


def machine(version: int = 11, refuse: str = "") -> Machine:
    trt = fake_tensorrt(version, refuse)
    return Machine(GPU, trt.__version__, trt)


def certify(engine: Path, certified: bool = True) -> None:
    """The certificate of two arithmetics of int8, the second of which may fail."""
    (graph,) = built_graphs(precisions=["int8"])
    first = CertificateRow("net", "int8", "openvino", "as on a CPU", "f32", graph.sha256, True, 0.001, 2.0, "Fine.")
    second = replace(first, arithmetic="as on a GPU", hint="bf16", certified=certified, reason="It lost 3 %.")
    write_certificate(engine, [asdict(first), asdict(second)])


@pytest.mark.parametrize(("version", "flags"), [(10, 2), (11, 0)])
def test_a_plan_has_its_facts_beside_it(engine: Path, version: int, flags: int) -> None:
    here = machine(version)
    (facts,) = build_plans(machine=here)
    assert here.module.networks == [flags]
    (profile,) = here.module.config.profiles
    assert [shape[0] for shape in profile.shapes["IMAGE"]] == [1, 4, 16]
    assert facts == PlanFacts.read(engine)
    assert (facts.engine, facts.precision, facts.gpu, facts.tensorrt) == ("net", "fp32", GPU.name, here.tensorrt)
    assert (engine / "model.plan").stat().st_size == facts.bytes
    check_plans(here)


def test_what_fits_is_not_built_again_and_timings_are_reused(engine: Path) -> None:
    here = machine()
    build_plans(machine=here)
    build_plans(machine=here)
    assert here.module.timing_caches == [b""]
    build_plans(machine=here, force=True)
    assert here.module.timing_caches == [b"", b"timings"]
    (engine / "model.plan").write_bytes(b"damaged")
    build_plans(machine=here)
    assert len(here.module.timing_caches) == 3


def test_the_fastest_certified_precision_is_built_and_an_uncertified_one_is_refused(engine: Path) -> None:
    with pytest.raises(BuildError, match="no certified graph in int8; certified are: fp32"):
        build_plans("int8", machine=machine())
    certify(engine)
    assert build_plans(machine=machine())[0].precision == "int8"
    certify(engine, certified=False)
    assert build_plans(machine=machine())[0].precision == "fp32", "one failing arithmetic is enough"


def test_a_plan_is_not_served_once_its_graph_is_not_certified(engine: Path) -> None:
    here = machine()
    certify(engine)
    build_plans("int8", machine=here, version_compatible=True)
    check_plans(here)
    certify(engine, certified=False)
    remedy = r"Rebuild it: `python -m cutout_build plans --version-compatible`\."
    reason = rf"its int8 graph failed in openvino \(as on a GPU\): It lost 3 %\. {remedy}"
    with pytest.raises(BuildError, match=reason):
        check_plans(here)
    (engine / "certificate.json").write_text("[{}]")
    with pytest.raises(BuildError, match=r"its graph is not certified: .* is not a certificate"):
        check_plans(here)
    (engine / "certificate.json").unlink()
    with pytest.raises(BuildError, match="its int8 graph is in no certificate"):
        check_plans(here)
    build_plans(machine=here, version_compatible=True)
    check_plans(here)


def test_the_remedy_builds_what_was_built_and_a_container_names_its_own(
    engine: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, other = machine(), replace(machine(), tensorrt="12.0.0")
    certify(engine)
    build_plans(machine=here)
    with pytest.raises(BuildError, match=r"`python -m cutout_build plans`\."):
        check_plans(other)
    (facts,) = build_plans("int8", machine=here)
    assert here.module.timing_caches == [b""], "the same plan, only asked for by name"
    assert facts == PlanFacts.read(engine)
    with pytest.raises(BuildError, match=r"`python -m cutout_build plans --precision int8`\."):
        check_plans(other)
    build_plans("int8", machine=here, version_compatible=True)
    with pytest.raises(BuildError, match=r"`python -m cutout_build plans --precision int8 --version-compatible`\."):
        check_plans(other)
    monkeypatch.setenv("CUTOUT_PLANS_COMMAND", "run the service again")
    with pytest.raises(BuildError, match=r"Rebuild it: `run the service again`\."):
        check_plans(other)


def test_a_plan_for_other_rows_is_built_again(engine: Path) -> None:
    here = machine()
    build_plans(machine=here)
    replace(EngineManifest.read(engine), batch=(1, 2, 16)).write(engine)
    with pytest.raises(BuildError, match=r"built for \(1, 4, 16\) rows a run .*, and \(1, 2, 16\) are due"):
        check_plans(here)
    assert build_plans(machine=here)[0].batch == (1, 2, 16)
    check_plans(here)


def test_what_is_named_is_built_uncertified_on_demand_and_says_so(engine: Path) -> None:
    here = machine()
    (facts,) = build_plans("int8", uncertified=True, machine=here)
    assert (facts.precision, facts.uncertified) == ("int8", True)
    assert ServedPlan.read(engine) == ServedPlan("int8", facts.graph_sha256, facts.plan_sha256, uncertified=True)
    for certified in (True, False):  # the facts follow the certificate; the plan stays
        certify(engine, certified)
        (facts,) = build_plans("int8", uncertified=True, machine=here)
        assert facts.uncertified is not certified
        assert facts == PlanFacts.read(engine)
    assert len(here.module.timing_caches) == 1
    check_plans(here)
    with pytest.raises(BuildError, match="Rebuild it: `python -m cutout_build plans --precision int8 --uncertified`"):
        check_plans(replace(here, tensorrt="12.0.0"))
    assert not build_plans(machine=here)[0].uncertified


def test_uncertified_is_for_a_precision_that_is_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plans", "--uncertified"]) == 1
    assert capsys.readouterr().err == (
        "cutout_build: --uncertified needs --precision: it builds what is named, certified or not.\n"
    )


def test_a_plan_of_another_gpu_tensorrt_or_graph_is_refused_with_the_remedy(engine: Path) -> None:
    here = machine()
    build_plans(machine=here)
    remedy = "Rebuild it: `python -m cutout_build plans`"
    with pytest.raises(BuildError, match=f"built for Tesla T4, and this is NVIDIA L4. {remedy}"):
        check_plans(replace(here, gpu=replace(GPU, name="NVIDIA L4", compute_capability=89)))
    with pytest.raises(BuildError, match=f"built by TensorRT 11.2.1.2, and this is 11.3.0. {remedy}"):
        check_plans(replace(here, tensorrt="11.3.0"))
    (engine / "model.plan").write_bytes(b"damaged")
    with pytest.raises(BuildError, match="the plan is missing or damaged"):
        check_plans(here)
    (engine / "model.onnx").write_bytes((engine / "model_int8.onnx").read_bytes())
    with pytest.raises(BuildError, match="built from another fp32 graph"):
        check_plans(here)


def test_a_version_compatible_plan_runs_on_a_later_minor_version_only(engine: Path) -> None:
    here = machine()
    build_plans(machine=here, version_compatible=True)
    assert here.module.config.flags == ["vc"]
    check_plans(replace(here, tensorrt="11.3.0"))
    for other in ("11.1.0", "12.0.0"):
        with pytest.raises(BuildError, match="built by TensorRT"):
            check_plans(replace(here, tensorrt=other))


def test_a_refused_graph_is_told_with_tensorrts_reason(engine: Path) -> None:
    with pytest.raises(BuildError, match=r"TensorRT 11\.2\.1\.2 refused net fp32: no kernel for conv_3"):
        build_plans(machine=machine(refuse="no kernel for conv_3"))
    assert not (engine / "model.plan").exists()


def test_no_plan_is_told_with_the_command(engine: Path) -> None:
    with pytest.raises(BuildError, match="run `python -m cutout_build plans`"):
        check_plans(machine())


def test_no_gpu_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(NoGpuError, match="driver lists none"):
        Cuda(FakeDriver(gpus=0))

    def none() -> Cuda:
        return Cuda(FakeDriver(gpus=0))

    monkeypatch.setattr(plan_module, "Cuda", none)
    assert main(["plans"]) == 1
    assert capsys.readouterr().err == "cutout_build: There is no NVIDIA GPU on this machine: its driver lists none.\n"


def test_no_tensorrt_is_one_sentence(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(plan_module, "Cuda", lambda: Cuda(FakeDriver()))
    assert main(["plans", "--check"]) == 1
    assert "TensorRT's Python package is not installed" in capsys.readouterr().err
