# PixSim on a bare machine: Python 3.11 or newer with pip, and a package index. No root, no services.

VENV := .venv
BIN := $(VENV)/bin
PIP := -m pip install --quiet --disable-pip-version-check --no-input
MANAGE := $(BIN)/python manage.py

# The tests have a home of their own, so that they never meet what `make up` keeps in .pixsim.
TEST_HOME := $(CURDIR)/.pixsim/test
# Three at a time on two cores, as most of them wait; the tests of a file share what they started.
PYTEST := -n 3 --dist loadfile --no-loadscope-reorder
TEST_ENV := PIXSIM_HOME="$(TEST_HOME)" EMBEDDED_IDLE_SECONDS=10
BENCHMARKS := queue crawl backfill generation
CHECKS := check-style check-format check-types check-layers check-migrations check-project

.DEFAULT_GOAL := help
.PHONY: help demo demo-admin up test test-long interleave fuzz seeds check $(CHECKS) bench format lint requirements clean

help:  ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(VENV)/.installed  ## From nothing to a dataset, and three generations, on this machine alone
	@$(BIN)/python -m demo.run

demo-admin: $(VENV)/.installed  ## Look at what the demo left, in the admin, until Ctrl-C
	@$(BIN)/python -m demo.run --admin

up: $(VENV)/.installed  ## Web site and worker on http://127.0.0.1:8000, until Ctrl-C
	@$(MANAGE) up --migrate

# Everything is run, whatever fails, and the tests come last: what they say is what one reads first.
test: $(VENV)/.installed-dev  ## Linters, types, migration checks and the tests, each promise once
	@failed=""; \
	$(MAKE) --no-print-directory --keep-going check || failed="checks"; \
	$(TEST_ENV) $(BIN)/python -m pytest $(PYTEST) -m "not long" || failed="$$failed tests"; \
	$(TEST_ENV) $(MANAGE) services stop >/dev/null 2>&1; \
	if [ -n "$$failed" ]; then echo "make test: failed: $$failed"; exit 1; fi

test-long: $(VENV)/.installed-dev  ## The tests that take minutes: chaos, every broker, large databases, interleavings
	@failed=""; \
	$(TEST_ENV) $(BIN)/python -m pytest $(PYTEST) -m long || failed=1; \
	$(TEST_ENV) $(MANAGE) services stop >/dev/null 2>&1; \
	if [ -n "$$failed" ]; then echo "make test-long: failed"; exit 1; fi

interleave: $(VENV)/.installed-dev  ## The queue's statements in N=… random orders from SEED=… on
	@$(TEST_ENV) SCHEDULES=$(or $(N),100) SEED=$(or $(SEED),0) $(BIN)/python -m pytest --quiet --timeout=0 \
		tests/jobs/test_interleavings.py -k random_schedules

fuzz: $(VENV)/.installed-dev  ## Damaged files for every parser of untrusted bytes, for SECONDS=600 in all
	@$(TEST_ENV) FUZZ_SECONDS=$(or $(SECONDS),600) $(BIN)/python -m pytest --quiet -s -m long tests/fuzz

# The page is made from the same rows; a test says when it is not.
seeds: $(VENV)/.installed-dev  ## Run every sentence of the older guides, and print them; WRITE=1 writes the page
	@$(TEST_ENV) $(BIN)/python -m tests.seeds $(if $(WRITE),--write)

check: $(CHECKS)  ## What `make test` does before the tests

check-style: $(VENV)/.installed-dev
	$(BIN)/ruff check --quiet .

check-format: $(VENV)/.installed-dev
	$(BIN)/ruff format --quiet --check .

check-types: $(VENV)/.installed-dev
	$(TEST_ENV) $(BIN)/mypy .

check-layers: $(VENV)/.installed-dev
	$(BIN)/lint-imports --no-cache
	$(BIN)/python -m tests.import_circles

check-migrations: $(VENV)/.installed-dev
	$(TEST_ENV) $(MANAGE) db check
	$(TEST_ENV) $(MANAGE) db schema --check

check-project: $(VENV)/.installed-dev
	$(TEST_ENV) $(MANAGE) check --fail-level WARNING

bench: $(VENV)/.installed-dev .venv-bench/.installed  ## Measure PixSim and its peers, to benchmarks/RESULTS.md
	@for each in $(BENCHMARKS); do $(BIN)/python -m benchmarks.$$each || exit 1; done

format: $(VENV)/.installed-dev  ## Format the code and mend what the linter can
	@$(BIN)/ruff check --quiet --fix . ; $(BIN)/ruff format .

lint: check-style check-format check-types check-layers  ## Linters and types alone

requirements: $(VENV)/.installed-dev  ## Compile requirements*.in to requirements*.txt
	@for each in requirements requirements-dev requirements-bench; do \
		$(BIN)/uv pip compile --quiet --generate-hashes --universal --python-version 3.11 \
			--custom-compile-command "make requirements" $$each.in -o $$each.txt || exit 1; \
	done

clean:  ## Remove environments, caches, the demo and the tests' data; .pixsim itself stays
	@if [ -x $(BIN)/python ]; then \
		$(BIN)/python -m demo.run --remove && $(BIN)/python -m demo.run --remove "$(TEST_HOME)"; \
	fi
	@rm -rf $(VENV) .venv-bench .mypy_cache .ruff_cache .pytest_cache .hypothesis demo-output
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# Environments. The stamp says that everything of the file beside it is installed.

$(VENV)/.installed: requirements.txt | $(BIN)/python
	@echo "Installing what PixSim runs on into $(VENV) (once, a minute or two) …"
	@$(BIN)/python $(PIP) -r requirements.txt
	@touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	@echo "Installing the tools for developers into $(VENV) …"
	@$(BIN)/python $(PIP) -r requirements.txt -r requirements-dev.txt
	@touch $@

.venv-bench/.installed: requirements-bench.txt | .venv-bench/bin/python
	@echo "Installing the peers of the benchmarks into .venv-bench …"
	@.venv-bench/bin/python $(PIP) -r requirements-bench.txt
	@touch $@

# Where the distribution keeps ensurepip apart (Debian), the pip that is there installs one inside.
$(VENV)/bin/python .venv-bench/bin/python:
	@for each in "$(PYTHON)" python3.11 python3.12 python3.13 python3 python; do \
		if "$$each" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			python=$$each; break; \
		fi; \
	done; \
	folder=$(dir $(patsubst %/,%,$(dir $@))); \
	if [ -z "$$python" ]; then \
		echo "PixSim needs Python 3.11 or newer. Name yours: make PYTHON=/path/to/python" >&2; exit 1; \
	fi; \
	echo "Making $$folder with $$("$$python" --version) …"; \
	"$$python" -m venv "$$folder" 2>/dev/null || { \
		rm -rf "$$folder" && "$$python" -m venv --without-pip "$$folder" && \
		"$$python" -m pip --python "$$folder/bin/python" install --quiet pip; \
	}
