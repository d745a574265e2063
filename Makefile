# Every target makes what it needs: `make demo` and `make test` work on a fresh machine with Python 3.11.
PYTHON ?= python3
VENV := .venv
BENCH := .venv-bench
BIN := $(VENV)/bin
URL ?=
REGION ?=
# Test processes at once, more than there are cores: much of a test is waiting. JOBS=0 runs all in one.
JOBS ?= 6
ROUNDS ?= 100
SECONDS ?= 60

# Tests start Python many hundreds of times, which would compile all modules each time where PYTHONDONTWRITEBYTECODE is set, and
# those that run at once on a fresh clone.
COMPILE = $(BIN)/python -m compileall -q -j 0 core adapters schema_registry contracts examples tests

.DEFAULT_GOAL := help
.PHONY: help demo test test-containers test-aws check conformance mutants flakes bench soak fuzz docs brokers brokers-down format lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(VENV)/.ready ## the main job on real input: 27,004 flights, two workers, one of them killed
	@$(BIN)/python -m examples.flights.demo $(if $(URL),--url "$(URL)")

test: $(VENV)/.ready ## all tests
	@$(COMPILE)
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal

test-containers: $(VENV)/.ready ## tests/brokers and the promises once more, on Docker (as root, its engine too)
	@$(COMPILE)
	@scripts/containers $(BIN)/python

test-aws: $(VENV)/.ready ## the promises on AWS itself, with your credentials, which costs some cents: make test-aws REGION=eu-west-1
	@TEST_AWS="$(REGION)" $(BIN)/python -m pytest -q -n $(JOBS) -o addopts="-ra -p waybill_contracts.pytest_plugin" tests/aws

check: $(VENV)/.ready ## style, types and structure
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/lint-imports --no-logo --no-cache
	$(BIN)/mypy
	$(BIN)/pyright --warnings

bench: $(BENCH)/.ready ## ours beside hand-written loops and peers, in one run
	@$(BENCH)/bin/python -m benchmarks

conformance: $(VENV)/.ready ## show every promise on every broker here, and write down what came of it
	@$(COMPILE)
	@$(BIN)/python -m pytest -q -n $(JOBS) --dist worksteal tests/contract tests/registry/stores/test_contract.py --conformance docs/conformance.json --conformance-write

mutants: $(VENV)/.ready ## show that each wrong adapter is noticed by the promises that must
	@$(BIN)/python -m waybill_contracts.mutants
	@$(BIN)/python -m waybill_contracts.registry.mutants
	@$(BIN)/python -m tests.contract.mutating

flakes: $(VENV)/.ready ## the promises on the embedded broker again and again, half of the time on a busy machine
	@$(BIN)/python scripts/flakes $(ROUNDS) $(JOBS)

soak: $(VENV)/.ready ## the fault tests with many rounds
	@FAULT_SOAK=1 $(BIN)/python -m pytest -q -s tests/faults tests/contract -k faults
	@$(BIN)/python -m pytest -q -m soak

fuzz: $(VENV)/.fuzz ## random bytes into the schema parser and the decoder, guided by what they reach: make fuzz SECONDS=3600
	@$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

brokers: $(VENV)/.ready ## RabbitMQ, Kafka, SQS, SNS and PostgreSQL to try things on; prints their URLs
	@$(BIN)/python -m tests.brokers

brokers-down: $(VENV)/.ready ## end what `make brokers` started
	@$(BIN)/python -m tests.brokers down

docs: $(VENV)/.ready ## write the pages that follow from the code: settings, command line
	@$(BIN)/python scripts/references

format: $(VENV)/.ready ## let ruff write what it can
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

lock: ## write constraints.txt anew, from the newest releases that pyproject.toml allows
	@scripts/lock $(PYTHON)

clean: ## remove the virtual environments and everything built
	rm -rf $(VENV) $(BENCH) build dist .mypy_cache .pytest_cache .ruff_cache

$(VENV)/.ready: pyproject.toml constraints.txt scripts/venv
	@scripts/venv $(PYTHON) $(VENV) dev

$(VENV)/.fuzz: $(VENV)/.ready
	@$(BIN)/python -m pip install -q --disable-pip-version-check -c constraints.txt --group fuzz
	@touch $@

$(BENCH)/.ready: pyproject.toml constraints.txt scripts/venv
	@scripts/venv $(PYTHON) $(BENCH) bench
