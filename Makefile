# `make` prints what there is to do. Every target that needs the environment builds it first.

PYTHON ?= python3
LOCK := deploy/requirements.lock
STAMP := .venv/.stamp
BIN := .venv/bin
S3 := .venv/s3-server
S3_STAMP := $(S3)/.stamp
S3_LOCK := tests/archives/server.txt
PIP_TOOLS := pip-tools==7.6.2
ATHERIS := atheris==3.0.0
SCHEMATHESIS := schemathesis==4.32.5

# Import time is latency: each Dagster run is a process of its own. Never run without compiled bytecode.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help env demo test test-real test-archives test-injection test-adjudication test-collector test-clients check bench fuzz fuzz-collector ui screenshot lock clean

help: ## print this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-17s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(STAMP) ## build the environment under .venv (every target does so by itself)

$(STAMP): $(LOCK) pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "Python is missing: no '$(PYTHON)' on the PATH. Install Python 3.11 or newer (Debian: apt-get install python3 python3-venv), or name one: make PYTHON=/path/to/python3." >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python is too old: '$(PYTHON)' is $$($(PYTHON) -V 2>&1), and this needs 3.11 or newer. Install one, or name one: make PYTHON=/path/to/python3.11." >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { echo "Python's venv module is missing: '$(PYTHON)' cannot make a virtual environment. Install it (Debian: apt-get install python3-venv)." >&2; exit 1; }
	@echo "Building .venv from $(LOCK) (once; about a minute) ..."
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --compile --require-hashes -r $(LOCK)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m compileall -q activation_dagster
	@touch $@

demo: $(STAMP) ## the main job, end to end [DATA=folder [ALL=1]] [STATE=postgres] [SHORT=1]
	@$(BIN)/activation demo $(if $(DATA),--data "$(DATA)") $(if $(ALL),--all) $(if $(STATE),--state "$(STATE)") $(if $(SHORT),--short)

# A file is run by one process, so that what its tests share is made once. No more than eight: each has a PostgreSQL.
test: $(STAMP) ## all tests but those on real data, on an S3 server and with foreign SDKs
	@$(BIN)/pytest -m "not real_data and not archives and not clients" --numprocesses logical --maxprocesses 8 --dist loadfile

# The folder is looked at before anything is built, and a folder without tests that read it fails (pytest's exit code 5).
test-real: ## the tests on real data, DATA=folder
	@test -n "$(DATA)" || { echo "No data is named: 'make test-real' reads a folder of real events. Say which: make test-real DATA=../shared/data." >&2; exit 2; }
	@test -d "$(DATA)" || { echo "The data is missing: DATA names '$(DATA)', which is no folder. Name one that exists: make test-real DATA=../shared/data." >&2; exit 2; }
	@$(MAKE) --no-print-directory env
	@ACTIVATION_TEST_DATA="$$(cd "$(DATA)" && pwd)" $(BIN)/pytest -m real_data

# The S3 server brings some thirty packages that nothing else needs: an environment of its own, inside the other.
$(S3_STAMP): $(STAMP) $(S3_LOCK)
	@$(PYTHON) -m venv $(S3)
	@$(S3)/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r $(S3_LOCK)
	@touch $@

test-archives: $(S3_STAMP) ## archives in a bucket, on a local S3 server
	@ACTIVATION_TEST_S3_SERVER="$(S3)/bin/moto_server" $(BIN)/pytest -m archives tests/archives

test-injection: $(STAMP) ## bad events of every kind in a stream, repaired and replayed [EVENTS=1000000]
	@INJECTED_EVENTS="$(or $(EVENTS),1000000)" $(BIN)/pytest tests/guarantees/test_bad_data_is_repairable.py

test-adjudication: $(STAMP) ## plans, undone links and noes, in drawn histories [HISTORIES=20]
	@ADJUDICATED_HISTORIES="$(or $(HISTORIES),20)" $(BIN)/pytest \
		tests/pipeline/test_identity_plans.py tests/pipeline/test_identity_acts.py -k "planned or never_been or said_no"

# a comma in a call separates what it is given
comma := ,

test-collector: $(STAMP) ## the collector killed over and over under load [ROUNDS=200] [WORKERS=1,2] [CONNECTIONS=10000]
	@COLLECTOR_ROUNDS="$(or $(ROUNDS),200)" COLLECTOR_WORKERS="$(if $(WORKERS),$(WORKERS),1$(comma)2)" COLLECTOR_CONNECTIONS="$(or $(CONNECTIONS),10000)" $(BIN)/pytest tests/sources/collector/test_faults.py

