# SPDX-License-Identifier: Apache-2.0
# One command for each thing; `make help` lists them. Needs make and a Python 3.10 to 3.14, nothing else.

# The first Python on the PATH that Airflow supports, else plain python3, whose refusal says what to do.
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11 python3.14 python3.10; do \
	if $$python -c 'import sys, ensurepip; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 14))' \
	2>/dev/null; then echo $$python; exit; fi; done; echo python3)
VENV := .venv/bin
export PORT ONCE DOCKER WITHOUT

.DEFAULT_GOAL := help
.PHONY: help venv venv-test demo stop test crash-test fuzz lint format bench docs clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## /{printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv:
	@$(PYTHON) requirements/install.py demo

venv-test:
	@$(PYTHON) requirements/install.py test

demo: venv ## Start Airflow with Scale, run the example on real data (PORT=8080, ONCE=1 checks and stops, DOCKER=1)
	@$(VENV)/python -m demo start

stop: ## Stop every demo of this checkout (PORT=8080: that one)
	@if [ -x $(VENV)/python ]; then $(VENV)/python -m demo stop; else echo "No demo was ever started here."; fi

test: venv-test ## Set up what is missing and run every test (WITHOUT=docker,browser leaves parts out)
	@$(VENV)/python -m tests.setup
	@$(VENV)/python -m tests.run $(if $(WITHOUT),--without=$(WITHOUT)) $(PYTEST)

crash-test: venv-test ## Kill processes while a whole system works, and see that nothing is lost (KILLS=200, SEED=1)
	$(VENV)/python -m tests.crash --kills $(or $(KILLS),200) $(if $(SEED),--seed $(SEED)) \
	$(if $(LONGEST),--longest $(LONGEST)) $(if $(EVERY_POINT),--every-point) \
	$(if $(CRASH_REPORT),--report $(CRASH_REPORT))

fuzz: venv-test ## Send the REST API requests of all kinds, others each time (CASES=100000, SEED=1)
	FUZZ_CASES=$(or $(CASES),100000) FUZZ_SEED=$(SEED) $(VENV)/python -m pytest \
	tests/integration/api/test_fuzz.py

lint: venv-test ## Check format, style, types and the direction of imports
	$(VENV)/ruff format --check .
	$(VENV)/ruff check .
	$(VENV)/mypy
	$(VENV)/lint-imports

format: venv-test ## Format the sources
	$(VENV)/ruff format .
	$(VENV)/ruff check --fix .

bench: venv-test ## Run every benchmark; write their table and plot
	$(VENV)/python -m benchmarks

docs: venv-test ## Write the generated pages of docs/ anew
	$(VENV)/python -m docs.generate

clean: stop ## Stop the demos; remove their state and the environment
	rm -rf .demo .venv build dist *.egg-info
