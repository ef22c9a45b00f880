# `make help` lists what there is. Everything works in .venv and .local; nothing else on the machine is touched.

PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	$$p -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$p && exit; \
	done; echo python3)
IN_VENV := .venv/bin/python
PYTEST := $(IN_VENV) -m pytest
# One process more than cores: there is always one that waits for a broker, a server or a process that it killed.
PROCESSES := -n $(shell expr $$(nproc 2>/dev/null || echo 1) + 1) --dist loadscope --no-loadscope-reorder
BENCH = PYTHONPATH=.:src:dags $(IN_VENV) -m benchmarks $(if $(RECORDS),--records $(RECORDS)) \
	$(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SIZES),--sizes $(SIZES))

# Without the theme's notice on what comes after it, which is for whoever renews the locks.
DOCS := NO_MKDOCS_2_WARNING=1 .venv/bin/mkdocs build --strict

export WAREHOUSE TOPICLEDGER_HOME KAFKA_BOOTSTRAP
# Bytecode is kept, in our own folder, also where a person's settings say otherwise: without it every one of the many
# processes compiles all of Airflow anew.
unexport PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX := $(CURDIR)/.cache/bytecode

.DEFAULT_GOAL := help
.PHONY: help setup run up down status check test test-all mutants soak bench bench-formats bench-growth bench-peers kcat lock docs clean

help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo
	@echo "  WAREHOUSE=postgres      load into PostgreSQL instead of DuckDB (run, up)"
	@echo "  KAFKA_BOOTSTRAP=h:p     use a broker that runs already (run, up)"
	@echo "  TOPICLEDGER_HOME=dir    keep the data there instead of in .local"
	@echo "  ONLY='step 12'          only mutants whose name, place or file has these words (mutants)"
	@echo "  PYTHON=python3.12       the Python that .venv is made with (3.11 to 3.13)"

setup: ## make .venv from the locks (the others do it by themselves)
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) is not on PATH."; \
		echo "  Next: install Python 3.11, 3.12 or 3.13, or name it: make PYTHON=/path/to/python3 run"; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version_info[:2]; (3, 11) <= v <= (3, 13) or sys.exit( \
		"%s is Python %d.%d; this needs 3.11, 3.12 or 3.13." % ((sys.executable,) + v) + \
		"\n  Next: install one of them and name it: make PYTHON=/path/to/python3 run")'
	@$(PYTHON) -I devstack/bootstrap.py

run: setup ## see it work: a real broker, Airflow and warehouse, one run, its accounts; then all is stopped
	@$(IN_VENV) -m devstack run

up: setup ## start the same stack and leave it standing
	@$(IN_VENV) -m devstack up

down: setup ## stop it; the data stay
	@$(IN_VENV) -m devstack down

status: setup ## say what stands
	@$(IN_VENV) -m devstack status

check: setup ## lint, formatting, types, import contracts, the documents' links
	@$(IN_VENV) -m ruff check
	@$(IN_VENV) -m ruff format --check
	@$(IN_VENV) -m mypy
	@.venv/bin/lint-imports
	@$(DOCS) --quiet

test: setup ## what proves each promise once, in several processes: some minutes
	@$(PYTEST) $(PROCESSES) -m "not slow"

test-all: setup ## all tests there are: an hour or more
	@$(PYTEST)

soak: setup ## random sequences of runs and faults, each replayable by its seed: SEED=1 SEQUENCES=100
	@PYTHONPATH=.:src:dags $(IN_VENV) -m tests.soak $(if $(SEED),--seed $(SEED)) $(if $(SEQUENCES),--sequences $(SEQUENCES))

mutants: setup ## break the product in small ways, one after another: its tests must notice each
	@$(IN_VENV) -m tests.mutants $(ONLY)

bench: setup kcat ## how fast it is, beside its limits: RECORDS=1000000 ROUNDS=5 SIZES="10 100000 10000000"
	@$(BENCH)

bench-formats: setup ## how fast each format is, beside confluent-kafka's deserializers and Airflow's operator with them; ROUNDS=5 RECORDS=200000
	@PYTHONPATH=.:src:dags $(IN_VENV) -m benchmarks.formats $(if $(RECORDS),--records $(RECORDS)) $(if $(ROUNDS),--rounds $(ROUNDS))

bench-growth: setup ## how a record's time grows: larger batches, dead letters, partitions, a warehouse with 50,000,000 rows
	@PYTHONPATH=.:src:dags $(IN_VENV) -m benchmarks.growth $(if $(ROUNDS),--rounds $(ROUNDS)) $(if $(SIZES),--sizes $(SIZES))

bench-peers: setup kcat ## the same, with others at the same work beside it
	@$(BENCH) --peers

kcat:
	@command -v kcat >/dev/null || apt-get install -y -q kcat || { \
		echo "kcat, the yardstick, is missing and can't be installed from here."; \
		echo "  Next: install it (Debian, Ubuntu: apt-get install kcat), then try again"; exit 1; }

docs: setup ## the documents as a site, in .cache/site
	@$(DOCS)

lock: setup ## renew the locks of the packages and of Kafka's jars
	@for name in dev uv snowflake peers; do .venv/bin/uv pip compile -q --upgrade --universal --python-version 3.11 \
		--generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" \
		requirements/$$name.in -o requirements/$$name.txt || exit 1; done
	@$(IN_VENV) -m devstack lock-jars

clean: ## remove .venv, caches and build results (not the data in .local)
	@if [ -x $(IN_VENV) ]; then $(IN_VENV) -m devstack down; fi
	@rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache dist build
	@find . -name __pycache__ -type d -not -path './.git/*' -prune -exec rm -rf {} +
