"""deploy/ agrees with the packages, the settings, the metrics and itself."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import tomllib
import yaml
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cutout_build.__main__ import main as build_command
from cutout_core.contract import Limits
from cutout_core.contract.errors import ErrorCode
from cutout_gateway.metrics import Metrics
from cutout_gateway.server import _SEND_GRACE_S
from cutout_gateway.settings import Settings
from cutout_gateway.stub_memory import StubMemory

ROOT = Path(__file__).parents[2]
DEPLOY = ROOT / "deploy"


def read(name: str) -> Any:
    return yaml.safe_load((DEPLOY / name).read_text())


def names(requirements: list[str]) -> set[str]:
    return {re.split(r"[\[<>=~; ]", line)[0].lower() for line in requirements if re.match(r"[A-Za-z]", line)}


def test_the_images_get_every_package_that_ours_declare() -> None:
    listed = {name: (DEPLOY / f"{name}-packages.txt").read_text().splitlines() for name in ("gateway", "triton")}
    declared: dict[str, list[str]] = {}
    for package in ("core", "gateway", "build"):
        project = tomllib.loads((ROOT / package / "pyproject.toml").read_text())["project"]
        declared[package] = [*project["dependencies"], *project.get("optional-dependencies", {}).get("imaging", [])]
    gateway = names([*declared["core"], *declared["gateway"]]) - {"cutout-core"}
    assert names(listed["gateway"]) == gateway
    assert names(listed["triton"]) == names(declared["build"]) - {"cutout-core"}
    locked = names((ROOT / "requirements.lock").read_text().splitlines())
    assert names(listed["gateway"]) | names(listed["triton"]) <= locked


def test_the_dockerfile_copies_what_exists_and_runs_as_a_user() -> None:
    text = (DEPLOY / "Dockerfile").read_text()
    for line in re.findall(r"^COPY (?!--from)(?:--chmod=755 )?(.+) \S+$", text, re.MULTILINE):
        for source in line.split():
            assert (ROOT / source).exists(), source
    for stage in re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]:
        assert "ENTRYPOINT" not in stage or "USER 1000:1000" in stage
    (release,) = re.findall(r"^ARG TRITON=(.+)$", text, re.MULTILINE)
    for service in ("plans", "triton", "gateway"):
        assert read("compose.yml")["services"][service]["image"].endswith(f":{release}")


def test_services_are_hardened_checked_and_given_time_to_stop() -> None:
    services = read("compose.yml")["services"]
    for name, service in services.items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
    for name in ("triton", "gateway"):
        assert "healthcheck" in services[name]
    assert services["triton"]["depends_on"]["plans"]["condition"] == "service_completed_successfully"
    assert "shm_size" in services["triton"]
    grace = int(services["gateway"]["stop_grace_period"].removesuffix("s"))
    assert grace > float(services["gateway"]["environment"]["CUTOUT_SHUTDOWN_GRACE_S"]) + 2 * _SEND_GRACE_S
    exit_timeout = re.search(r"--exit-timeout-secs=(\d+)", (DEPLOY / "triton.sh").read_text())
    assert exit_timeout
    assert int(services["triton"]["stop_grace_period"].removesuffix("s")) > int(exit_timeout[1])


def test_the_gateways_environment_is_settings_that_it_takes() -> None:
    environment = dict(read("compose.yml")["services"]["gateway"]["environment"])
    filled = {key: re.sub(r"\$\{\w+:-(.*)\}", r"\1", value) for key, value in environment.items()}
    fields = {key.removeprefix("CUTOUT_").lower(): value for key, value in filled.items()}
    assert set(fields) <= set(Settings.model_fields)
    settings = Settings(**fields)
    assert (settings.profile, settings.limits) == ("gpu", Limits())
    services = read("compose.yml")["services"]
    plans, triton = services["plans"]["environment"], dict(services["triton"]["environment"])
    assert triton.pop("VERSION_COMPATIBLE") == plans["VERSION_COMPATIBLE"]
    assert {name.lower() for name in triton} <= {f"cutout_{field}" for field in Settings.model_fields}
    assert {name: triton[name] for name in triton if not name.startswith("CUTOUT_STUB_")}.items() <= environment.items()


def test_the_command_that_rebuilds_plans_is_one_of_the_compose_file() -> None:
    (command,) = re.findall(r"CUTOUT_PLANS_COMMAND:-([^}]+)}", (DEPLOY / "triton.sh").read_text())
    assert command.startswith("docker compose -f deploy/compose.yml run --rm ")
    assert command.split()[-1] in read("compose.yml")["services"]


def run_script(name: str, folder: Path, *arguments: str, **environment: str) -> list[str]:
    """The commands that a script runs, in order, in a PATH where each of them only says what it was told; but what
    prints flags for Triton runs."""
    log = folder / "log"
    log.unlink(missing_ok=True)
    for program in ("python3", "tritonserver"):
        stub = folder / program
        flags = f'case "$*" in *stub_memory) exec "{sys.executable}" "$@";; esac'
        stub.write_text(f'#!/bin/sh\necho "{program} $*" >> "{log}"\n{flags}\n')
        stub.chmod(0o755)
    path = f"{folder}:/usr/bin:/bin"
    environment = {"PATH": path, "TMPDIR": str(folder)} | environment
    subprocess.run(["/bin/sh", DEPLOY / name, *arguments], env=environment, check=True)
    return log.read_text().splitlines()


@pytest.mark.parametrize(
    ("environment", "flags"),
    [
        ({"PRECISION": "", "UNCERTIFIED": "0", "VERSION_COMPATIBLE": "0"}, []),
        ({"PRECISION": "fp16"}, ["--precision", "fp16"]),
        ({"PRECISION": "int8", "UNCERTIFIED": "1"}, ["--precision", "int8", "--uncertified"]),
        ({"VERSION_COMPATIBLE": "1"}, ["--version-compatible"]),
    ],
)
def test_the_plans_are_built_as_the_environment_says(
    environment: dict[str, str], flags: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, plans = run_script("plans.sh", tmp_path, **environment)
    assert models == "python3 -m cutout_build models"
    given = plans.removeprefix("python3 -m cutout_build plans").split()
    assert given == flags
    taken: dict[str, Any] = {}
    monkeypatch.setattr("cutout_build.gpu.plan.build_plans", lambda precision, **rest: taken.update(rest))
    assert build_command(["plans", *given]) == 0  # the command line knows them
    assert taken["version_compatible"] is ("--version-compatible" in flags)


@pytest.mark.parametrize("compatible", ["0", "1"])
def test_triton_runs_version_compatible_plans_where_it_is_told_so(compatible: str, tmp_path: Path) -> None:
    given = {"VERSION_COMPATIBLE": compatible, "CUTOUT_MAX_BYTES": "1000"}
    check, render, memory, triton = run_script("triton.sh", tmp_path, "--log-verbose=1", **given)
    assert check == "python3 -m cutout_build plans --check"
    assert f"{tmp_path}/model_repository --profile gpu" in render
    assert render.endswith("--max-bytes 1000")
    assert memory == "python3 -m cutout_gateway.stub_memory"
    assert triton.endswith(" --log-verbose=1")
    assert ("--backend-config=tensorrt,version-compatible=true" in triton) == (compatible == "1")


@pytest.mark.parametrize("growth", ["", "3145728"])
def test_tritons_stubs_get_the_memory_of_the_rule_or_what_is_set(growth: str, tmp_path: Path) -> None:
    *_, triton = run_script("triton.sh", tmp_path, CUTOUT_STUB_SHM_BYTES="", CUTOUT_STUB_SHM_GROWTH_BYTES=growth)
    flags = [flag for flag in triton.split() if flag.startswith("--backend-config=python,shm-")]
    assert flags == StubMemory(growth=int(growth or 0)).flags()


def test_prometheus_scrapes_the_services_and_the_alerts_know_the_metrics() -> None:
    prometheus, services = read("prometheus.yml"), read("compose.yml")["services"]
    for job in prometheus["scrape_configs"]:
        assert job["static_configs"][0]["targets"][0].split(":")[0] in services
    assert prometheus["rule_files"] == ["alerts.yml"]
    exposed = Metrics().exposition().decode()
    for rule in read("alerts.yml")["groups"][0]["rules"]:
        for metric in re.findall(r"cutout_\w+", rule["expr"]):
            assert metric in exposed, metric
        for outcomes in re.findall(r'outcome=~?"([^"]+)"', rule["expr"]):
            assert set(outcomes.split("|")) <= {code.value for code in ErrorCode}, rule["alert"]


def test_the_gpu_engines_run_as_cuda_graphs() -> None:
    for engine in ("segmentation", "segmentation_high", "matting"):
        path = ROOT / "model_repository" / engine / "config.pbtxt"
        config = text_format.Parse(path.read_text(), model_config_pb2.ModelConfig())
        assert config.optimization.cuda.graphs, engine
