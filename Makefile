# Everything runs from a fresh clone: each target sets up what it needs (Python 3.11+, Node 20, make, git).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INTEROP := tests/interop/node
REACT := examples/react
PLAYWRIGHT := examples/playwright

.PHONY: demo test test-slow style types format docs setup interop chromium prometheus bench clean

demo: $(VENV)/ready
	$(BIN)/chaosproxy demo

# They start the command hundreds of times, so Python is to keep what it has compiled, whatever the environment says.
test test-slow: export PYTHONDONTWRITEBYTECODE :=

# A worker for each core, though no more than 8: each has servers and browsers of its own. How they share the tests says
# tests/workers.py. The slow tests keep the machine busy by themselves.
test: setup
	$(BIN)/python -m pytest -m "not slow" --numprocesses logical --maxprocesses 8

test-slow: setup
	$(BIN)/python -m pytest -m slow

style: $(VENV)/ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

format: $(VENV)/ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

types: $(VENV)/ready
	$(BIN)/mypy

# Write the README's table of faults anew, from the classes.
docs: $(VENV)/ready
	$(BIN)/python -c 'from pathlib import Path; from chaosproxy.cli import reference; reference.update(Path("README.md"))'

setup: $(VENV)/ready interop

# What the tests with real clients need: Node's packages, a Chromium and a Prometheus (see the scripts for where they
# come from).
interop: $(INTEROP)/node_modules/ready $(REACT)/node_modules/ready $(PLAYWRIGHT)/node_modules/ready chromium prometheus

chromium:
	@tests/interop/chromium.sh

prometheus:
	@tests/interop/prometheus.sh

$(VENV)/ready: pyproject.toml hatch_build.py chaosproxy/wire/speedups.c
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade "pip>=25.1"
	$(BIN)/python -m pip install --quiet --editable ".[tls,uvloop]" --group dev
	touch $@

$(INTEROP)/node_modules/ready: $(INTEROP)/package.json $(INTEROP)/package-lock.json
	cd $(INTEROP) && npm ci --no-audit --no-fund --ignore-scripts --legacy-peer-deps
	touch $@

$(REACT)/node_modules/ready: $(REACT)/package.json $(REACT)/package-lock.json
	cd $(REACT) && npm ci --no-audit --no-fund --ignore-scripts
	touch $@

$(PLAYWRIGHT)/node_modules/ready: $(PLAYWRIGHT)/package.json $(PLAYWRIGHT)/package-lock.json
	cd $(PLAYWRIGHT) && npm ci --no-audit --no-fund --ignore-scripts
	touch $@

# Options go in BENCH, such as: make bench BENCH="--seconds 0.5 --markdown"
bench: $(VENV)/ready
	$(BIN)/python -m bench $(BENCH)

clean:
	rm -rf $(VENV) $(INTEROP)/node_modules $(REACT)/node_modules $(PLAYWRIGHT)/node_modules
