# Everything a person needs, from a fresh clone with Python 3.11+ and make. `make` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export UV_FIND_LINKS ?= $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help env demo up down test check lint types docs lock pictures bench-generation bench-dataset bench-airflow clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

env: $(VENV)/.installed ## Make the environment (a virtual environment in .venv, exact versions)

$(VENV)/.installed: requirements.lock pyproject.toml tools/install.sh
	PYTHON="$(PYTHON)" bash tools/install.sh $(VENV)
	@touch $@

demo: env ## Run the whole path in an embedded Airflow and print the Base, v1, v2 table
	@$(BIN)/python -m demo run

up: env ## Start the embedded Airflow for the browser; print its URL and login
	@$(BIN)/python -m demo up

down: ## Stop what `make up` started
	@$(BIN)/python -m demo down

test: env lint types ## Run lint, type checks and the whole test suite (about 8 minutes)
	bash tools/test.sh $(BIN)

check: env lint types ## Run lint, type checks and the fast unit tests (under 2 minutes)
	$(BIN)/python -m pytest -n 2 -m "not slow and not airflow and not browser"

lint: env ## Check style, layers, import cycles and vocabulary
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports

types: env ## Check static types of product, dags, plugins, bench and tests
	$(BIN)/mypy

docs: env ## Write the documents that are generated from the code
	$(BIN)/python tools/make_docs.py

lock: env ## Resolve the dependencies again and write requirements.lock
	bash tools/lock.sh $(BIN)/uv

pictures: env ## Make the pictures of docs/images again from real runs (about 15 minutes)
	CHROMIUM="$$(bash tools/browser.sh $(BIN))" $(BIN)/python tools/make_pictures.py

bench-generation: env ## Measure generation against the simulator: seconds, 429s, losses; other clients for comparison
	$(BIN)/python -m bench.generation --out docs/results/generation

bench-dataset: env ## Measure validation of up to a million rows
	$(BIN)/python -m bench.dataset

bench-airflow: env ## Measure Airflow on SQLite: 50 and 500 shards, a missed deadline, two killed schedulers
	$(BIN)/python -m bench.orchestration

clean: down ## Delete what the embedded Airflow and its runs wrote (not the environment)
	rm -rf airflow_home artifacts
