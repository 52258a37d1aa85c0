# One door to the repository: people and CI call the same targets. `make help` lists them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:

VENV := .venv
PY := $(VENV)/bin/python
BUILD := .quittance/build
# The first interpreter on the PATH that is new enough; PYTHON=/path/to/python decides otherwise.
PYTHON ?= $(firstword $(foreach name,python3 python3.14 python3.13 python3.12 python3.11,\
	$(shell $(name) -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1 && command -v $(name))))

MEMBERS := libs/contracts libs/kit libs/ui libs/stack gateway $(sort $(patsubst %/pyproject.toml,%,$(wildcard services/*/pyproject.toml)))
PROTO_FILES := $(shell find protos -name '*.proto' 2>/dev/null)
CONTRACTS := libs/contracts/quittance
ENV_STAMP := $(VENV)/.locked
MEMBERS_STAMP := $(VENV)/.members
PROTOS_STAMP := $(CONTRACTS)/.stamp
GOOGLEAPIS_STAMP := $(BUILD)/googleapis/.stamp
ASSETS_STAMP := libs/ui/ui/static/vendor/.stamp
READY := $(MEMBERS_STAMP) $(PROTOS_STAMP)

.PHONY: help up test test-rule test-service test-bus test-contract test-flow test-browser test-long lint format protos assets lock \
	api-key bench buf-breaking clean

help: ## List every target
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

up: $(READY) $(ASSETS_STAMP) ## Start the whole platform on this machine (Ctrl-C stops it)
	@exec $(PY) -m stack up

api-key: $(READY) ## Print one administrator's API key of the sample group
	@$(PY) -m stack api-key

# ---- tests -----------------------------------------------------------------------------------------------------------
TESTABLE := $(READY) $(ASSETS_STAMP) $(GOOGLEAPIS_STAMP)
# More for pytest, such as make test-service ARGS="services/ledger -k allocate".
ARGS ?=

test: $(TESTABLE) ## Run all levels of tests, cheap ones first
	@$(PY) -m pytest -q $(ARGS)

test-rule: $(READY) ## Pure rules, no I/O
	@$(PY) -m pytest -q --level rule $(ARGS)

test-service: $(READY) ## Each service alone on a real PostgreSQL
	@$(PY) -m pytest -q --level service $(ARGS)

test-bus: $(READY) ## The kit on real PostgreSQL, NATS and Valkey
	@$(PY) -m pytest -q --level bus $(ARGS)

test-contract: $(TESTABLE) ## Contracts, import rules, row security, docs
	@$(PY) -m pytest -q --level contract $(ARGS)

test-flow: $(TESTABLE) ## All processes on this machine, over HTTP and SMTP
	@$(PY) -m pytest -q --level flow $(ARGS)

test-browser: $(TESTABLE) ## The real pages in Chromium
	@$(PY) -m pytest -q --level browser $(ARGS)

test-long: $(TESTABLE) ## Rules and services with ten times as many examples, steps and bad rows
	@QUITTANCE_LONG=1 $(PY) -m pytest -q --timeout=3600 --level rule --level service $(ARGS)

bench: $(READY) ## Seconds per stage of importing 100,000 items, and the ratio to a raw COPY
	@$(PY) tests/bench/import_bench.py

# ---- environment -----------------------------------------------------------------------------------------------------
$(VENV)/bin/uv:
	@$(or $(PYTHON),false) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { echo "Quittance needs Python 3.11 or newer: install it, or say where it is with PYTHON=/path/to/python make $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "==> virtual environment (.venv, $$($(PYTHON) --version))"
	@$(PYTHON) -m venv --clear $(VENV) || { echo "python could not make a virtual environment: install its venv module (Debian, Ubuntu: apt install python3-venv)" >&2; exit 1; }
	@mkdir -p $(BUILD)
	@awk '/^uv==/ {on = 1} on {print} on && !/\\$$/ {exit}' requirements.lock > $(BUILD)/uv.txt
	@$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r $(BUILD)/uv.txt
	@touch $@

$(ENV_STAMP): requirements.lock | $(VENV)/bin/uv
	@echo "==> packages (requirements.lock)"
	@$(VENV)/bin/uv pip install --quiet --python $(PY) --require-hashes -r requirements.lock
	@touch $@

$(MEMBERS_STAMP): $(ENV_STAMP) $(addsuffix /pyproject.toml,$(MEMBERS))
	@echo "==> members of the workspace"
	@mkdir -p $(CONTRACTS)
	@$(VENV)/bin/uv pip install --quiet --python $(PY) --no-deps --no-build-isolation --no-index $(addprefix -e ,$(MEMBERS))
	@touch $@

lock: | $(VENV)/bin/uv ## Resolve all members' dependencies anew into requirements.lock (hashes, no registry)
	@UV_CUSTOM_COMPILE_COMMAND="make lock" $(VENV)/bin/uv pip compile --quiet --universal --generate-hashes --no-annotate --group dev --constraints libs/stack/constraints.txt \
		--python-version 3.11 $(if $(UPGRADE),--upgrade) $(addprefix --no-emit-package ,$(shell sed -n 's/^name = "\(.*\)"/\1/p' $(addsuffix /pyproject.toml,$(MEMBERS)))) \
		pyproject.toml -o requirements.lock
	@echo "requirements.lock: $$(grep -c '^[a-z0-9].*==' requirements.lock) packages"

# ---- generated things ------------------------------------------------------------------------------------------------
protos: $(PROTOS_STAMP) ## Generate libs/contracts from protos/
# Made beside and moved into place, so that nobody imports a half-written package.
$(PROTOS_STAMP): $(PROTO_FILES) $(ENV_STAMP)
	@echo "==> contracts (protos/ -> libs/contracts)"
	@rm -rf $(BUILD)/contracts && mkdir -p $(BUILD)/contracts
	@$(PY) -m grpc_tools.protoc -I protos -I $$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))') \
		--python_out=$(BUILD)/contracts --pyi_out=$(BUILD)/contracts --grpc_python_out=$(BUILD)/contracts \
		--include_source_info --include_imports --descriptor_set_out=$(BUILD)/contracts/quittance/descriptors.binpb $(PROTO_FILES) \
		|| { rm -rf $(BUILD)/contracts; exit 1; }
	@rm -rf $(BUILD)/contracts.old && { [ ! -e $(CONTRACTS) ] || mv $(CONTRACTS) $(BUILD)/contracts.old; } && mv $(BUILD)/contracts/quittance $(CONTRACTS)
	@rm -rf $(BUILD)/contracts $(BUILD)/contracts.old && touch $@

$(GOOGLEAPIS_STAMP): $(ENV_STAMP)
	@rm -rf $(BUILD)/googleapis && mkdir -p $(BUILD)/googleapis/google/api
	@cp $$($(PY) -c 'import google.api, pathlib; print(list(google.api.__path__)[0])')/{annotations,http}.proto $(BUILD)/googleapis/google/api/
	@touch $@

assets: $(ASSETS_STAMP) ## Copy the pinned front-end packages into libs/ui
$(ASSETS_STAMP): package.json package-lock.json libs/stack/stack/assets.py $(ENV_STAMP)
	@echo "==> web assets (package-lock.json)"
	@PATH="$$PATH:$(CURDIR)/$(VENV)/bin" $(PY) libs/stack/stack/assets.py

# ---- checks ----------------------------------------------------------------------------------------------------------
lint: $(READY) $(GOOGLEAPIS_STAMP) ## Style, types, import rules and contracts
	@$(VENV)/bin/ruff check .
	@$(VENV)/bin/ruff format --check .
	@$(VENV)/bin/mypy $(filter-out %/tests,$(patsubst %/__init__.py,%,$(foreach member,$(filter-out libs/contracts,$(MEMBERS)),$(wildcard $(member)/*/__init__.py))))
	@$(VENV)/bin/lint-imports --no-cache
	@$(VENV)/bin/buf lint

format: $(ENV_STAMP) ## Rewrite the Python files in the house style
	@$(VENV)/bin/ruff check --fix --quiet . || true
	@$(VENV)/bin/ruff format .

buf-breaking: $(READY) $(GOOGLEAPIS_STAMP) ## Refuse contracts that break those of the main branch
	@rm -rf $(BUILD)/against && mkdir -p $(BUILD)/against/.quittance/build
	@git archive $(or $(AGAINST),main) protos buf.yaml | tar -x -f - -C $(BUILD)/against
	@cp -r $(BUILD)/googleapis $(BUILD)/against/.quittance/build/googleapis
	@$(VENV)/bin/buf breaking --against $(BUILD)/against

clean: ## Remove everything that was made, data included
	rm -rf .venv .quittance $(CONTRACTS) libs/ui/ui/static/vendor node_modules .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
