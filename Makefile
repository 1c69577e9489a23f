# setup · repro · tune · test · test-fast · ui · bench · lint · lock
PY ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)
# uv installs the same pins with the same hashes, faster; --compile-bytecode because a stage's start would pay for it
INSTALL := $(if $(shell command -v uv 2> /dev/null),uv pip install -q --compile-bytecode --python $(BIN)/python,$(BIN)/python -m pip install -q)
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true
export DVC_NO_ANALYTICS := true
export MLFLOW_ALLOW_PICKLE_DESERIALIZATION := false
export MLFLOW_SERVER_ENABLE_JOB_EXECUTION := false
export PYTHONHASHSEED := 0
TRACKING ?= $(if $(MLFLOW_TRACKING_URI),$(MLFLOW_TRACKING_URI),sqlite:///$(CURDIR)/mlflow.db)

.PHONY: setup announced repro tune test test-fast ui bench lint format lock help
.DEFAULT_GOAL := help

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

$(VENV)/.stamp: requirements.lock pyproject.toml
	$(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; set PY=python3.11")'
	test -x $(BIN)/python || $(PY) -m venv $(VENV)
	$(INSTALL) --require-hashes -r requirements.lock
	$(INSTALL) --no-deps --no-build-isolation -e .
	touch $@

setup: $(VENV)/.stamp  ## virtual environment with the exact pins

announced:
	@git rev-parse --git-dir > /dev/null 2>&1 || { echo "make repro: no git checkout, which DVC needs; git clone the project, or run git init here" >&2; exit 2; }
	@PYTHONPATH=src $(PY) -c 'from medtransfer.stages.needs import COST; print(COST)'

repro: announced $(VENV)/.stamp  ## the whole pipeline on the embedded sample
	dvc pull -q data.dvc
	@medtransfer repro
	@echo
	@medtransfer summary
	@echo
	@echo "Report:     $(CURDIR)/out/report/index.html"
	@echo "Compare:    make ui   then open http://127.0.0.1:5000 (Model training > attentive_transfer)"
	@echo "Evaluate:   medtransfer evaluate --model models:/covid-ct@champion --images DIR"

tune: $(VENV)/.stamp  ## the searches of params.yaml, after make repro; they are no part of it
	cd tuning && dvc repro

test: $(VENV)/.stamp  ## everything but the full sample pipeline
	test -d data || dvc pull -q data.dvc
	pytest -m "not sample" -n 2 --dist worksteal

test-fast: $(VENV)/.stamp  ## the inner loop
	test -d data || dvc pull -q data.dvc
	pytest -n 2 --dist worksteal

ui: $(VENV)/.stamp  ## browse the runs
	mlflow server --backend-store-uri $(TRACKING) --host 127.0.0.1 --port 5000 --workers 1

bench: $(VENV)/.stamp  ## ratios, interleaved in one run; results in benchmarks/results
	for file in benchmarks/bench_*.py; do python $$file || exit 1; done

lint: $(VENV)/.stamp  ## formatting, rules and types
	ruff format --check .
	ruff check .
	mypy

format: $(VENV)/.stamp  ## rewrite the formatting
	ruff format .
	ruff check --fix .

lock:  ## make the list of exact pins again (needs uv); pins that still fit stay
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-annotate --no-header -o requirements.lock
	sed -i '1i # Exact pins with hashes, shared by pip (Makefile), conda (conda.yaml) and MLflow projects.\n# Made by: make lock' requirements.lock
