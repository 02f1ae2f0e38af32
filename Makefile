# Every target does its own set-up: a fresh machine needs Python >= 3.11, make and a package index, no more.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
RUN    := $(VENV)/.run-time
DEV    := $(VENV)/.development
PROFILE ?= fuzz
# From Python 3.12 on, coverage.py measures at next to no cost, and greenlets need no care.
MEASURED = $(shell $(BIN)/python -c 'import sys; print("COVERAGE_CORE=sysmon COVERAGE_TASKS=thread" * (sys.version_info >= (3, 12)))')

.PHONY: demo test coverage real kernels built-kernels fuzz fuzz-coverage lint docs dist bench mutants golden manual clean

demo: $(RUN)             ## the main job: request_module() end to end on two compiled modules
	PYTHONPATH=src $(BIN)/python -m ukmod demo

test: $(DEV)             ## the suite, without what compares with a real kernel and the C kmod
	$(BIN)/python -m pytest -n auto --dist loadgroup -m "not real"

coverage: $(DEV)         ## the suite as make test runs it; fails if it reaches too few of the lines
	$(BIN)/python -m coverage erase
	$(MEASURED) $(BIN)/python -m coverage run -m pytest -n auto --dist loadgroup -m "not real"
	$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report

real: $(DEV)             ## what compares with a real kernel and the C kmod; sets those up first
	tools/debian.sh
	UKMOD_REQUIRE=real $(BIN)/python -m pytest -n auto --dist loadgroup --durations=25 --durations-min=5 -m "real and not kernels"

kernels: $(DEV)          ## fetches more kernels, from 5.10 to the newest (tools/kernels; 700 MB), and tests with them
	tools/debian.sh
	tools/debian.sh kernels
	$(BIN)/python -m pytest -n auto --dist loadgroup -m kernels

built-kernels: $(DEV)    ## builds kernels with other options than Debian's (tools/configurations), and tests with them
	tools/built-kernels.sh
	$(BIN)/python -m pytest -n auto --dist loadgroup -m kernels tests/real/test_built_kernels.py

fuzz: $(DEV)             ## what any input may do to the parsers, and any call to the kernel, at ten times the length; PROFILE=night: at a hundred times
	$(BIN)/python -m pytest -n auto -m "fuzz and not real" --hypothesis-profile=$(PROFILE) $(if $(filter night,$(PROFILE)),--timeout=0)

fuzz-coverage: $(DEV)    ## PARSER=elf|index|archive|... [OPTIONS=-max_total_time=60]: fuzz it by atheris, guided by coverage
	$(BIN)/python -m pip install -q --group coverage-fuzz
	$(BIN)/python tools/coverage_fuzz.py $(PARSER) $(OPTIONS)

lint: $(DEV)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(DEV)             ## the documentation site, in .cache/site
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

dist: $(DEV)             ## the sdist and the wheel, in dist; installs the wheel with its extras, and runs it
	rm -rf dist .cache/installed
	$(BIN)/python -m build --no-isolation
	$(BIN)/python -m twine check --strict dist/*
	$(PYTHON) -m venv .cache/installed
	.cache/installed/bin/python -m pip install -q "$$(echo dist/*.whl)[all]"
	.cache/installed/bin/ukmod demo >/dev/null

bench: $(DEV)            ## ratios against C kmod, QEMU and bare Unicorn, side by side
	$(BIN)/python -m benchmarks

mutants: $(DEV)          ## FILE=src/ukmod/...py [TESTS=...]: which changes of a file do its tests not notice?
	$(BIN)/python -m pip install -q --group mutants
	$(BIN)/python tools/mutants.py $(FILE) $(TESTS)

golden: $(DEV)           ## what a real kernel does, made again; RELEASE=6.1.0-NN-amd64: by another kernel
	tools/golden.sh $(RELEASE)

manual: $(DEV)           ## the manual pages and the shells' completion in share/, made again
	$(BIN)/python tools/manual.py

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)

$(RUN): pyproject.toml | $(BIN)/python
	$(BIN)/python tools/requirements.py machine >$(VENV)/requirements.txt
	$(BIN)/python -m pip install -q -r $(VENV)/requirements.txt
	touch $@

$(DEV): pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -e '.[all]' --group dev
	touch $(RUN) $@

clean:
	rm -rf $(VENV) dist .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
