# `make up` and `make test` are all you need. Both first install what they need.

PYTHON ?= $(shell command -v python3.11 || command -v python3 || echo python3)
PORT ?= 8080
DATA ?= .data
GATEWAYS ?= 3
ROOMS_API ?= 2
PACKAGE ?=
# Malicious or broken releases are usually found within days, so `make lock` skips releases of the last HOLD_DAYS days.
HOLD_DAYS ?= 7

BIN := .venv/bin
SERVICES := services/rooms-api services/realtime-gateway services/web
WRITE_LOOP := hatch_siblings.py services/realtime-gateway/hatch_build.py services/realtime-gateway/src/gifchat_realtime_gateway/engine/write_loop.c
LOCAL := contracts chassis $(SERVICES) cli
EDITABLE := $(foreach project,$(LOCAL),-e $(project))
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

OUR_SCRIPTS = $(shell git ls-files '*.js' '*.mjs' '*.d.ts' ':!**/vendor/**')
OUR_STYLES = $(shell git ls-files '*.css')

.PHONY: help up test coverage faults abuse lint format hooks docs bench screenshots lock system clean

help:  ## show this list
	@sed -nE 's/^([a-z]+):.*## (.*)/\1\t\2/p' $(MAKEFILE_LIST) | awk -F '\t' '{ printf "  make %-11s %s\n", $$1, $$2 }'

up: .venv/.local  ## start the whole system on http://localhost:8080 (PORT=, DATA=, GATEWAYS=, ROOMS_API=); Ctrl-C stops it
	@exec $(BIN)/gifchat up --port $(PORT) --data $(DATA) --gateways $(GATEWAYS) --rooms-api $(ROOMS_API)

# Coverage slows tests down, so `make coverage` leaves out the tests of whole systems, which have deadlines.
COVERED := tests/unit tests/ports tests/integration

test: .venv/.dev $(if $(COVERAGE),coverage)  ## run all tests (ARGS= are passed to pytest; COVERAGE=1 measures coverage too)
	$(BIN)/python -m pytest $(if $(COVERAGE),$(addprefix --ignore=,$(COVERED))) $(ARGS)

coverage: .venv/.dev  ## run unit, port and integration tests with branch coverage, and show the report (ARGS=)
	@$(BIN)/coverage erase
	$(BIN)/coverage run -m pytest $(COVERED) $(ARGS)
	@$(BIN)/coverage combine --quiet
	@$(BIN)/coverage report
	@.ci/coverage-floor

faults: .venv/.dev  ## break everything under load, and write docs/faults.md (ARGS="--seeds 20 --jobs 2 --rows gateway")
	$(BIN)/python -m faults $(ARGS)

abuse: .venv/.dev  ## attack the embedded cluster as one client, and write docs/abuse.md (ARGS="--quick --attack history")
	$(BIN)/python -m abuse $(ARGS)

lint: .venv/.dev .venv/.node  ## check style, types and layers (CHECKS="ruff mypy" runs only these)
	@.ci/lint $(CHECKS)

format: .venv/.dev .venv/.node  ## format Python, and the pages' scripts and styles
	$(BIN)/ruff check --fix-only --quiet .
	$(BIN)/ruff format .
	@if [ -x node_modules/.bin/prettier ]; then \
	  node_modules/.bin/prettier --write --log-level=warn $(OUR_SCRIPTS) && node_modules/.bin/stylelint --fix $(OUR_STYLES); fi

hooks: .venv/.dev  ## install the Git hooks of .pre-commit-config.yaml
	$(BIN)/pre-commit install --install-hooks

docs: .venv/.dev  ## write the generated documents
	$(BIN)/python docs/generate.py

bench: .venv/.dev  ## compare with Node.js and stock python-socketio, and write benchmarks/README.md (ARGS=)
	@$(BIN)/python -m benchmarks $(ARGS)

screenshots: .venv/.dev  ## retake the pictures in docs/images/ (needs Chromium)
	SCREENSHOTS=1 $(BIN)/python -m pytest tests/e2e/test_browser.py -k screenshots

lock: .venv/.created  ## resolve dependencies into requirements/*.lock (PACKAGE=name updates one, HOLD_DAYS=7 skips releases of the last week)
	@test -x $(BIN)/uv || $(PIP) uv
	@$(MAKE) --no-print-directory $(addprefix lock-,rooms-api realtime-gateway web local dev old-clients build)

LOCAL_PROJECTS := $(addsuffix /pyproject.toml,$(LOCAL))
lock-rooms-api: LOCKED := services/rooms-api/pyproject.toml
lock-realtime-gateway: LOCKED := services/realtime-gateway/pyproject.toml
lock-web: LOCKED := services/web/pyproject.toml
lock-local: LOCKED := $(LOCAL_PROJECTS) requirements/build.in
lock-dev: LOCKED := $(LOCAL_PROJECTS) testkit/pyproject.toml requirements/dev.in
lock-old-clients: LOCKED := requirements/old-clients.in
lock-build: LOCKED := requirements/build.in
UPGRADE := $(if $(PACKAGE),$(addprefix --upgrade-package=,$(PACKAGE)),--upgrade)
lock-%:
	@echo "Locking requirements/$*.lock"
	@$(BIN)/uv pip compile --quiet $(UPGRADE) --exclude-newer "$(HOLD_DAYS) days" --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --no-header --no-annotate $(LOCKED) -o requirements/$*.lock

system:  ## install the system packages that tests and linters use (Debian and Ubuntu)
	@./.ci/system-packages

clean:  ## remove the environment, caches and the data of the embedded cluster
	@if [ -x $(BIN)/gifchat ]; then $(BIN)/gifchat down --data $(DATA); fi
	rm -f services/realtime-gateway/src/gifchat_realtime_gateway/engine/_write_loop.*.so
	rm -rf .venv $(DATA) faults/runs .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage* node_modules tests/e2e/node_modules benchmarks/build benchmarks/peers/node_modules benchmarks/peers/original/node_modules
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

.venv/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "GIF Chat needs Python 3.11 or newer, and $(PYTHON) is older or missing. Install it, or set PYTHON: make $(or $(MAKECMDGOALS),up) PYTHON=/path/to/python3.11" >&2; exit 2; }
	@echo "Creating .venv with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv .venv || { echo "Python's venv module is missing. On Debian: apt-get install python3-venv" >&2; exit 2; }
	@touch $@

.venv/.local: .venv/.created requirements/local.lock $(LOCAL_PROJECTS) $(WRITE_LOOP)
	@echo "Installing the services from requirements/local.lock"
	@$(PIP) --require-hashes -r requirements/local.lock
	@$(PIP) --no-deps --no-build-isolation $(EDITABLE)
	@touch $@

.venv/.dev: .venv/.local requirements/dev.lock requirements/old-clients.lock testkit/pyproject.toml
	@echo "Installing test dependencies from requirements/dev.lock"
	@$(PIP) --require-hashes -r requirements/dev.lock
	@rm -rf .venv/old-clients
	@$(PIP) --require-hashes --no-deps --target .venv/old-clients -r requirements/old-clients.lock
	@$(PIP) --no-deps --no-build-isolation -e testkit
	@touch $@

.venv/.node: .venv/.created package.json package-lock.json
	@if command -v npm >/dev/null; then \
	  echo "Installing the linters of the pages from package-lock.json"; \
	  if npm ci --silent; then touch $@; else echo "npm ci failed, so the linters of the pages are missing."; fi; \
	else echo "npm is not installed, so the linters of the pages are missing."; fi
