# `make demo` shows what asr does, `make test` checks it. Both install into .venv first.
VENV ?= .venv
BIN := $(VENV)/bin
FITS := import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c '$(FITS)' 2>/dev/null && echo $$python && break; done)
PIP := $(BIN)/python -m pip --disable-pip-version-check
# The versions that the tests have run with, so that an install gives tomorrow what it gives today.
INSTALL := $(PIP) install --quiet --constraint constraints.txt

.PHONY: demo train-demo test test-all format update clean

# The bundled model transcribes ten recordings: each transcript under its reference, and a page of the result.
demo: $(VENV)/.installed
	@$(BIN)/asr prepare table data/samples/samples.csv --out runs/demo --quiet > /dev/null
	@$(BIN)/asr evaluate runs/demo/samples.jsonl --show all --report runs/demo/report.html --audio
	@echo "Try it on a recording of yours: $(BIN)/asr transcribe FILE"

# Trains a model on the bundled digits, then transcribes and evaluates the test set.
train-demo: $(VENV)/.installed
	PATH="$(CURDIR)/$(BIN):$$PATH" bash recipes/digits/run.sh

test: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest

# `make test`, and the tests that take many seconds: recipes on tiny corpora, kills and restarts, damaged files.
test-all: $(VENV)/.installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -m "slow or not slow"

format: $(VENV)/.installed-dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Write constraints.txt anew: the newest versions that pyproject.toml allows. Use the oldest supported Python, whose
# versions the newer ones have too, and run `make test` afterwards.
update:
	rm -rf .venv-update
	$(PYTHON) -m venv .venv-update
	.venv-update/bin/python -m pip install --quiet '.[dev,tts,server,live,export,media,remote]'
	{ sed -n '/^#/p' constraints.txt; .venv-update/bin/python -m pip freeze --all | grep -vE '^(asr|pip) ?[=@]'; } > constraints.txt.new
	mv constraints.txt.new constraints.txt
	rm -rf .venv-update

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11, 3.12 or 3.13 found; install one, or give its path: make PYTHON=/path/to/python3.12" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing asr into $(VENV). torch is large: this takes a few minutes, once."
	$(INSTALL) --editable .
	@touch $@

$(VENV)/.installed-dev: pyproject.toml constraints.txt | $(BIN)/python
	@echo "Installing asr and the development tools into $(VENV). torch is large: this takes a few minutes, once."
	$(INSTALL) --editable '.[dev]'
	@touch $@ $(VENV)/.installed

clean:
	rm -rf $(VENV) runs tests/export/node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis
