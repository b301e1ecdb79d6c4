# Everything runs in .venv, which the first target makes and a later one leaves alone until pyproject.toml or
# constraints.txt changes. Needs Python >= 3.11 and make.
#
#   make run PYTHON=python3.12      another interpreter
#   make run TORCH_INDEX=URL        another build of torch, from an index that you trust

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
TORCH_INDEX ?=

VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: help setup run ui test lint types imports unit test-slow faults test-light bench notebooks picture screenshots clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*##/\t/' | expand -t 14

setup: $(STAMP)  ## make .venv and install what is missing

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "$(PYTHON) is $$($(PYTHON) --version 2>&1), buir needs Python >= 3.11: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 1; }
	@echo "Installing into $(VENV): the first time takes minutes"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -qq --upgrade 'pip>=25.1'
	$(BIN)/python -m pip install -qq -c constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX)) torch
	$(BIN)/python -m pip install -qq -c constraints.txt --editable . --group dev
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

faults: $(STAMP)  ## kill fits at random moments and in the writing of their checkpoints; print how many there were
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slow -rP tests/model/test_checkpoint.py

test-light: $(STAMP)  ## one model in a fresh environment with requirements/serving.txt alone
	$(if $(TORCH_INDEX),PIP_EXTRA_INDEX_URL=$(TORCH_INDEX)) $(BIN)/python -m pytest -m "slow or not slow" tests/project/test_light.py

bench: $(STAMP)  ## speed and memory against the plain implementation -> docs/results/speed.md
	$(BIN)/python -m benchmarks

notebooks: $(STAMP)  ## run the notebooks and write them with their outputs
	$(BIN)/python notebooks/build.py

picture: run  ## draw the figure of the README from the results of `make run`
	cp results/quickstart/figures/synthetic-sparsity.png docs/sparsity.png

screenshots: $(STAMP)  ## MLflow's pages of the sweep for the documentation; needs chromium and results/sweep
	$(BIN)/python docs/screenshots.py results/sweep

clean:  ## remove .venv and caches, keep results
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .coverage build dist
