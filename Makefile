SHELL := bash
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
# Tests start hundreds of processes: where Python is kept from writing bytecode, each would compile all that it imports.
export PYTHONDONTWRITEBYTECODE :=
BIN := .venv/bin
PYTEST := $(BIN)/python -m pytest
# The fastest first.
TESTS := tests/unit tests/property tests/spark
# Which tests of whole commands are run.
INTEGRATION ?= tests/integration
BENCH := PYTHONPATH=tests:tests/support $(BIN)/python -m
# Options of the benchmarks, such as BENCHFLAGS="--data data/bench --runs 5".
BENCHFLAGS ?=
# Which Debians `make test-fresh` makes.
FRESH ?= trixie bookworm
# `make lock LOCKFLAGS=--upgrade` takes the newest versions; without it only what has to change does.
LOCKFLAGS ?=
UV_COMPILE = .venv-tools/bin/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 \
	--no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" $(LOCKFLAGS)

.PHONY: help setup demo test test-integration test-all test-wheel test-fresh lint format bench bench-scan bench-whole bench-training \
	bench-container bench-submission bench-backtest bench-serve bench-large bench-setup history-ui docs-pictures model lock clean

help: ## Show what can be made
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-17s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Make .venv from the lock files and find Java; quick when nothing changed
	@scripts/setup.sh

demo: setup ## The whole forecast on generated data: sample, ETL, training, service, 48 hours of two servers
	@$(BIN)/loadcast demo

test: setup ## All tests but the integration ones, the fastest first
	@$(PYTEST) $(TESTS)

test-integration: setup ## Tests that run whole commands, for some minutes
	@scripts/setup-azurite.sh
	@scripts/setup-integration.sh
	@scripts/setup-ssh.sh
	@scripts/setup-containers.sh
	@scripts/setup-chromium.sh
	@$(PYTEST) $(INTEGRATION)

test-all: setup ## All tests, the fastest first
	@scripts/setup-azurite.sh
	@scripts/setup-integration.sh
	@scripts/setup-ssh.sh
	@scripts/setup-containers.sh
	@scripts/setup-chromium.sh
	@$(PYTEST) $(TESTS) $(INTEGRATION)

test-wheel: setup ## Install the wheel outside the clone: its demo, and the service alone
	@scripts/test-wheel.sh

test-fresh: ## README's two commands on bare Debians (FRESH="trixie bookworm"); wants root and debootstrap
	@scripts/test-fresh.sh $(FRESH)

lint: setup ## Style, types and layers
	@$(BIN)/ruff check Code tests
	@$(BIN)/ruff format --check Code tests
	@$(BIN)/mypy
	@$(BIN)/lint-imports

format: setup ## Lay out the code as lint wants it
	@$(BIN)/ruff check --fix Code tests
	@$(BIN)/ruff format Code tests

# Not by prerequisites: with make -j these would run at once.
bench: bench-setup ## Measure speed and memory: all benchmarks but the large one
	@$(BENCH) bench.bench_scan $(BENCHFLAGS)
	@$(BENCH) bench.bench_whole $(BENCHFLAGS)
	@$(BENCH) bench.bench_training $(BENCHFLAGS)
	@scripts/setup-azurite.sh
	@$(BENCH) bench.bench_container $(BENCHFLAGS)
	@scripts/setup-ssh.sh
	@scripts/setup-containers.sh
	@$(BENCH) bench.bench_submission $(BENCHFLAGS)

bench-scan: bench-setup ## Scan and sums of 5 GB, beside DuckDB, Polars and Spark's CSV reader
	@$(BENCH) bench.bench_scan $(BENCHFLAGS)

bench-whole: bench-setup ## Whole ETL and training on 1 and 5 GB
	@$(BENCH) bench.bench_whole $(BENCHFLAGS)

bench-training: bench-setup ## Training beside scikit-learn and LightGBM
	@$(BENCH) bench.bench_training $(BENCHFLAGS)

bench-container: setup ## ETL from a container on Azurite, beside the same from a folder
	@scripts/setup-azurite.sh
	@$(BENCH) bench.bench_container $(BENCHFLAGS)

bench-submission: setup ## What submitting a script adds to its own time
	@scripts/setup-ssh.sh
	@scripts/setup-containers.sh
	@$(BENCH) bench.bench_submission $(BENCHFLAGS)

bench-backtest: setup ## A backtest of 4 folds, on one core and on two
	@$(BENCH) bench.bench_backtest $(BENCHFLAGS)

bench-serve: setup ## The scoring service in process and over HTTP, beside a commit before (BENCHFLAGS="--before COMMIT")
	@scripts/setup-wrk.sh
	@$(BENCH) bench.bench_serve $(BENCHFLAGS)

bench-large: bench-setup ## Whole ETL and training on 1, 5 and 20 GB
	@$(BENCH) bench.bench_whole --large $(BENCHFLAGS)

bench-setup: setup
	@scripts/setup-bench.sh

history-ui: setup ## MLflow's pages of the runs submitted from here, at http://127.0.0.1:5001
	@scripts/setup-mlflow.sh
	@$(BIN)/loadcast history ui

docs-pictures: setup ## The pictures in Docs, of the demo's runs on this machine
	@scripts/setup-mlflow.sh
	@scripts/setup-chromium.sh
	@PYTHONPATH=tests/support $(BIN)/python tests/docs_pictures.py

model: setup ## Train the small bundle in Model/ anew, on the demo's data
	@$(BIN)/loadcast sample data/demo --rows 400000 --overwrite
	@$(BIN)/loadcast etl Config/demo.json
	@$(BIN)/loadcast train Config/demo.json
	@$(BIN)/loadcast export Config/demo.json Model

lock: ## Write the lock files anew from requirements*.in
	@source scripts/setup.sh && install_uv
	@$(UV_COMPILE) requirements-uv.in --output-file requirements-uv.lock
	@$(UV_COMPILE) requirements.in requirements-spark.in --output-file requirements.lock
	@$(UV_COMPILE) requirements.in --constraints requirements.lock --output-file requirements-service.lock
	@$(UV_COMPILE) requirements-dev.in --constraints requirements.lock --output-file requirements-dev.lock
	@$(UV_COMPILE) requirements-bench.in --constraints requirements.lock --output-file requirements-bench.lock
	@$(UV_COMPILE) requirements-mlflow.in --output-file requirements-mlflow.lock
	@$(UV_COMPILE) requirements-spark35.in --output-file requirements-spark35.lock

clean: ## Remove the environment, caches and the demo's files
	@rm -rf .venv .venv-tools .venv-bench .venv-mlflow .venv-spark35 .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache \
		tests/node_modules build dist spark-warehouse metastore_db derby.log data/demo output/demo
	@find Code tests -name __pycache__ -prune -exec rm -rf {} +
