# Everything runs in .venv, which the first target makes and a later one leaves alone until pyproject.toml or
# constraints.txt changes. Needs Python >= 3.11 and make.
#
#   make run PYTHON=python3.12      another interpreter
#   make run TORCH_INDEX=URL        another build of torch, from this index alone

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
TORCH_INDEX ?=
COUNT ?= 20000

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
LOWEST := build/lowest

define EVERY_MODULE
import importlib, pkgutil, baselines, buir
for package in (buir, baselines):
    for module in pkgutil.walk_packages(package.__path__, package.__name__ + "."):
        module.name.endswith("__main__") or importlib.import_module(module.name)
endef
export EVERY_MODULE

export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup run ui test lint types imports unit test-slow test-light test-lowest fuzz faults lock bench docs notebooks picture screenshots clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

setup: $(STAMP)  ## make .venv and install what is missing

# Everything but torch, whose files differ by index, and buir itself is what its hash says.
$(STAMP): pyproject.toml constraints.txt requirements/hashed.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$($(PYTHON) --version 2>&1), buir needs Python >= 3.11: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing into $(VENV): the first time takes minutes"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install -qq --require-hashes --no-deps -r requirements/hashed.txt
	$(BIN)/python -m pip install -qq -c constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(BIN)/python -m pip install -qq --no-deps --no-build-isolation --editable .
	touch $(STAMP)

run: $(STAMP)  ## the quick comparison: a table, a figure, and runs in MLflow
	$(BIN)/buir benchmark configs/quickstart.yaml --jobs 2

ui: $(STAMP)  ## look at the runs of `make run` in MLflow
	$(BIN)/buir ui

test: lint types imports unit  ## lint, types, order of imports, default tests (under three minutes)

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: $(STAMP)
	$(BIN)/pyright

imports: $(STAMP)
	$(BIN)/lint-imports

unit: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=term

test-slow: $(STAMP)  ## tests marked slow and eval (real data in BUIR_DATA), and gpu where there is CUDA
	$(BIN)/python -m pytest -m "slow or eval or gpu"

test-light: $(STAMP)  ## one model in a fresh environment with requirements/serving.txt alone
	$(if $(TORCH_INDEX),BUIR_TORCH_INDEX=$(TORCH_INDEX)) $(BIN)/python -m pytest -m "slow or not slow" tests/project/test_light.py

fuzz: $(STAMP)  ## broken files, models, YAML and commands, counted; COUNT=200000 for many
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.support.fuzz --count $(COUNT)

faults: $(STAMP)  ## kills of fits and benchmarks, damage, a full disk (as root), servers that go away, counted
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -rP tests/model/test_checkpoint.py
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.support.faults

lock: $(STAMP)  ## constraints.txt -> requirements/hashed.txt, after a change of the versions
	$(BIN)/python -m pip install -qq 'uv>=0.9'
	grep -v '^torch==' constraints.txt | $(BIN)/uv pip compile - --no-deps --generate-hashes --universal \
	  --python-version 3.11.9 --no-header --no-annotate --no-emit-index-url -q -o requirements/hashed.txt

test-lowest: $(STAMP)  ## the lowest version of every requirement in an environment of its own, resolved and imported
	$(BIN)/python -m pip install -qq -c constraints.txt --group lowest
	$(BIN)/uv venv --quiet --clear --python $(PYTHON) $(LOWEST)
	$(BIN)/uv pip install --quiet --python $(LOWEST) $(if $(TORCH_INDEX),--index $(TORCH_INDEX)) \
	  --resolution lowest-direct --only-binary :all: --requirements pyproject.toml --all-extras --group test
	$(BIN)/uv pip install --quiet --python $(LOWEST) --no-deps --editable .
	$(LOWEST)/bin/python -c "$$EVERY_MODULE"
	$(LOWEST)/bin/buir --help > /dev/null
	@echo "The tests there, by hand: $(LOWEST)/bin/python -m pytest"

bench: $(STAMP)  ## speed and memory against the plain implementation -> docs/results/speed.md
	$(BIN)/python -m benchmarks

docs: $(VENV)/.documented  ## the documentation -> build/docs/index.html; a warning is an error
	rm -rf docs/api docs/made docs/notebooks
	$(BIN)/python -m sphinx -W --keep-going -q -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

$(VENV)/.documented: $(STAMP)
	$(BIN)/python -m pip install -qq -c constraints.txt --group docs
	touch $@

notebooks: $(STAMP)  ## run the notebooks and write them with their outputs
	$(BIN)/python notebooks/build.py

picture: run  ## draw the figure of the README from the results of `make run`
	cp results/quickstart/figures/synthetic-sparsity.png docs/sparsity.png

screenshots: run  ## MLflow's pages of `make run` for the documentation; needs chromium and chromedriver
	$(BIN)/python docs/screenshots.py results/quickstart

clean:  ## remove .venv and caches, keep results
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .coverage build dist
