# Every target does its own set-up: a fresh machine needs Python 3.11 or newer and make, nothing else.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2

.PHONY: setup demo test slow boards check docs dist format schema bench clean

setup: $(VENV)/.ready

$(VENV)/.ready: pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "demitasse needs Python 3.11 or newer: make PYTHON=python3.11")'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@

demo: setup
	$(BIN)/demitasse demo

test: setup
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(JOBS) -m 'not slow and not gpu'

slow: setup
	$(BIN)/python -m pytest -m 'slow and not gpu'

# Nets in C on simulated boards; a test that is skipped says which of Debian's packages is missing.
boards: setup
	$(BIN)/python -m pytest -m slow tests/export/c_source/test_boards.py
	$(BIN)/python benchmarks/bench_c.py

check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(MAKE) docs

# The site, in site/. A link, anchor or cross-reference that leads nowhere fails.
docs: setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

# What is published, in dist/: wheel and sdist, and whether an index would take them.
dist: setup
	rm -rf dist
	$(BIN)/python -m build --outdir dist
	$(BIN)/twine check --strict dist/*

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Regenerates the descriptor and the types of the messages after a change to caffe.proto.
schema: setup
	$(BIN)/python -m grpc_tools.protoc -Isrc/demitasse/caffe/schema --descriptor_set_out=src/demitasse/caffe/schema/caffe.bin caffe.proto
	$(BIN)/python -m demitasse.caffe.schema.stub

bench: setup
	for file in benchmarks/bench_*.py; do $(BIN)/python $$file || exit 1; done

clean:
	rm -rf $(VENV) demo build dist site src/*.egg-info
