# Cutout: every user-facing action is a target; `make` alone lists them.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON ?= python3.11
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
PIP_VERSION := 26.3
PACKAGES := core client build gateway loadtest
GROUPS_ := serve build test
KERNELS := $(wildcard core/cutout_core/imaging/native/*.[ch])

.PHONY: help setup models engines gate plans gpu-check demo serve test test-fast quality train quantize sensitivity
.PHONY: loadtest bench capacity profile tune batchers perf-analyzer lint lock proto clean

help:  ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(STAMP)  ## Install everything into .venv (does nothing when up to date)

$(STAMP): requirements.lock pyproject.toml $(PACKAGES:%=%/pyproject.toml) core/hatch_build.py $(KERNELS)
	@PYTHON=$(PYTHON) bash build/check_system.sh
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check "pip==$(PIP_VERSION)"
	@echo "installing the locked dependencies (1 GB, one to three minutes) ..."
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		$(GROUPS_:%=--group %) --constraint requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation \
		$(PACKAGES:%=--editable ./%)
	@touch $@
	@echo "installed into $(VENV)"

models: $(STAMP)  ## Fetch, convert and check the engines; HIGH=1: quality high too (does nothing when up to date)
	@$(BIN)/python -m cutout_build models $(if $(ENGINE),--engine $(ENGINE)) $(if $(HIGH),--high)

engines: $(STAMP)  ## Certify every precision of the engines into reports/ (minutes; ENGINE=name, HIGH=1)
	@$(BIN)/python -m cutout_build engines $(if $(ENGINE),--engine $(ENGINE)) $(if $(HIGH),--high)

gate: models  ## Parse and build every graph for TensorRT, on the CPU; writes reports/gate.{json,md} (HIGH=1)
	@$(BIN)/python -m cutout_build gate --out reports

plans: models  ## Build the TensorRT plans for this machine's GPU (HIGH=1; PRECISION=name, UNCERTIFIED=1)
	@$(BIN)/python -m cutout_build plans $(if $(PRECISION),--precision $(PRECISION)) \
		$(if $(UNCERTIFIED),--uncertified)

gpu-check: models  ## Build, check and measure every plan on this machine's GPU; writes reports/gpu.json (HIGH=1)
	@$(BIN)/python -m tests.gpu.check $(ARGS)

demo: models  ## Cut out real photos, or your own: make demo IMAGE=photo.jpg (or a folder)
	@$(BIN)/python client/demo/run.py $(if $(IMAGE),"$(IMAGE)","$$($(BIN)/python -m cutout_build photos --folder)")

serve: $(STAMP)  ## Serve on CUTOUT_HTTP_PORT (8080) and CUTOUT_GRPC_PORT (8081) until Ctrl-C
	@$(BIN)/python -m cutout_build models --quiet $(if $(ENGINE),--engine $(ENGINE)) $(if $(HIGH),--high)
	@exec $(BIN)/python -m cutout_gateway

test: lint models  ## All tests, the real Triton included
	@$(BIN)/python -m pytest

test-fast: $(STAMP)  ## Unit, integration and architecture tests, under a minute, without Triton
	@$(BIN)/python -m pytest -m "not slow and not triton" tests/unit tests/integration tests/architecture

quality: models  ## Benchmark against peers into reports/ and out/quality (half an hour; resumes; fetches quality high)
	@$(BIN)/python -m cutout_build.quality benchmark

perf-analyzer: models  ## Sweep ensembles and engines with NVIDIA's perf_analyzer through the gateway into reports/
	@$(BIN)/python -m cutout_loadtest.perf_analyzer --program "$$($(BIN)/python -m cutout_build perf-analyzer)" \
		--photos "$$($(BIN)/python -m cutout_build photos --folder)" --out reports $(if $(SERVER),--server $(SERVER))

train: $(STAMP)  ## Train the matting network, or go on (hours on a CPU, minutes on a GPU), and export its weights
	@$(BIN)/python -m cutout_build models --quiet --high
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group train
	@$(BIN)/python -m cutout_build.matting train
	@$(BIN)/python -m cutout_build.matting export

loadtest: models  ## Open-loop load; SCENARIO=ramp|soak|burst URL=http://... ARGS="--grpc ..." (see docs/loadtest.md)
	@$(BIN)/python -m cutout_loadtest $(or $(SCENARIO),ramp) $(if $(URL),--url $(URL)) \
		--photos "$$($(BIN)/python -m cutout_build photos --folder)" $(ARGS)

bench: models  ## Speed beside rembg into reports/ (20 minutes, quiet; resumes); ARGS=--quick tries it, into out/bench
	@$(BIN)/python -m cutout_loadtest bench \
		--photo "$$($(BIN)/python -m cutout_build photos --folder)/astronaut.png" $(ARGS)

capacity: $(STAMP)  ## Fit the cost of an image to reports/bench.json; ARGS="--check reports/loadtest_soak.json"
	@$(BIN)/python -m cutout_loadtest capacity $(ARGS)

profile: models  ## Flame graphs of gateway and Triton's stubs under load into out/profile (needs ptrace)
	@$(BIN)/python -m cutout_loadtest.profile \
		"$$($(BIN)/python -m cutout_build photos --folder)/astronaut.png" $(ARGS)

tune: models  ## Sweep slots, rows and threads on this machine (30 minutes, quiet); writes out/tune.{env,md}
	@$(BIN)/python -m cutout_loadtest.tune "$$($(BIN)/python -m cutout_build photos --folder)" $(ARGS)

batchers: models  ## Measure the gateway's and Triton's batching on and off (10 minutes, quiet); writes out/batchers.md
	@$(BIN)/python -m cutout_loadtest.tune --batchers \
		"$$($(BIN)/python -m cutout_build photos --folder)" $(ARGS)

quantize: models  ## Write the INT8 graph of ENGINE=name into build/weights (ARGS="--steps 2000" trains it)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group train
	@$(BIN)/python -m cutout_build quantize --engine $(ENGINE) $(ARGS)

sensitivity: models  ## What INT8 costs layer by layer, into reports/ (minutes, goes on where it was; ENGINE=name)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --group train
	@$(BIN)/python -m cutout_build sensitivity $(if $(ENGINE),--engine $(ENGINE))

lint: $(STAMP)  ## ruff and mypy --strict
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/mypy $(foreach p,$(PACKAGES),$(p)/cutout_$(p)) client/demo

clean:  ## Remove .venv, out/ and tool caches (downloads and built engines stay in the cache folder)
	rm -rf .venv out .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

lock:  ## Recompute requirements.lock from pyproject.toml (all groups, with hashes)
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv"; exit 1; }
	uv pip compile $(GROUPS_:%=--group %) --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-annotate --custom-compile-command "make lock" --output-file requirements.lock

proto: $(STAMP)  ## Regenerate the Python code of the gRPC messages
	$(BIN)/python -m grpc_tools.protoc --proto_path core/proto --python_out core/cutout_core/contract \
		--pyi_out core/cutout_core/contract core/proto/cutout/v1/cutout.proto
	mv core/cutout_core/contract/cutout/v1/cutout_pb2.py core/cutout_core/contract/cutout/v1/cutout_pb2.pyi core/cutout_core/contract/
	rm -r core/cutout_core/contract/cutout
