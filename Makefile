# make demo: the main job on embedded data, offline.   make test: lint, format and tests.
# Both first create .venv and install the pinned requirements; nothing else is needed but Python 3.10 to 3.12.

PYTHON ?= python3
VENV ?= .venv
UV_VERSION := 0.13.9
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed-requirements
# No run of this file touches the network once the requirements are installed.
OFFLINE := WANDB_MODE=offline HF_HUB_OFFLINE=1 NO_ALBUMENTATIONS_UPDATE=1

# `make figures` redraws the pictures of README and docs from the demo.
.PHONY: setup demo test test-all lint format figures benchmark lock clean

setup: $(INSTALLED)

$(INSTALLED): requirements.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 10) <= v < (3, 13) else "icm needs Python 3.10 to 3.12, not %d.%d: make PYTHON=python3.11" % v[:2])'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv==$(UV_VERSION)
	$(BIN)/uv pip sync --compile-bytecode --python $(BIN)/python requirements.txt
	@touch $@

demo: setup
	$(OFFLINE) $(BIN)/python evaluate.py -m experiment=demo hydra.sweep.dir=outputs/demo

test: setup lint
	$(OFFLINE) $(BIN)/python -m pytest

test-all: setup lint
	$(OFFLINE) $(BIN)/python -m pytest -m ''

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: setup
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

figures: demo
	PYTHONPATH=. $(BIN)/python docs/figures.py outputs/demo

benchmark: setup
	$(OFFLINE) $(BIN)/python -m benchmarks

lock:
	uv pip compile --universal --python-version 3.10 --upgrade requirements.in -o requirements.txt

clean:
	rm -rf outputs .pytest_cache .ruff_cache .hypothesis
