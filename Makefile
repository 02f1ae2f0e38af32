# Every target does its own set-up: a fresh machine needs Python >= 3.11 and make, no more.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed

.PHONY: demo test fuzz lint bench real clean

demo: $(STAMP)            ## the main job: request_module() end to end on two compiled modules
	$(BIN)/ukmod demo

test: $(STAMP)            ## the whole suite; what needs a real kernel is skipped, loudly, where it is absent
	$(BIN)/python -m pytest -n auto

fuzz: $(STAMP)            ## what any input may do to the parsers, at ten times the length
	$(BIN)/python -m pytest -n auto -m "fuzz and not real" --hypothesis-profile=fuzz tests/kmod tests/machine tests/kernel/image

real: $(STAMP)            ## only what compares with a real kernel and the C kmod; sets those up first
	tools/debian.sh
	$(BIN)/python -m pytest -n auto -m real

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

bench: $(STAMP)           ## ratios against C kmod, QEMU and bare Unicorn, side by side
	$(BIN)/python -m benchmarks

$(STAMP): pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install -q --upgrade pip
	$(BIN)/python -m pip install -q -e '.[all]' --group dev
	touch $@

clean:
	rm -rf $(VENV) .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
