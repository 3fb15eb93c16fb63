# codi-int: make demo, make test. Each does all its own set-up in .venv and leaves nothing outside this folder.
# For a torch without CUDA, some gigabytes smaller: make demo TORCH_INDEX=<the index of PyTorch's CPU wheels>

PYTHON ?= python3
TORCH_INDEX ?=
BIN := .venv/bin
READY := .venv/.ready

export XDG_CACHE_HOME := $(CURDIR)/.cache
export XDG_CONFIG_HOME := $(CURDIR)/.cache/config
export MPLCONFIGDIR := $(CURDIR)/.cache/matplotlib
export HF_HOME := $(CURDIR)/.cache/huggingface
export TRITON_HOME := $(CURDIR)/.cache
export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export PYTEST_DEBUG_TEMPROOT := $(CURDIR)/.cache/tmp
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test check resolve wheel reference docs bench clean

demo: $(READY)  ## ablate one feature of a continuous thought and see what it does to 1,495 answers
	$(BIN)/codi-int ablate --feature 449 --layer 14
	@echo
	@echo "A feature that does change answers, at another site:"
	@echo "    $(BIN)/codi-int ablate --feature 449 --layer 10 --position 5"

# one thread for each worker: the models of the tests are too small to gain from a second one
test: $(READY)  ## the whole test suite
	mkdir -p $(PYTEST_DEBUG_TEMPROOT)
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/python -m pytest -q -n auto --maxprocesses 4 --dist loadfile

check: $(READY)  ## style and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

resolve: $(READY)  ## does the pinned set install elsewhere, for every supported Python? (a dry run: nothing is installed)
	$(BIN)/python scripts/resolve.py

wheel: $(READY)  ## sdist and wheel, installed into another environment and run from there
	$(BIN)/python scripts/check_wheel.py --borrow

reference: $(READY)  ## write docs/reference again: API, commands, glossary
	$(BIN)/python scripts/reference.py

docs: $(READY)  ## the site, in build/docs: built without a network, a warning or a dead link fails
	$(BIN)/python -c "import furo, myst_parser, sphinx" 2> /dev/null || $(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	$(BIN)/python -m sphinx -W --keep-going -E -q -b html docs build/docs
	@echo "build/docs/index.html"

bench: $(READY)  ## every number in the docs, printed again (see benchmarks/README.md)
	$(BIN)/python benchmarks/run_all.py

clean:
	rm -rf .venv .cache .pytest_cache .mypy_cache .ruff_cache

# torch comes first, so that it can be taken from an index of its own; what else it needs comes with it
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--index-url $(TORCH_INDEX)) torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(READY)
