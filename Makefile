# The common tasks in a checkout; it needs only make and python3.

PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
READY   := $(VENV)/.ready
ARGS    ?=
WORKERS ?= 2
# The tests run in WORKERS processes; more threads in total than cores would slow them down.
THREADS ?= 1
BENCH   ?= training
LABEL_STUDIO ?= 1.23.2
FIGURES ?= outputs/$(BENCH).json
SUDO    := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.DEFAULT_GOAL := help
.PHONY: help setup train test check lowest audit docs model bench fuzz atheris faults label-studio system clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(READY) ## create .venv and install the project and its tools into it (once)

# The stamp is written last, so a failed installation is repeated; a changed pyproject.toml causes a new installation.
# Without --no-compile, pip compiles 27,000 modules, a minute of work; Python compiles those that are used, at their first import.
$(READY): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "make setup: $(PYTHON) is older than Python 3.11; name another one, as in: make setup PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -m venv $(VENV) || \
		{ echo "make setup: $(PYTHON) can't make a virtual environment; on Debian and Ubuntu install python3-venv" >&2; exit 1; }
	@echo "installing Haltung and what it needs into $(VENV): a few minutes the first time"
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile -e '.[dev]'
	@touch $@

train: setup ## train the embedded encoder on the embedded corpus (ARGS='seed=1,2,3' to override keys)
	$(BIN)/haltung train $(ARGS)

test: setup ## run all tests (ARGS='-k splits' for some)
	OMP_NUM_THREADS=$(THREADS) $(BIN)/python -m pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder $(ARGS)

check: setup ## check lint and security rules (bandit's), format, types, and the layers of imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# Not in .ci/run, since it downloads some gigabytes. Only direct dependencies have their lowest version, indirect ones the latest.
LOW := tests/test_imports.py tests/export/test_verify.py \
	tests/export/test_export_command.py::test_a_run_becomes_a_bundle_that_verifies tests/serving/test_start.py::test_a_served_bundle_needs_no_writable_place

lowest: ## run some of the tests with the lowest versions that pyproject.toml allows, in build/lowest
	$(PYTHON) -m venv build/lowest
	build/lowest/bin/python -m pip install --quiet --disable-pip-version-check uv
	build/lowest/bin/uv pip install --quiet --python build/lowest/bin/python --resolution lowest-direct -e '.[export,serve,events,sheets]'
	build/lowest/bin/uv pip install --quiet --python build/lowest/bin/python pytest hypothesis httpx psutil 'cyclonedx-python-lib[json-validation]'
	build/lowest/bin/python -m pytest $(LOW) $(ARGS)

audit: setup ## look up the installed versions in PyPI's database of known vulnerabilities, in build/audit
	@$(PYTHON) -m venv build/audit
	@build/audit/bin/python -m pip install --quiet --disable-pip-version-check pip-audit
	@$(BIN)/python -m pip list --format=freeze --exclude-editable | sed 's/+.*//' > build/audit/installed.txt
	@build/audit/bin/pip-audit --strict --no-deps --disable-pip --requirement build/audit/installed.txt $(ARGS) || \
		{ echo "make audit: not clean: a version above has a known vulnerability, or could not be looked up, so that nothing is known of it" >&2; exit 1; }

docs: setup ## build the manual as a site, strictly: build/site/index.html
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[docs]'
	$(BIN)/python -m sphinx -E -W --keep-going -q -b html -c docs . build/site
	@echo "open build/site/index.html"

model: setup ## retrain the shipped model news_de (needs the real texts: HALTUNG_SOURCES=FOLDER); an hour on two cores
	sh data/models/make.sh $(BIN)

bench: setup ## run a benchmark (BENCH=training, inference or neighbour; see benchmarks/README.md) and store its figures (FIGURES=FILE)
	$(BIN)/python benchmarks/$(BENCH).py --json $(FIGURES) $(ARGS)

fuzz: setup ## fuzz readers, schemes, configs, bundles and the server with 100,000 randomly broken inputs (ARGS='--cases 2000 --only jsonl,scheme')
	PYTHONPATH=tests $(BIN)/python tests/faults/fuzz.py $(ARGS)

atheris: setup ## fuzz the same parts with coverage-guided inputs (ARGS='--runs 20000 --only jsonl,scheme'), in build/atheris
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --upgrade --target build/atheris 'atheris>=3,<4'
	PYTHONPATH=tests:build/atheris $(BIN)/python tests/faults/guided.py $(ARGS)

faults: setup ## kill each writing command 30 times, fill its disk, make its folder read-only, remove its input (ARGS='--only train --kills 5')
	PYTHONPATH=tests $(BIN)/python tests/faults/killed.py $(ARGS)

label-studio: setup ## label in a real Label Studio (LABEL_STUDIO=VERSION) and read its export: minutes, 1 GB in build/
	@$(PYTHON) -m venv build/label-studio
	build/label-studio/bin/python -m pip install --quiet --disable-pip-version-check label-studio==$(LABEL_STUDIO)
	HALTUNG_LABEL_STUDIO=$(CURDIR)/build/label-studio/bin/label-studio $(BIN)/python -m pytest tests/experiments/labelling/test_label_studio.py $(ARGS)

system: ## install system packages for some checks and tests: a C compiler, hunspell with German dictionaries, OpenSSL, chromium, Node.js, PostgreSQL, strace, curl
	@missing=; \
	printf '#include <math.h>\nint main(void) { return 0; }\n' | cc -x c - -o /dev/null 2>/dev/null || missing="gcc libc6-dev"; \
	for country in DE AT CH; do \
		echo gut | hunspell -d de_$$country -i utf-8 -l >/dev/null 2>&1 || missing="$$missing hunspell hunspell-de-de hunspell-de-at hunspell-de-ch"; \
	done; \
	command -v openssl >/dev/null || missing="$$missing openssl"; \
	command -v chromium >/dev/null || missing="$$missing chromium"; \
	command -v strace >/dev/null || missing="$$missing strace"; \
	command -v curl >/dev/null || missing="$$missing curl"; \
	command -v npm >/dev/null || missing="$$missing nodejs npm"; \
	ls /usr/lib/postgresql/*/bin/pg_ctl >/dev/null 2>&1 || command -v pg_ctl >/dev/null || missing="$$missing postgresql"; \
	if [ -z "$$missing" ]; then echo "make system: all of it is there, nothing to do"; \
	elif command -v apt-get >/dev/null; \
	then $(SUDO) apt-get update -qq && $(SUDO) env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing; \
	else echo "make system: there is no apt-get here; install by your system's own means what Debian calls $$missing" >&2; exit 1; fi

clean: ## remove caches, built packages and prepared corpora (never a run, never .venv)
	rm -rf build dist data/prepared .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +
