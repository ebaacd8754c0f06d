# Analytics Brain. `make help` explains itself from the ## comments.
SHELL := /bin/bash
PYTHON ?= python3
BIN := .venv/bin
# Nothing is written outside .venv and .brain; pyproject.toml and tests/conftest.py say the same to more tools.
CACHE := $(CURDIR)/.venv/.cache
export UV_CACHE_DIR := $(CACHE)/uv
export PIP_CACHE_DIR := $(CACHE)/pip
export BUF_CACHE_DIR := $(CACHE)/buf
export PYTHONPYCACHEPREFIX := $(CACHE)/pycache
unexport PYTHONDONTWRITEBYTECODE  # each start would compile every import again: seconds

.DEFAULT_GOAL := help
.PHONY: help up demo restart backup restore test check check-extras test-peers test-slow test-faults bench soak protos format locks clean

help: ## Show the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- environments: hash-pinned, nothing outside .venv ---
# hatchling and editables are pinned in the lock, so the editable install needs no network of its own.
define install
	@echo "Installing requirements/$(1).txt into .venv"
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements/$(1).txt
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@
endef

.venv/.uv: requirements/uv.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Python 3.11 or newer is needed: make PYTHON=/path/to/python3.11 ..." >&2; exit 1; }
	@echo "Creating .venv"
	@$(PYTHON) -m venv .venv
	@echo 'import sys; sys.pycache_prefix = sys.prefix + "/.cache/pycache"' > \
	  $$($(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')/pycache_prefix.pth
	@$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	@touch $@

.venv/.local: .venv/.uv requirements/local.txt pyproject.toml
	$(call install,local)

.venv/.dev: .venv/.uv requirements/dev.txt pyproject.toml
	$(call install,dev)
	@touch .venv/.local

.venv/.bench: .venv/.dev requirements/bench.txt
	$(call install,bench)

# --- run ---
ifdef REPLICAS
export BRAIN_REPLICAS := $(REPLICAS)
endif

up: .venv/.local ## Start the suite on this machine, embedded PostgreSQL included; Ctrl-C stops it; REPLICAS=2 for two of each service
	@exec $(BIN)/python -m deploy.local up

demo: .venv/.local ## The same, with a year of a real shop's events imported and asked about
	@exec $(BIN)/python -m deploy.local demo

restart: .venv/.local ## Restart every service of the running suite, one process at a time
	@exec $(BIN)/python -m deploy.local restart

backup: .venv/.local ## Copy all data, while the suite runs or not: make backup TO=/mnt/backups/monday
	@test -n "$(TO)" || { echo "make backup TO=DIRECTORY, which is made" >&2; exit 2; }
	@exec $(BIN)/python -m deploy.backup "$(TO)"

restore: .venv/.local ## Put a backup in the place of all data: make restore FROM=/mnt/backups/monday
	@test -n "$(FROM)" || { echo "make restore FROM=DIRECTORY [OPTIONS='--tombstones FILE']" >&2; exit 2; }
	@exec $(BIN)/python -m deploy.restore "$(FROM)" --replace $(OPTIONS)

# --- verify ---
test: check ## Lint, types, contracts and every test that needs Python alone
	$(BIN)/pytest -q --numprocesses auto --maxprocesses 4

check: .venv/.dev check-extras ## Lint, formats, types, import contracts, protos and generated code
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports --cache-dir $(CACHE)/import-linter
	cd protos && ../$(BIN)/buf lint && ../$(BIN)/buf format --diff --exit-code
	$(BIN)/python protos/generate.py --check

# Each service, and the client, runs on its own requirements alone.
check-extras: .venv/.uv
	@for one in client:brain_client.cli events:services.events.application \
	  experiments:services.experiments.application forecasting:services.forecasting.application \
	  funnels:services.funnels.application alerts:services.alerts.application \
	  gateway:gateway.application; do \
	  extra=$${one%%:*}; environment=.venv/extras/$$extra; \
	  $(BIN)/uv venv --quiet --clear --python $(BIN)/python $$environment; \
	  $(BIN)/uv pip install --quiet --python $$environment/bin/python --require-hashes -r requirements/$$extra.txt; \
	  PYTHONPATH=.:protos/gen $$environment/bin/python -c "import $${one#*:}" || exit 1; \
	done

test-peers: .venv/.dev ## Tests against Debian's programs (pgbouncer, Chromium, Prometheus, Alertmanager); `.ci/run` installs them
	$(BIN)/pytest -q -m peers --numprocesses 2

test-slow: .venv/.dev ## Long simulations
	$(BIN)/pytest -q -m slow

test-faults: .venv/.dev ## Kill, cut, stop and fill up: nothing acknowledged is lost
	$(BIN)/pytest -q -m faults

bench: .venv/.bench ## Measure against bare PostgreSQL and ClickHouse in-process; prints tables with ratios
	$(BIN)/python -m benchmarks

soak: .venv/.dev ## Load the whole suite for twenty minutes; memory, file descriptors and threads must not grow
	$(BIN)/python -m benchmarks.soak

# --- maintain ---
protos: .venv/.dev ## Generate protos/gen from the contracts
	cd protos && ../$(BIN)/buf format --write
	$(BIN)/python protos/generate.py

format: .venv/.dev ## Format the code
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

COMPILE := $(BIN)/uv pip compile --quiet --universal --generate-hashes --no-emit-index-url --no-emit-find-links \
  --no-header --python-version 3.11 pyproject.toml

locks: .venv/.uv ## Compile the hash-pinned requirements from pyproject.toml
	@$(COMPILE) --output-file requirements/client.txt
	@for extra in alerts events experiments forecasting funnels gateway local dev bench; do \
	  $(COMPILE) --extra $$extra --output-file requirements/$$extra.txt || exit 1; done

clean: ## Remove .venv and .brain, data included
	rm -rf .venv .brain
