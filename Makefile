# Two commands do everything: `make demo` and `make test`. Both set up the environment first.
SHELL := /bin/sh
UV := $(shell command -v uv 2>/dev/null || echo .tools/bin/uv)
BIN := .venv/bin
DEMO ?= demo
EXTRAS := openslide dicom singlecell workflow slurm
# Results must not depend on how many threads a linear-algebra library takes.
export OMP_NUM_THREADS := 1
export OPENBLAS_NUM_THREADS := 1
# Nor should every process compile what it imports: a container may tell Python to keep no compiled modules.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: setup demo test quick lint types floors docs validation check coverage mutation bench wheel constraints reference \
	clean

setup: .venv/.ready

.tools/bin/uv:
	python3 -m venv .tools
	.tools/bin/pip install --quiet --disable-pip-version-check uv

# uv reads the Python version from .python-version and finds or fetches it.
.venv/.ready: pyproject.toml constraints.txt .python-version | $(if $(findstring .tools,$(UV)),.tools/bin/uv)
	$(UV) venv --quiet --allow-existing .venv
	VIRTUAL_ENV=$(CURDIR)/.venv $(UV) pip install --quiet -c constraints.txt -e '.[openslide,dicom,singlecell]' --group dev --group docs
	touch $@

demo: setup
	$(BIN)/pdbiomarker demo -o $(DEMO)

test: setup
	$(BIN)/python -m pytest -n 2 --dist worksteal

# The quick files of the rooms that read, pair, model and decide.
QUICK := $(addprefix tests/,noise normalize formula test_tables.py test_study.py test_plan.py test_study_clinical.py \
	test_pairing.py pairing/test_timing.py pairing/test_mix.py ihc/test_scores.py) \
	$(addprefix tests/mixed/test_,adjust.py basis.py bootstrap.py certified.py compat.py dupcor.py exact.py joint.py \
	means.py model.py moderate.py reml.py) \
	$(addprefix tests/decide/test_,aliasing.py judge.py operating.py rules.py trend.py checks.py) \
	$(addprefix tests/expression/test_,counts.py enrichment.py formats.py qc.py signatures.py values.py)
quick: setup  ## what a developer runs between edits
	$(BIN)/python -m pytest -n 2 -m "not slow and not browser and not slurm" $(QUICK)

# The kernels run twice: as machine code, and once more as they are written, for the lines that only Python sees.
KERNELS := $(addprefix tests/ihc/test_,labels.py candidates.py jpegscan.py objects.py amounts.py nuclei.py segmenters.py)
coverage: export COVERAGE_FILE := $(CURDIR)/.coverage
coverage: setup  ## at least 95 % of the lines and 90 % of the branches
	$(BIN)/coverage erase
	$(BIN)/python -m pytest -n 2 --dist worksteal --cov --cov-report=
	NUMBA_DISABLE_JIT=1 $(BIN)/python -m pytest -n 2 --cov --cov-append --cov-report= $(KERNELS)
	$(BIN)/coverage json --quiet -o .coverage.json
	$(BIN)/python tests/coverage_limits.py .coverage.json

mutation: setup  ## about an hour on 2 cores; results in tests/mutation/results.csv are of one such run
	$(BIN)/python tests/mutation/sample.py .coverage.mutants.json
	$(BIN)/python tests/mutation/run.py .coverage.mutants.json .coverage.mutants.csv

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

floors: setup
	$(BIN)/lint-imports

docs: setup  ## the documentation site, in docs/_build/html; a warning is an error
	$(BIN)/sphinx-build --quiet --fail-on-warning --keep-going -b html docs docs/_build/html

validation: setup  ## docs/validation.md: every claim measured again
	PYTHONPATH=tests $(BIN)/python -m tests.validation.dossier

check: lint types floors docs test

bench: setup
	$(BIN)/python benchmarks/bench_import.py
	$(BIN)/python benchmarks/mixed.py
	$(BIN)/python benchmarks/ihc.py
	$(BIN)/python benchmarks/bench_expression.py

# The wheel alone, in clean environments of every Python that we support: the demo, and a part of the tests at the
# highest and the lowest versions of what it needs. Interpreters that are not here must be installed first.
wheel: setup
	$(BIN)/python tests/packaging/environments.py --tests --resolution highest --resolution lowest-direct

# Pins without any download address, for every platform and Python version we support. Of the extras those that
# `setup` installs: the deep segmenters would pin torch and tensorflow for everybody.
constraints: | $(if $(findstring .tools,$(UV)),.tools/bin/uv)
	$(UV) pip compile --quiet --universal --python-version 3.12 --no-header --no-annotate --no-emit-index-url \
		--group dev --group docs $(addprefix --extra ,$(EXTRAS)) pyproject.toml -o constraints.txt

# Hashes of reference/MANIFEST.tsv, after a file of reference/ was changed on purpose.
reference: setup
	$(BIN)/python tests/reference_manifest.py

clean:
	rm -rf .venv .tools build dist demo .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