# Other people's SDKs are no part of the environment: they have a folder of their own.
test-clients: $(STAMP) ## unmodified SDKs (Python, Node, browser) against the collector
	@command -v npm >/dev/null || { echo "Node is missing: no 'npm' on the PATH, and two of the SDKs are from there. Install Node 18 or newer (Debian: apt-get install nodejs npm)." >&2; exit 1; }
	@test -x .clients/venv/bin/python || $(PYTHON) -m venv .clients/venv
	@.clients/venv/bin/pip install --quiet --disable-pip-version-check --no-deps -r tests/clients/requirements.txt
	@cp tests/clients/package.json tests/clients/package-lock.json .clients/ && npm --prefix .clients ci --silent --no-audit --no-fund
	@$(BIN)/pytest -m clients

check: $(STAMP) ## lint, format, types, imports, contracts
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/pyright
	$(BIN)/lint-imports
	$(BIN)/activation contracts check

bench: $(STAMP) ## every figure as a ratio to a floor of the same run [ONLY="bulk gate"] [DATA=folder]
	@$(BIN)/python -m bench $(ONLY) $(if $(DATA),--data "$(DATA)")

# atheris has wheels for Linux and some Pythons only, so it is not in the lock that everybody installs.
fuzz: $(STAMP) ## lines that nobody would write, judged in bulk and alone [SECONDS=60]
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --only-binary :all: $(ATHERIS) || { echo "The fuzzer is missing: no wheel of $(ATHERIS) for this Python ($$($(BIN)/python -V)) and system. Run this on Linux (x86-64) with Python 3.11 to 3.13, or set ATHERIS to a version that has one." >&2; exit 1; }
	@$(BIN)/python -m tests.fuzzing.fuzz_lines -max_total_time=$(or $(SECONDS),60) -max_len=4096 -print_final_stats=1

fuzz-collector: $(STAMP) ## the collector's whole interface, by its own description [EXAMPLES=50]
	@test -x .fuzzing/schemathesis/bin/python || $(PYTHON) -m venv .fuzzing/schemathesis
	@.fuzzing/schemathesis/bin/pip install --quiet --disable-pip-version-check "$(SCHEMATHESIS)"
	@$(BIN)/python -m tests.fuzzing.fuzz_collector .fuzzing/schemathesis/bin/st $(or $(EXAMPLES),50)

ui: $(STAMP) ## open Dagster's web interface on what the demo left
	@$(BIN)/activation ui

screenshot: ## a picture of the asset graph, made in a headless browser
	@command -v chromium >/dev/null || { echo "Chromium is missing: no 'chromium' on the PATH, and the picture is made in it. Install it from Debian's packages: apt-get update && apt-get install -y chromium." >&2; exit 1; }
	@$(MAKE) --no-print-directory env
	@$(BIN)/python deploy/screenshot.py

lock: ## re-make the lock from pyproject.toml; what it holds stays unless the ranges forbid it [UPGRADE=1]
	@fresh=$$(mktemp -d) && trap 'rm -rf "$$fresh"' EXIT && $(PYTHON) -m venv "$$fresh" && \
	"$$fresh/bin/pip" install --quiet --disable-pip-version-check "$(PIP_TOOLS)" && \
	CUSTOM_COMPILE_COMMAND='make lock' "$$fresh/bin/pip-compile" --quiet --extra dev --generate-hashes --allow-unsafe \
	  --no-strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  $(if $(UPGRADE),--upgrade) --output-file $(LOCK) pyproject.toml && \
	CUSTOM_COMPILE_COMMAND='make lock' "$$fresh/bin/pip-compile" --quiet --generate-hashes --allow-unsafe \
	  --no-strip-extras --no-emit-index-url --no-emit-trusted-host --no-emit-find-links \
	  $(if $(UPGRADE),--upgrade) --output-file $(S3_LOCK) tests/archives/server.in

# Only what the demo and the tools left: another environment under .activation may be somebody's data.
clean: ## remove what the demo and the tools left; keeps .venv
	rm -rf .activation/demo .activation/landing/demo .activation/lake/demo .activation/state/demo.db*
	rm -rf .fuzzing .pytest_cache .ruff_cache .hypothesis .import_linter_cache build dist *.egg-info
	find . -path ./.venv -prune -o -name __pycache__ -type d -prune -exec rm -rf {} +
