# The two commands are `make bench` and `make test`; `make help` lists all.
PYTHON ?= python3
BENCH ?= auto
ARGS ?=
CARD ?= defenses defenses_backdoor defenses_membership
BIN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help setup bench card plan report claims profiles gpu perf perf-attacks perf-memory statistics price lineage \
	test test-slow test-gpu test-parity test-audit test-browser test-ray test-docs docs outputs examples gallery \
	check format sbom dist release-check container

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: .venv/.run ## make .venv with what a bench needs (every target below does it by itself)

bench: .venv/.run ## run a bench: BENCH=name (by itself: digits on a CUDA device, else embedded), ARGS="key=value ..."
	@$(BIN)/tl-robust run $(BENCH) $(ARGS)

card: .venv/.run ## what every defense does to all three threats: runs the benches of CARD, then makes their card; ARGS
	@for bench in $(CARD); do $(BIN)/tl-robust run $$bench $(ARGS) || exit $$?; done
	@$(BIN)/tl-robust card $(CARD) $(ARGS)

plan: .venv/.run ## show what would run and what is done: BENCH, ARGS as above
	@$(BIN)/tl-robust plan $(BENCH) $(ARGS)

report: .venv/.run ## write tables, report and docs/BENCH.svg again from the store: BENCH, ARGS as above
	@$(BIN)/tl-robust report $(BENCH) $(ARGS) --figure docs

claims: .venv/.run ## judge the claims of the literature on a bench's results: BENCH, ARGS as above
	@$(BIN)/tl-robust claims $(BENCH) $(ARGS)

profiles: .venv/.run ## run a bench under the profiles kdd20 and default and show the differences: BENCH, ARGS
	@$(BIN)/tl-robust profiles $(BENCH) $(ARGS)

gpu: .venv/.dev ## on a CUDA device: GPU tests, speed, digits with five seeds, docs/gpu.md; resumable; ARGS=--one: one step
	$(BIN)/python experiments/gpu.py $(ARGS)

perf: .venv/.dev perf-attacks ## speed of loader and attacks beside other libraries: results/perf/perf.json
	$(BIN)/python experiments/perf/loader.py

perf-attacks: .venv-parity/.parity ## attacks beside torchattacks and foolbox, added to results/perf/perf.json
	.venv-parity/bin/python experiments/perf/attacks.py $(ARGS)

perf-memory: .venv/.dev ## memory of a set as large as ImageNet32 (8 GB of disk, 2 minutes)
	$(BIN)/python experiments/perf/memory.py $(ARGS)

test: .venv/.dev ## run the tests; COVERAGE=1 measures coverage of the package too, and takes half as long again
	$(BIN)/python -m pytest -n auto --dist loadfile $(if $(COVERAGE),--cov --cov-report=term-missing:skip-covered) $(ARGS)

test-slow: .venv/.dev ## run the tests that take minutes (killed runs)
	$(BIN)/python -m pytest -n auto --dist loadfile -m slow $(ARGS)

test-gpu: .venv/.dev ## run the tests that need a CUDA device
	$(BIN)/python -m pytest -m gpu $(ARGS)

test-parity: .venv-parity/.parity ## compare attacks with other libraries, in .venv-parity
	.venv-parity/bin/python -m pytest -m parity tests/parity $(ARGS)

test-audit: .venv-audit/.audit ## audits beside transformers, timm, peft and the official schemas, in .venv-audit
	.venv-audit/bin/python -m pytest -n auto --dist loadfile tests/audit tests/auditor tests/models \
		tests/bench/test_published_checkpoints.py tests/bench/test_victim_from_file.py $(ARGS)

test-browser: .venv/.browser ## look at the report in Chromium (Debian: apt install chromium chromium-driver)
	$(BIN)/python -m pytest -m browser tests/browser $(ARGS)

test-ray: .venv/.ray ## run the tests that start Ray clusters on this machine (three minutes)
	$(BIN)/python -m pytest -m ray tests/engines $(ARGS)

docs: .venv/.docs ## build the documentation: site/index.html, which needs no network
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Documentation: site/index.html"

