# Four verbs: run, test, check, bench. `make help` prints them all.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := /bin/sh

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DATA ?= verifier-data

# Wheels only: nothing is compiled, and every file is checked against its hash.
PIP := $(BIN)/python -m pip install -qq --disable-pip-version-check --require-hashes --only-binary :all:
LOCK := $(VENV)/lock/bin/pip-compile --quiet --generate-hashes --strip-extras --allow-unsafe \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options \
	--no-header --annotation-style line

# PORT, ROWS and WORKERS may stand on the line of `make run` and `make test`.
export PORT ROWS WORKERS
ifndef PORT
unexport PORT
endif
ifndef ROWS
unexport ROWS
endif
ifndef WORKERS
unexport WORKERS
endif
# The words stand in the page, the table at the end comes from the code.
CONFIGURATION := { sed '/^| variable/,$$d' docs/configuration.md; $(BIN)/python -m verifier.config; }
METRICS := { sed '/^| metric/,$$d' docs/metrics.md; $(BIN)/python -m verifier.metrics; }
UP := --data $(DATA) $(if $(PORT),--port $(PORT)) $(if $(ROWS),--rows $(ROWS)) $(if $(WORKERS),--workers $(WORKERS))

.PHONY: help
help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' Makefile
	@echo
	@echo "PORT, ROWS and WORKERS can be set: make run PORT=9000 ROWS=1000 WORKERS=1"

.PHONY: run
run: $(VENV)/.runtime ## the whole service with a demo ledger, on http://127.0.0.1:8080
	@exec $(BIN)/verifier up $(UP)

.PHONY: test
test: $(VENV)/.dev ## all tests; one file: make test TESTS=tests/cli
	@exec $(BIN)/pytest $(TESTS)

.PHONY: faults
faults: $(VENV)/.dev ## all fault scenarios at full length, and their table in docs/faults.md
	@# Twenty rolling restarts take longer than a test may otherwise hang.
	FAULTS=full $(BIN)/pytest tests/faults -o faulthandler_timeout=900

.PHONY: fuzz
fuzz: $(VENV)/.dev ## any bytes at a running service: make fuzz INPUTS=1000000 SEED=1
	INPUTS=$(or $(INPUTS),1000000) SEED=$(or $(SEED),1) FIRST=$(or $(FIRST),0) \
		$(BIN)/pytest $(or $(TESTS),tests/fuzz) --override-ini faulthandler_timeout=14400

.PHONY: check
check: $(VENV)/.dev ## format, lint, types, layers, migrations, docs
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/squawk verifier/database/migrations/*.sql
	@$(CONFIGURATION) | diff docs/configuration.md - || { echo "docs/configuration.md is out of date: make docs" >&2; exit 1; }
	@$(METRICS) | diff docs/metrics.md - || { echo "docs/metrics.md is out of date: make docs" >&2; exit 1; }

.PHONY: format
format: $(VENV)/.dev ## lays out the code and mends what can be mended by itself
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.PHONY: bench
bench: $(VENV)/.dev ## what each hot path costs, and the figures; a few: make bench FIGURES="P1 P2"
	$(BIN)/pytest bench --benchmark-only
	$(BIN)/python -m bench $(FIGURES)

.PHONY: bench-compare
bench-compare: $(VENV)/.dev ## hot paths of a revision and of the work tree in turns: make bench-compare REV=HEAD~1
	$(BIN)/python -m bench.compare $(or $(REV),HEAD)

.PHONY: bench-parent
bench-parent: $(VENV)/.dev ## the same with the parent of HEAD by wide bounds, as CI does
	$(BIN)/python -m bench.compare --parent HEAD~1

.PHONY: bench-scale
bench-scale: $(VENV)/.dev ## tables of docs/scale.md, past one process; a few: make bench-scale SECTIONS="feed polls"
	$(BIN)/python -m bench.scale $(SECTIONS)

.PHONY: load
load: $(VENV)/.dev ## a load scenario against a service of its own, and its report: make load SCENARIO=step
	$(BIN)/python -m loadtests run $(or $(SCENARIO),peak_hour) $(LOAD)

.PHONY: load-parent
load-parent: $(VENV)/.dev ## short load runs of the parent commit and of this tree in turns, compared
	$(BIN)/python -m loadtests parent $(REV)

.PHONY: mutants
mutants: $(VENV)/.dev ## small faults that no test notices: make mutants MODULE=verifier/engine SAMPLE=200
	@MODULE="$(MODULE)" SAMPLE=$(SAMPLE) POSTGRES=$(POSTGRES) nice -n 10 $(BIN)/python -m tests.mutants

.PHONY: docs
docs: $(VENV)/.runtime ## writes the tables of settings and metrics anew
	@$(CONFIGURATION) > docs/configuration.tmp && mv docs/configuration.tmp docs/configuration.md
	@$(METRICS) > docs/metrics.tmp && mv docs/metrics.tmp docs/metrics.md

.PHONY: lock
lock: $(VENV)/bin/pip ## newest versions that pyproject.toml admits, with their hashes
	$(PYTHON) -m venv $(VENV)/lock
	$(VENV)/lock/bin/python -m pip install -qq --disable-pip-version-check pip-tools
	$(LOCK) --upgrade --extra build --extra up --output-file requirements.txt pyproject.toml
	$(LOCK) --upgrade --extra dev --extra up --constraint requirements.txt --output-file requirements-dev.txt pyproject.toml

.PHONY: clean
clean: ## removes what make has made, the demo ledger included
	rm -rf $(VENV) $(DATA) bench-data loadtests-data loadtests-results .benchmarks .hypothesis .mutants .mypy_cache .pytest_cache .ruff_cache .import_linter_cache

$(VENV)/bin/pip:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed: make PYTHON=python3.12 ...")'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: requirements.txt pyproject.toml | $(VENV)/bin/pip
	@echo "installing into $(VENV)" >&2
	@$(PIP) -r requirements.txt
	@$(BIN)/python -m pip install -qq --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.runtime
	@echo "installing the tools for development into $(VENV)" >&2
	@$(PIP) -r requirements-dev.txt
	@touch $@
