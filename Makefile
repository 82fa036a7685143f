# Common commands. A fresh clone needs only Python 3.11+ and make. `make` without a target lists all targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export UV_FIND_LINKS ?= $(shell $(PYTHON) -m pip config get global.find-links 2>/dev/null)

.DEFAULT_GOAL := help
.PHONY: help env demo up down test test-all test-distributed check lint types docs site tutorial lock pictures bench-generation bench-dataset bench-airflow bench-scale chaos sbom fuzz clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-18s %s\n", $$1, $$2}'

env: $(VENV)/.installed ## Create the virtual environment in .venv, with exact package versions

$(VENV)/.installed: requirements.lock requirements.hashes pyproject.toml tools/install.sh
	PYTHON="$(PYTHON)" bash tools/install.sh $(VENV)
	@touch $@

demo: env ## Run the whole pipeline in an embedded Airflow and compare Base, v1 and v2
	@$(BIN)/python -m demo run

up: env ## Start the embedded Airflow and print its URL and login
	@$(BIN)/python -m demo up

down: ## Stop what `make up` started
	@$(BIN)/python -m demo down

test: env lint types ## Run lint, type checks and the test suite (under 10 minutes on 2 cores)
	bash tools/test.sh $(BIN)

test-all: env lint types ## Also run the long tests, and measure the coverage (about 30 minutes)
	bash tools/test.sh $(BIN) all

test-distributed: env ## Run the pipeline on Postgres, Redis and Celery while workers are killed (about 10 minutes)
	bash tools/test.sh $(BIN) distributed

check: env lint types ## Run lint, type checks and the fast unit tests (under 2 minutes)
	$(BIN)/python -m pytest -n 2 -m "not slow and not airflow and not browser"

lint: env ## Check style, layers, import cycles and vocabulary
	$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/lint-imports

types: env ## Check static types in all Python code
	$(BIN)/mypy

docs: env ## Regenerate the documents that are built from the code
	$(BIN)/python tools/make_docs.py

site: env ## Build the documentation as a site in build/site; a broken link or an orphan page is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

tutorial: ## Follow the tutorials in a fresh clone with empty caches, and time every command (downloads all packages)
	$(PYTHON) tools/follow_tutorial.py

lock: env ## Resolve the dependencies and rewrite requirements.lock and the requirements of the images
	bash tools/lock.sh $(BIN)/uv
	bash tools/image_requirements.sh $(BIN)/uv

sbom: env ## Write the software bill of materials of all locked packages to dist/sbom.json
	bash tools/sbom.sh $(BIN)/uv dist/sbom.json

SECONDS ?= 20
fuzz: env ## Fuzz every parser of outside data, SECONDS=20 each
	$(BIN)/python -m tests.fuzz --seconds $(SECONDS)

pictures: env ## Recreate the images in docs/images from real runs (about 15 minutes)
	CHROMIUM="$$(bash tools/browser.sh $(BIN))" $(BIN)/python tools/make_pictures.py

bench-generation: env ## Compare this project with other clients on the simulator: time, 429 responses, lost answers
	$(BIN)/python -m bench.generation --out docs/results/generation

bench-dataset: env ## Measure the validation of up to a million rows
	$(BIN)/python -m bench.dataset

bench-airflow: env ## Test Airflow on SQLite: 50 and 500 shards, a missed deadline, two killed schedulers
	$(BIN)/python -m bench.orchestration

bench-scale: env ## Measure time and memory of every stage with 10,000 to 1,000,000 items (about two hours)
	$(BIN)/python -m bench.scale --out docs/results/scale

SEED ?= 1
RUNS ?= 20
chaos: env ## Inject random faults into real runs and check what is promised: make chaos SEED=1 RUNS=20
	$(BIN)/python -m chaos --seed $(SEED) --runs $(RUNS) $(if $(OUT),--out $(OUT) --page docs/reliability.md) $(if $(PIPELINE),--pipeline)

clean: down ## Delete everything that the embedded Airflow and its runs wrote (but not .venv)
	rm -rf airflow_home artifacts
