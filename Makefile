# What people type. `make demo` and `make test` set up everything they need.
.DEFAULT_GOAL := help
.PHONY: help demo test tools images unit integration e2e lint bench matrix drill drill-pool standin screenshots setup clean

# Not a python below some user's home: the unprivileged accounts that tests run under could not reach it.
PYTHON ?= $(firstword $(wildcard /usr/bin/python3.13 /usr/bin/python3.12 /usr/bin/python3.11) python3)
export PYTHON
# Without its caches of bytecode, pytest rewrites every plugin anew in every session.
unexport PYTHONDONTWRITEBYTECODE
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready

help: ## this list
	@grep -hE '^[a-z0-9]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9]+):.*## /\1\t/' | expand -t 14

$(STAMP): pyproject.toml scripts/system-packages.sh
	@sh scripts/system-packages.sh
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	@touch $@

setup: $(STAMP) ## the virtual environment, and Debian's packages where root or sudo is there

demo: $(STAMP) ## run the example catalog on two local targets
	@$(BIN)/python examples/demo.py

test: tools lint unit integration ## the whole suite but what needs root

tools: ## what only the tests use: Debian's packages where root or sudo is there
	@sh scripts/system-packages.sh test

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

unit: $(STAMP)
	$(BIN)/python -m pytest tests/a_unit -n 2

integration: tools $(STAMP)
	$(BIN)/python -m pytest tests/b_integration -n 4 --dist loadfile --no-loadscope-reorder --durations=15 --durations-min=5

e2e: ## what needs root, or changes the host
	@test "$$(id -u)" = 0 || { echo "make e2e needs root: its servers are hosts of systemd-nspawn on this machine" >&2; exit 1; }
	@$(MAKE) --no-print-directory images
	$(BIN)/python -m pytest -p no:cacheprovider tests/c_e2e

images: $(STAMP)
	@sh scripts/system-packages.sh e2e
	@$(BIN)/python -m testlab_nspawn

bench: $(STAMP) ## the promises with a number
	@for script in schedule overhead collect bundle record redact scale provision $(if $(filter 0,$(shell id -u)),nspawn); do $(BIN)/python benchmarks/$$script.py || failed=1; done; exit $${failed:-0}

matrix: tools $(STAMP) ## every Python here, the lowest versions allowed, and the plugins that people have
	$(BIN)/python scripts/matrix.py

drill-pool: tools $(STAMP) ## the same for a pool of a cloud's servers: leases, blankings, the reaper
	PYTHONPATH=tests/support $(BIN)/python -m drill --pool $(if $(SEED),--seed $(SEED)) $(DRILL)

drill: tools $(STAMP) ## kill and break what can be, hundreds of times; SEED=N plays a former drill again
	PYTHONPATH=tests/support $(BIN)/python -m drill $(if $(SEED),--seed $(SEED)) $(DRILL)

standin: $(STAMP) ## a stand-in for the Hetzner Cloud API on loopback; options in STANDIN (try STANDIN=--help)
	@PYTHONPATH=tests/support exec $(BIN)/python -m standin $(STANDIN)

screenshots: tools $(STAMP) ## pictures of the pages, into build/screenshots
	$(BIN)/python tests/screenshots.py build/screenshots

clean: ## the virtual environment and what was built
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
