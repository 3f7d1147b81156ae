# `make demo` and `make test` are all a newcomer needs; every target makes its own environment.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Spinning OpenMP threads are many times slower than waiting ones on a shared machine.
export OMP_WAIT_POLICY ?= PASSIVE
PORT ?= 8000

.PHONY: help install demo test test-full test-kernels check format clean

help:
	@echo "make demo       simulate a market, train, evaluate, serve at http://127.0.0.1:$(PORT)/"
	@echo "make test       the suite (under 5 minutes)"
	@echo "make test-full  and what needs servers, a browser, real data or minutes"
	@echo "make test-kernels  the suite again as on an older processor"
	@echo "make check      lint, types, import contract, sizes"

install: $(VENV)/.installed

# The constraints file pins every version; torch comes first, since an unpinned one brings gigabytes of CUDA.
$(VENV)/.installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[cpu,dev]"
	touch $@

demo: install
	$(BIN)/podium demo --port $(PORT)

test: install
	$(BIN)/pytest -m "not full" -n 2 --dist loadgroup

test-full: install
	PODIUM_TESTS=full $(BIN)/pytest -n 2 --dist loadgroup

test-kernels: install
	$(BIN)/python -m tests.other_kernels $(BIN)/pytest -m "not full" -n 2 --dist loadgroup

check: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) demo .pytest_cache .mypy_cache .ruff_cache .hypothesis
