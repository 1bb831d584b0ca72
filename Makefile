# Every target sets up what it needs by itself; a bare Debian machine needs python3, make and git.

SHELL := /bin/sh
VENV := .venv
PYTHON := $(VENV)/bin/python
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help
.PHONY: help demo record-demo deb test test-fast test-matrix test-bare fuzz explore lint bench docs alerts dashboards chart lock servers sbom audit clean

help: ## this list
	@sed -n 's/^\([a-z-]*\):.*## /  make \1\t/p' Makefile | expand -t 18

demo: $(VENV)/.package ## a recorded site: series from both schedulers, and a chargeback that adds up to capacity
	$(VENV)/bin/meterbridge demo

record-demo: servers ## the demo's data anew, from eight minutes of a real Slurm (root)
	$(PYTHON) -m tests.lab.record_demo

deb: $(VENV)/.package ## a Debian package with every library it runs with, for this machine's release, in dist/
	packaging/deb/build.sh dist

test: lint servers ## everything, with the real servers (METERBRIDGE_TEST_WITHOUT=slurm,... leaves some out), in one order
	$(PYTHON) -m pytest -p no:randomly --numprocesses 2 --dist loadfile $(TESTS)

test-fast: $(VENV)/.package ## what needs no server and is quick, in another order every time
	$(PYTHON) -m pytest -m "not server and not slow" --numprocesses 2 --dist loadfile

test-matrix: servers ## every source of Slurm on 22.05, 24.11 and 26.05 (root; unpacks newer suites under build/, once)
	$(PYTHON) -m tests.lab.suites
	METERBRIDGE_SLURM_MATRIX=1 $(PYTHON) -m pytest -p no:randomly tests/exporters/sources/test_slurm_contract.py

test-bare: $(VENV)/.package ## make demo and make test on a bare trixie and bookworm (root; BARE="--suite trixie --whole")
	$(PYTHON) -m tests.lab.bare $(BARE)

fuzz: $(VENV)/.package ## a million hostile inputs for each parser (hours; FUZZ="--runs 10000 --target spool")
	$(PYTHON) -m tests.fuzz $(FUZZ)

explore: servers ## the properties on many more examples, other ones in every run (hours)
	HYPOTHESIS_PROFILE=explore $(PYTHON) -m pytest --numprocesses 2 -m hypothesis

lint: $(VENV)/.package ## style, types and the direction of imports
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy
	$(VENV)/bin/lint-imports

bench: $(VENV)/.package ## speed and memory, as ratios measured side by side, also in build/bench.json
	$(PYTHON) -m tests.bench $(PARTS)

docs: $(VENV)/.package ## docs/metrics.md and docs/cli.md from the code
	$(PYTHON) -m tests.reference

alerts: $(VENV)/.package ## alerts/rules/ from alerts/groups/ and the thresholds
	$(PYTHON) -m alerts

dashboards: $(VENV)/.package ## dashboards/json from the code
	$(PYTHON) -m dashboards

chart: $(VENV)/.package ## the parts of helm/meterbridge that are made from rules, boards and comments
	$(PYTHON) -m helm.generate

COMPILE := $(VENV)/bin/uv pip compile --universal --python-version 3.11 --generate-hashes --no-emit-index-url \
    --no-emit-find-links --no-header --quiet --extra postgres --extra mariadb --extra grafana --extra dask

lock: $(VENV)/.package ## requirements.lock, and requirements-runtime.lock without the tools of development
	$(COMPILE) --group dev pyproject.toml -o requirements.lock
	$(COMPILE) --constraint requirements.lock pyproject.toml -o requirements-runtime.lock

SBOM := build
sbom: $(VENV)/.package ## what is shipped, as CycloneDX with licences: build/sbom.cdx.json and build/licences.tsv
	$(VENV)/bin/uv venv --quiet --clear --python $(PYTHON) $(SBOM)/runtime
	$(VENV)/bin/uv pip install --quiet --python $(SBOM)/runtime/bin/python --require-hashes -r requirements-runtime.lock
	$(VENV)/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application --gather-license-texts \
	    --output-reproducible --validate --output-file $(SBOM)/sbom.cdx.json $(SBOM)/runtime/bin/python
	$(PYTHON) packaging/licences.py $(SBOM)/sbom.cdx.json $(SBOM)/licences.tsv

audit: $(VENV)/.package ## known vulnerabilities of what the runtime lock pins; says so where the database is out of reach
	$(PYTHON) packaging/audit.py requirements-runtime.lock

servers: $(VENV)/.package ## the real servers that the tests start, through apt
	$(PYTHON) -m tests.lab.install

clean: ## remove what was made here (not the servers)
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache

$(VENV)/.python: tests/lab/venv.sh
	tests/lab/venv.sh $(VENV)
	touch $@

$(VENV)/.lock: $(VENV)/.python requirements.lock
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.lock
	touch $@

$(VENV)/.package: $(VENV)/.lock pyproject.toml
	$(PYTHON) -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	touch $@
