# The commands of this checkout. Nothing but Python 3.11+ and make has to be there first.
#
#   make run     install, run the nightly job on data/sample into data/, publish a snapshot, print the ranking
#   make test    install, lint, pass the tests
#   make lint    style, types, who imports whom     make format   rewrite the code in that style
#   make lock    requirements*.txt from pyproject.toml     make clean   remove what installing and testing left

PYTHON ?= python3
BIN := .venv/bin
INSTALLED := .venv/.installed
PIP_INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-input

SAMPLE_AS_OF := 2013-07-01

.PHONY: run test lint format lock clean
.DEFAULT_GOAL := run

# Every distribution is pinned by its hash, also the one that builds this project: nothing unpinned is ever fetched.
$(INSTALLED): requirements-dev.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	       "Name one that is: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) --require-hashes -r requirements-dev.txt
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

run: $(INSTALLED)
	$(BIN)/mostwatched --home data run --landing data/sample --as-of $(SAMPLE_AS_OF)
	$(BIN)/mostwatched --home data top --limit 20

test: lint
	$(BIN)/python -m pytest -n 2 --dist loadgroup

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict pipelines
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Without the address of any index: the same files install from whichever index a machine uses.
UV_COMPILE := $(BIN)/uv pip compile pyproject.toml --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --custom-compile-command "make lock"

lock: $(INSTALLED)
	$(UV_COMPILE) --extra build --output-file requirements.txt
	$(UV_COMPILE) --extra build --extra dev --constraints requirements.txt --output-file requirements-dev.txt

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find pipelines tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
