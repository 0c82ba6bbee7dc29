# Everything needs only Python 3.11 or newer, with its venv module. `make` alone lists the targets.
# A Python is looked for by these names; `make PYTHON=/path/to/python3` names another.
PYTHON ?= python3 python3.14 python3.13 python3.12 python3.11 python
RUN := .venv/bin

.DEFAULT_GOAL := help
.PHONY: help demo test check format bench bench-peers serve clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: .venv/.installed ## Play the ticket shop, with a kill -9 in the middle
	$(RUN)/python examples/tickets_demo.py

test: .venv/.installed ## Run all tests, on a Postgres of their own
	$(RUN)/python -m pytest -n auto --dist worksteal $(ARGS)

check: .venv/.installed ## Check format, lint, types and import rules
	$(RUN)/ruff format --check
	$(RUN)/ruff check
	$(RUN)/mypy
	$(RUN)/lint-imports

format: .venv/.installed ## Format the code, and fix what can be fixed
	$(RUN)/ruff format
	$(RUN)/ruff check --fix

bench: .venv/.installed ## Measure, beside the peers
	$(RUN)/python -m benchmarks $(ARGS)

bench-peers: .venv/.installed ## Measure as the runtime of SDKs for Restate, beside its server
	$(RUN)/python -m benchmarks.remote $(ARGS)

serve: .venv/.installed ## Serve the ticket shop on 127.0.0.1:8080 until Ctrl-C
	$(RUN)/howdah serve examples/tickets.py $(ARGS)

clean: ## Remove the virtual environment and what tools left
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .import_linter_cache dist build

# Made again when the dependencies change. The stamp comes last, so an interrupted install is redone.
.venv/.installed: pyproject.toml
	@for python in $(PYTHON); do \
		"$$python" -c 'import sys, ensurepip; sys.exit(sys.version_info < (3, 11))' \
			>/dev/null 2>&1 && break; \
		python=; \
	done; \
	test -n "$$python" || { \
		echo "howdah needs Python 3.11 or newer with its venv module; found none in: $(PYTHON)."; \
		echo "On Debian: apt-get install python3-venv. Or name one: make PYTHON=/path/to/python3"; \
		exit 1; }; \
	echo "Setting up .venv with $$python (about a minute, once)"; \
	"$$python" -m venv .venv
	@$(RUN)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev,embedded]'
	@touch $@
