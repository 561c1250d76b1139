# `make help` lists what there is. Everything that is needed is installed on the way: uv into .tools/, Python environments
# into */.venv, the cluster's binaries into the user's cache folder.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

UV := $(shell command -v uv 2>/dev/null || echo $(CURDIR)/.tools/bin/uv)
SYNC := $(UV) sync --locked --compile-bytecode
ENVS := autoscaler operator inference tests
CLUSTER_TOOL := PYTHONPATH=tools/cluster/src python3 -m fluxpool_cluster
# What the Python environments take on the disk, uv's cache included where it lies elsewhere: torch and CUDA above all.
ENVS_GB := $(if $(wildcard inference/.venv),0,8)
# CLUSTER=current uses the cluster of your kubeconfig instead of the lab's.
CLUSTER ?= lab
export CLUSTER
KEEP ?=
PYTEST_ARGS ?=
# Tests that wait for processes of theirs as much as they compute.
TWO_FILES := --numprocesses=2 --dist=loadfile

# ---- environments ---------------------------------------------------------------------------------------------

$(CURDIR)/.tools/bin/uv:
	@echo "== installing uv into .tools/"
	@python3 -m venv .tools && .tools/bin/pip install --quiet --disable-pip-version-check uv

.PHONY: envs $(ENVS:%=env-%)
envs: $(ENVS:%=env-%)  ## all Python environments, as locked
$(ENVS:%=env-%): env-%: | $(UV)
	@echo "== environment of $*$(if $(filter inference,$*),$(if $(wildcard inference/.venv),, (torch and CUDA: about 3 GB to download)))"
	@$(SYNC) --project $*

# ---- the main commands ------------------------------------------------------------------------------------------

.PHONY: demo
demo: check-machine envs cluster-setup  ## cluster, chart, FluxPool, images, load; report in out/demo (KEEP=1 leaves it running)
	@$(UV) run --no-sync --project tests fluxpool-demo run $(if $(KEEP),--keep)

.PHONY: test
test: CHECK := --unused
test: check-machine envs cluster-setup  ## every test, cluster tests included
	@$(MAKE) $(ALONE)
	@$(MAKE) --jobs=2 --output-sync=target test-cluster-tool $(BESIDE)
	@$(MAKE) test-on-cluster

# The cluster tool's own tests wait most of the time. Those beside them make no mounts, and run no program of the cluster.
BESIDE := test-autoscaler test-operator test-benchmarks test-tools/bench
ALONE := test-inference test-tools/cluster test-tools/demo test-crossing

.PHONY: test-unit
test-unit: $(BESIDE) $(ALONE)  ## what needs no cluster

.PHONY: test-crossing
test-crossing: envs
	@echo "== tests of the contract and of the repository"
	@cd tests && $(UV) run --no-sync pytest contract repository $(PYTEST_ARGS)

.PHONY: test-autoscaler test-operator test-inference
test-autoscaler test-operator test-inference: test-%: env-%
	@echo "== tests of $*"
	@cd $* && $(UV) run --no-sync pytest -m "not cluster and not soak" $(if $(filter inference,$*),$(TWO_FILES)) $(PYTEST_ARGS)

.PHONY: test-benchmarks
test-benchmarks: env-inference
	@echo "== tests of the benchmarks"
	@cd inference && PYTHONPATH=.. $(UV) run --no-sync pytest -c pyproject.toml -m "not soak" $(TWO_FILES) ../benchmarks $(PYTEST_ARGS)

.PHONY: test-tools/bench test-tools/cluster test-tools/demo
test-tools/bench test-tools/cluster test-tools/demo: test-tools/%: env-tests
	@echo "== tests of tools/$*"
	@cd tools/$* && ../../tests/.venv/bin/python -m pytest -m "not cluster and not soak" $(PYTEST_ARGS)

# Measuring slows tests down, so those of `test` are not measured.
CORE := engine ipc scheduling worker
.PHONY: coverage
coverage: env-inference  ## lines and branches of the engine's core that its tests do not run: there must be none
	@echo "== coverage of the engine's core"
	@cd inference && $(UV) run --no-sync coverage erase
	@cd inference && $(UV) run --no-sync coverage run -m pytest -m "not cluster and not soak" $(TWO_FILES) $(CORE:%=tests/%)
	@cd inference && $(UV) run --no-sync coverage combine --quiet && $(UV) run --no-sync coverage report

.PHONY: test-cluster test-cluster-tool test-on-cluster
test-cluster: test-cluster-tool test-on-cluster  ## what needs the cluster: the tool itself, chart, integration, e2e
test-cluster-tool: env-tests cluster-setup  # nothing when CLUSTER=current
	@if [ "$(CLUSTER)" != current ]; then echo "== tests of the cluster tool on clusters"; \
	  cd tools/cluster && ../../tests/.venv/bin/python -m pytest -m cluster $(PYTEST_ARGS); fi
test-on-cluster: envs cluster-setup
	@tests/run-cluster-tests $(PYTEST_ARGS)

.PHONY: soak
soak: envs cluster-setup  ## hours: long fuzzing and soaks
	@cd inference && $(UV) run --no-sync pytest -m soak $(PYTEST_ARGS)

# ---- checks and generated files -----------------------------------------------------------------------------------

.PHONY: check
check: envs cluster-setup  ## format, lint, types, layers, spelling, generated files, chart
	@tools/check

.PHONY: format
format: env-tests  ## what `make check` would complain about, as far as a machine can
	@tests/.venv/bin/ruff format . && tests/.venv/bin/ruff check --fix .

.PHONY: generate
generate: envs  ## CRD and its chart copy, values schema, figures in the README
	@$(UV) run --no-sync --project operator fluxpool-operator crd --write
	@tests/.venv/bin/python charts/schema.py --write
	@tests/.venv/bin/python benchmarks/quote.py --write

# ---- the local cluster --------------------------------------------------------------------------------------------

.PHONY: check-machine
check-machine:  # what can be refused is refused before anything long begins; Debian packages; nothing when CLUSTER=current
	@if [ "$(CLUSTER)" != current ]; then $(CLUSTER_TOOL) check --environments $(ENVS_GB) $(CHECK) && $(CLUSTER_TOOL) setup; fi

.PHONY: cluster-setup
cluster-setup:  # packages and binaries; nothing when CLUSTER=current
	@if [ "$(CLUSTER)" != current ]; then $(CLUSTER_TOOL) setup && $(CLUSTER_TOOL) build; fi

.PHONY: cluster-up
cluster-up: check-machine cluster-setup  ## start the local cluster and print its kubeconfig
	@$(CLUSTER_TOOL) up --layer node --gpus 4

.PHONY: cluster-down
cluster-down:  ## stop it and leave nothing behind
	@$(CLUSTER_TOOL) down

.PHONY: clean
clean:  ## environments, caches and reports of this checkout (not the cluster's binaries)
	@rm -rf out .tools */.venv tools/*/.venv inference/.coverage*
	@find . -name __pycache__ -o -name '.*_cache' -prune | xargs rm -rf

.PHONY: help
help:
	@grep -hE '^[a-zA-Z/-]+:.*?## ' $(MAKEFILE_LIST) | awk -F':.*?## ' '{printf "  make %-14s %s\n", $$1, $$2}'
