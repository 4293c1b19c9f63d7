# Targets that need Python packages first create .venv and install the pinned requirements and icm itself;
# nothing else is needed but Python 3.10 to 3.12. `make help` lists the targets.

PYTHON ?= python3
VENV ?= .venv
UV_VERSION := 0.13.9
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed-requirements
# No run of this file touches the network once the requirements are installed.
OFFLINE := WANDB_MODE=offline HF_HUB_OFFLINE=1 NO_ALBUMENTATIONS_UPDATE=1
# Most tests keep one core busy. The tests of a file share what they set up, so they stay together.
PARALLEL := -n logical --maxprocesses 4 --dist loadfile

.DEFAULT_GOAL := help
.PHONY: help setup demo test test-all lint format figures benchmark soak lock audit clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: $(INSTALLED) ## create .venv with the pinned requirements and icm itself

# Built without isolation, from the setuptools of the requirements: nothing more is downloaded.
$(INSTALLED): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 10) <= v < (3, 13) else "icm needs Python 3.10 to 3.12, not %d.%d: make PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip sync --require-hashes --compile-bytecode --python $(BIN)/python requirements.txt
	$(BIN)/uv pip install --offline --no-deps --no-build-isolation --python $(BIN)/python --editable .
	@touch $@

demo: setup ## measure codecs on the embedded faces, offline; ends with the path of report.html
	$(OFFLINE) $(BIN)/python evaluate.py -m experiment=demo hydra.sweep.dir=outputs/demo

test: setup lint ## lint, then the tests
	$(OFFLINE) $(BIN)/python -m pytest $(PARALLEL)

test-all: setup lint ## the same with the exhaustive variants
	$(OFFLINE) $(BIN)/python -m pytest $(PARALLEL) -m ''

lint: setup ## style, format, types, direction of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache --no-logo

format: setup ## bring style and format in order
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

figures: demo ## redraw the pictures of README and docs from the demo
	PYTHONPATH=. $(BIN)/python docs/figures.py outputs/demo

benchmark: setup ## speed as ratios against named peers
	$(OFFLINE) $(BIN)/python -m benchmarks

# ICM_SOAK=0.01 takes a hundredth of the cases.
soak: export ICM_SOAK ?= 1
soak: setup ## damaged streams and files, kills, full disks: hours; figures in outputs/soak (docs/reliability.md)
	$(OFFLINE) $(BIN)/python -m pytest tests/soak

# UPGRADE=--upgrade takes new releases of what the pinned requirements bring along.
lock: setup ## compile requirements.txt after a change of requirements.in or pyproject.toml (network)
	$(BIN)/uv pip compile --quiet --universal --python-version 3.10 --no-python-downloads --generate-hashes $(UPGRADE) \
		--custom-compile-command "make lock" requirements.in --group dev -o requirements.txt

audit: setup ## look the requirements up among known vulnerabilities (network)
	$(BIN)/uv tool run pip-audit==2.10.1 --require-hashes --disable-pip --requirement requirements.txt

clean: ## remove outputs and caches
	rm -rf outputs build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis
