# Everything a person types. `make` alone prints this list.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PROTOS  = $(shell find protos -name '*.proto' | sort)
SITE    = $(shell $(BIN)/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')

.DEFAULT_GOAL := help
.PHONY: help run test check generate generate-check contracts-check lint types imports drill bench mutants kafka topics dashboards sbom audit screenshots lock clean

help: ## print this list
	@awk -F':.*## ' '/^[a-z-]+:.*## /{printf "  make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(VENV)/.runtime ## start everything on this machine (Ctrl-C stops it)
	@$(BIN)/payctl up

test: $(VENV)/.dev ## run every test
	@$(BIN)/pytest

check: generate-check contracts-check lint types imports ## everything CI checks, without the tests

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or later is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv $(VENV)

$(VENV)/.runtime: $(VENV)/bin/python requirements.txt pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: $(VENV)/bin/python requirements-dev.txt pyproject.toml
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(VENV)/.runtime $@

generate: $(VENV)/.dev ## write generated/ from protos/
	@$(MAKE) --no-print-directory protoc OUT=generated

.PHONY: protoc
protoc:
	@rm -rf $(OUT)/payments && mkdir -p $(OUT)/payments
	@PATH="$(BIN):$$PATH" $(BIN)/python -m grpc_tools.protoc -Iprotos -I$(SITE) \
		--python_out=$(OUT) --grpc_python_out=$(OUT) \
		--mypy_out=quiet:$(OUT) --mypy_grpc_out=quiet,only_async:$(OUT) \
		--descriptor_set_out=$(OUT)/payments/contracts.binpb --include_imports --include_source_info \
		$(PROTOS)

.PHONY: api-docs
api-docs: $(VENV)/.runtime ## write docs/api.md from the contracts
	@$(BIN)/python -m rest_bridge.api_document docs/api.md

generate-check: $(VENV)/.dev ## fail if generated/ is not what protos/ say
	@rm -rf var/generated && $(MAKE) --no-print-directory protoc OUT=var/generated
	@diff -r -x __pycache__ var/generated generated && echo "generated/ is up to date"

contracts-check: $(VENV)/.dev ## buf lint and buf breaking on the descriptor images
	@BUF=$(BIN)/buf tests/contracts/check.sh

lint: $(VENV)/.dev ## ruff
	@$(BIN)/ruff check . && $(BIN)/ruff format --check .

types: $(VENV)/.dev ## mypy strict
	@$(BIN)/mypy

imports: $(VENV)/.dev ## the directions of the house
	@$(BIN)/lint-imports

kafka: $(VENV)/.dev ## run a real Apache Kafka on 127.0.0.1:9092 (needs java 17 and mvn; Ctrl-C stops it)
	@$(BIN)/python -m tests.support.kafka_run

topics: $(VENV)/.runtime ## create the gateway's topics on EVENTS_URL (kafka://...); more: payctl topics --help
	@$(BIN)/payctl topics

KILLS   ?= 40
SECONDS ?= 300
drill: $(VENV)/.dev ## kill everything while people pay; KILLS=1000 SECONDS=7200 SEED=7 for a long one
	@$(BIN)/python -m tests.drill --kills $(KILLS) --seconds $(SECONDS) $(if $(SEED),--seed $(SEED))

$(VENV)/.bench: $(VENV)/.dev requirements-bench.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-bench.txt
	@touch $@

bench: $(VENV)/.bench ## measure ourselves beside Envoy, FastAPI and pgbench (about ten minutes, a quiet machine)
	@$(BIN)/python -m benchmarks --pictures docs/pictures --document docs/benchmarks.md
	@$(BIN)/python -m benchmarks.store --document docs/benchmarks.md
	@$(BIN)/python -m benchmarks.khqr --document docs/benchmarks.md

mutants: $(VENV)/.dev ## plant ten faults that lose money, and show which test sees each
	@$(BIN)/python -m tests.mutants

dashboards: $(VENV)/.dev ## write deploy/grafana/ from its table
	@$(BIN)/python -m tests.deploy.dashboards

sbom: $(VENV)/.dev ## write var/sbom.json: what the image is made of (CycloneDX)
	@mkdir -p var
	@$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --output-reproducible --short-PURLs \
		--of JSON -o var/sbom.json requirements.txt && echo "var/sbom.json"

audit: $(VENV)/.dev ## hold what is locked against the list of known vulnerabilities (3: could not be asked)
	@$(BIN)/python -m tests.audit requirements.txt

screenshots: $(VENV)/.dev ## take the pictures of docs/pictures anew (needs chromium and a Khmer font)
	@$(BIN)/python -m tests.pages.pictures

lock: $(VENV)/.dev ## lock the dependencies anew, with hashes (needs uv)
	uv pip compile --generate-hashes --universal --no-header -q pyproject.toml --python-version 3.11 -o requirements.txt
	uv pip compile --generate-hashes --universal --no-header -q pyproject.toml --extra dev --python-version 3.11 -c requirements.txt -o requirements-dev.txt
	uv pip compile --generate-hashes --universal --no-header -q pyproject.toml --extra dev --extra bench --python-version 3.11 -c requirements-dev.txt -o requirements-bench.txt

clean: ## remove the virtual environment and everything under var/
	rm -rf $(VENV) var