test-docs: .venv/.docs ## build the documentation, check its links, run its examples
	$(BIN)/python -m pytest -m docs $(ARGS)

outputs: .venv/.run ## run benches again and keep what they print for their pages: BENCH=NAME, ARGS="--folder FOLDER"
	$(BIN)/python experiments/outputs.py $(ARGS) $(filter-out auto,$(BENCH))

examples: .venv/.dev ## run the scripts of examples/ and write their pages (ARGS=own_pair: one of them; two minutes)
	$(BIN)/python experiments/examples.py $(ARGS)

gallery: .venv/.browser ## pictures of real reports for docs/gallery.md (ten minutes on two cores; needs chromium): docs/gallery/
	$(BIN)/python experiments/gallery.py $(ARGS)

sbom: .venv/.dev ## bill of materials of what is installed: sbom.cdx.json (ARGS="--extra ray": with an extra)
	@$(BIN)/python experiments/sbom.py $(ARGS)

dist: .venv/.dev ## source archive, and the wheel that it makes: dist/
	@rm -rf build dist
	@$(BIN)/python -c "from setuptools import build_meta; build_meta.build_sdist('dist')" > /dev/null
	@$(BIN)/python -m pip --quiet --disable-pip-version-check wheel --no-deps --no-build-isolation --wheel-dir dist dist/*.tar.gz
	@ls dist

release-check: .venv/.dev ## version, changelog and citation agree, contents of both archives, bill of materials (docs/release.md)
	$(BIN)/python -m pytest -q -m "slow or not slow" tests/test_release.py tests/test_packaging.py tests/audit/test_sbom.py \
		tests/test_container.py

container: ## build the image tl_robust, which runs make bench, with podman or docker
	@for tool in podman docker; do \
		if $$tool info > /dev/null 2>&1; then exec $$tool build $(ARGS) --file Containerfile --tag tl_robust .; fi; \
	done; echo "error: neither podman nor docker answers here: install one, or start its service." >&2; exit 2

price: .venv/.run ## audits of MNIST to USPS and SVHN to meter digits (ARGS="--root FOLDER", ten minutes): docs/price.md
	$(BIN)/python experiments/price.py $(ARGS)

lineage: .venv/.run ## how often an audit finds the parent of a model (ten minutes; resumable): docs/lineage.md
	$(BIN)/python experiments/lineage/lineage.py $(ARGS)

statistics: .venv/.run ## coverage of intervals, false support and power of claims, by simulation (seven minutes): docs/statistics.md
	$(BIN)/python experiments/statistics/coverage.py $(ARGS)

check: .venv/.dev ## format, lint, types, layers
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/test_layers.py

format: .venv/.dev ## format the code and fix what lint can
	$(BIN)/ruff check --fix-only .
	$(BIN)/ruff format .

.venv/.run: pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; v >= (3, 11) or sys.exit(f"error: Python 3.11 or newer is needed, found {v.major}.{v.minor}: run make PYTHON=python3.11")'
	@echo "Installing into .venv (once; a few minutes and 6 GB, since torch is large)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable .
	@touch $@

.venv/.dev: .venv/.run
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

.venv/.browser: .venv/.dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,browser]'
	@touch $@

.venv/.docs: .venv/.dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,docs]'
	@touch $@

.venv/.ray: .venv/.dev
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,ray]'
	@touch $@

.venv-audit/.audit: pyproject.toml
	@echo "Installing into .venv-audit (once; torch is large)"
	@$(PYTHON) -m venv .venv-audit
	@.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check 'setuptools>=77'
	@.venv-audit/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[test-audit]'
	@touch $@

# Apart from .venv, since torchattacks wants an old release of requests. In two steps, since visdom, which adv-lib wants,
# builds with pkg_resources without saying so: setuptools had it up to 81.
.venv-parity/.parity: pyproject.toml
	@echo "Installing into .venv-parity (once; torch is large)"
	@$(PYTHON) -m venv .venv-parity
	@.venv-parity/bin/python -m pip install --quiet --disable-pip-version-check 'setuptools>=77,<82'
	@.venv-parity/bin/python -m pip install --quiet --disable-pip-version-check --no-build-isolation --editable '.[parity]'
	@touch $@
