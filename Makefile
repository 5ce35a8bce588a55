# One door to everything. `make` alone lists the doors.
SHELL := /bin/bash
.DEFAULT_GOAL := help
.PHONY: help drill airflow test test-system faults healthy lint bench compat lock set-up clean clean-all FORCE

# The interpreter that .venv is made with: empty means the first suitable one (scripts/set-up).
PYTHON ?=
# More options for pytest: make test ARGS='-k timeline -n 0'
ARGS ?=
# How many tests run side by side.
WORKERS ?= 2

# Programs of .venv are found by name too: the demo starts `airflow`.
python := PATH="$(CURDIR)/.venv/bin:$$PATH" .venv/bin/python
ready := .venv/.set-up
# Without compiled modules Airflow takes three times as long to start.
unexport PYTHONDONTWRITEBYTECODE
export PYTHON

help: ## This list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-11s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

drill: $(ready) ## Set everything up, damage a backup of a demo production, and run the drill on a real Airflow
	@$(python) -m airflow_dr_provider.demo drill

airflow: $(ready) ## The same demo in `airflow standalone`, with its web page
	@$(python) -m airflow_dr_provider.demo airflow

test: $(ready) ## The whole test suite, but for the tests on a whole Airflow
	@scripts/system-packages
	$(python) -m pytest -n $(WORKERS) --dist loadgroup --no-loadscope-reorder --durations 15 --ignore tests/system $(ARGS)

test-system: $(ready) ## The tests on a whole Airflow: the failure table, people, accidents, Celery workers
	@scripts/system-packages
	$(python) -m pytest -n 0 --durations 15 tests/system $(ARGS)

compat: $(ready) ## The tests with the oldest supported Airflow, and with every other supported Python of this machine
	@scripts/system-packages
	WORKERS=$(WORKERS) scripts/compat

faults: $(ready) ## Produce every fault of the fault matrix, and print what the drill and other tools make of it
	@$(python) -m tests.scenarios.faults

healthy: $(ready) ## Run two hundred drills on sound backups of many shapes; every one has to end green
	@$(python) -m tests.scenarios.healthy $(ARGS)

lint: $(ready) ## Style, types, and which room may import which
	$(python) -m ruff check .
	$(python) -m ruff format --check .
	$(python) -m mypy
	.venv/bin/lint-imports --no-cache
	bash -n .ci/run scripts/* docker/*/*.sh

bench: $(ready) ## Measure what the benchmarks folder measures
	@set -e; for file in benchmarks/*.py; do echo "== $$file"; $(python) "$$file"; done

lock: $(ready) ## Resolve pyproject.toml anew into the lock files (UPGRADE=1: everything; UPGRADE=NAME: one package)
	@scripts/lock

set-up: $(ready) ## Only install: .venv, from the lock files

clean: ## Remove caches, build output and what the demo left
	rm -rf .drill build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . \( -path ./.venv -o -path ./.compat \) -prune -o -name __pycache__ -type d -exec rm -rf {} +

clean-all: clean ## The same, and the environments
	rm -rf .venv .compat

# Set up again when what is wanted changed, or when .venv was copied along from another place.
ifneq ($(file <$(ready)),$(CURDIR))
$(ready): FORCE
endif
$(ready): requirements.lock requirements-uv.lock pyproject.toml scripts/set-up
	@scripts/set-up
