# The commands of this checkout. Nothing but Python 3.11+ and make has to be there first.
#
#   make run     install, run the nightly job on data/sample into data/, publish a snapshot, print the ranking
#   make test    install, lint, pass the tests; WITH_SLOW=1: those too that take many seconds each, WITH_SPARK=1: Spark's
#   make test-long   the slow ones too, drawing others in each run and more of whole nights, for before a release
#   make faults  attack it: kills, power loss, damage, hostile input, tokens; FAULTS="--seed 1 crash" are its arguments
#   make faults-full   the same for hours      make safeguards   remove each safeguard in turn: the tests must fail
#   make bench   the benchmarks, beside their peers; BENCH="--sessions 1000000" are their arguments
#   make analysts  an environment with DuckDB 1.2, for the tests     make guide  what is generated in docs/ and sql/README.md
#   make clients, make exporters   environments that make clients of the API, and files of other programs, for the tests
#   make manifests  an environment with Kubernetes' schemas, for the tests of deploy/kubernetes
#   make docs    a site from docs/, in build/site; a link that leads nowhere fails
#   make sbom    a software bill of materials (build/sbom.json)     make audit   known vulnerabilities; needs a network
#   make lint    style, types, who imports whom     make format   rewrite the code in that style
#   make lock    requirements*.txt from pyproject.toml     make clean   remove what installing and testing left

PYTHON ?= python3
BIN := .venv/bin
RUNS := .venv/.installed
INSTALLED := .venv/.installed-dev
# Spark weighs half a gigabyte and needs a Java: it is tested where that is asked for, and installed for nothing else.
JAVA := $(shell command -v "$${JAVA_HOME:+$$JAVA_HOME/bin/}java" 2>/dev/null)
SPARK := $(and $(WITH_SPARK),$(JAVA),.venv/.installed-spark)
# Processes of the tests, one a core: make test WORKERS=4
WORKERS ?= 2
PEERS := build/bench-venv
SUPPLY := build/supply-venv
ANALYSTS := build/analysts-venv
CLIENTS := build/clients-venv
CLIENTS_NODE := build/clients-node
MANIFESTS := build/manifests-venv
EXPORTERS := build/exporters-venv
DOCS := build/docs-venv
PIP := -m pip install --quiet --disable-pip-version-check --no-input
PIP_INSTALL := $(BIN)/python $(PIP)

SAMPLE_AS_OF := 2013-07-01

.PHONY: run test test-long faults faults-full safeguards bench analysts clients exporters manifests guide docs sbom audit lint format lock clean
.DEFAULT_GOAL := run
# Many images set it. The hundreds of processes that the tests start would compile every module anew.
unexport PYTHONDONTWRITEBYTECODE

# Every distribution is pinned by its hash, also the one that builds this project: nothing unpinned is ever fetched.
# What runs the system comes first and is all that `make run` waits for; what tests it is as large again.
$(RUNS): requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Python 3.11 or newer is needed, and $(PYTHON) is $$($(PYTHON) --version 2>&1)." \
	       "Name one that is: make PYTHON=python3.12" >&2; exit 1; }
	$(PYTHON) -m venv .venv
	$(PIP_INSTALL) --require-hashes -r requirements.txt
	$(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

$(INSTALLED): requirements-dev.txt $(RUNS)
	$(PIP_INSTALL) --require-hashes -r requirements-dev.txt
	@touch $@

.venv/.installed-spark: requirements-spark.txt requirements-spark-build.txt $(INSTALLED)
	$(PIP_INSTALL) --require-hashes -r requirements-spark-build.txt
	$(PIP_INSTALL) --require-hashes --no-build-isolation -r requirements-spark.txt
	@touch $@

run: $(RUNS)
	$(BIN)/mostwatched --home data run --landing data/sample --as-of $(SAMPLE_AS_OF)
	$(BIN)/mostwatched --home data top --limit 20

test: lint $(SPARK)
	$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(if $(WITH_SPARK),,--ignore tests/spark) $(if $(WITH_SLOW),,-m 'not slow')

test-long: export HYPOTHESIS_PROFILE := long
test-long: WITH_SLOW := 1
test-long: test

faults: $(INSTALLED)
	PYTHONPATH=tests $(BIN)/python -m faults $(FAULTS)

faults-full: $(INSTALLED)
	PYTHONPATH=tests $(BIN)/python -m faults --full $(FAULTS)

safeguards: $(INSTALLED)
	PYTHONPATH=tests $(BIN)/python -m faults.safeguards $(SAFEGUARDS)

bench: $(INSTALLED) $(PEERS)/.installed
	$(BIN)/python -m tests.benchmarks --peer-python $(PEERS)/bin/python $(BENCH)

# Not into .venv: PyArrow imports pandas where it is installed, and one of the peers installs it. Every process of the
# product would start a second later.
$(PEERS)/.installed: requirements-bench.txt
	$(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python $(PIP) --require-hashes -r requirements-bench.txt
	@touch $@

# With an older DuckDB, as analysts may have, and its httpfs: where it is found, the tests open what is published in it,
# in a folder and in a bucket.
analysts: $(ANALYSTS)/.installed

$(ANALYSTS)/.installed: requirements-analysts.txt
	$(PYTHON) -m venv $(ANALYSTS)
	$(ANALYSTS)/bin/python $(PIP) --only-binary :all: --require-hashes -r requirements-analysts.txt
	@touch $@

# Generators of clients: where they are found, the tests make one of the served contract and call every endpoint by it.
# That for TypeScript needs a Node.
clients: $(CLIENTS)/.installed $(if $(shell command -v npm),$(CLIENTS_NODE)/.installed)

$(CLIENTS)/.installed: requirements-clients.txt
	$(PYTHON) -m venv $(CLIENTS)
	$(CLIENTS)/bin/python $(PIP) --only-binary :all: --require-hashes -r requirements-clients.txt
	@touch $@

$(CLIENTS_NODE)/.installed: tests/contract/typescript/package-lock.json
	mkdir -p $(CLIENTS_NODE)
	cp tests/contract/typescript/package.json tests/contract/typescript/package-lock.json $(CLIENTS_NODE)
	cd $(CLIENTS_NODE) && npm ci --ignore-scripts --no-audit --no-fund --silent
	@touch $@

# Kubernetes' schemas: where they are found, the tests compare the manifests with them.
manifests: $(MANIFESTS)/.installed

$(MANIFESTS)/.installed: requirements-manifests.txt
	$(PYTHON) -m venv $(MANIFESTS)
	$(MANIFESTS)/bin/python $(PIP) --only-binary :all: --require-hashes -r requirements-manifests.txt
	@touch $@

# ClickHouse, pandas, AWS's driver with a stand-in for its services, Debezium: where they are found, the tests land what
# they write.
exporters: $(EXPORTERS)/.installed

$(EXPORTERS)/.installed: requirements-exporters.txt
	$(PYTHON) -m venv $(EXPORTERS)
	$(EXPORTERS)/bin/python $(PIP) --only-binary :all: --require-hashes -r requirements-exporters.txt
	@touch $@

# CycloneDX, of what .venv holds; the same file every time.
sbom: $(INSTALLED) $(SUPPLY)/.installed
	$(SUPPLY)/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type application \
	  --short-PURLs --output-reproducible --of JSON -o build/sbom.json $(BIN)/python

# What an index knows nothing of is not audited: a mirror without advisories fails, rather than saying "none found".
audit: $(SUPPLY)/.installed
	for each in requirements*.txt; do \
	  $(SUPPLY)/bin/pip-audit --strict --require-hashes --disable-pip -r $$each || exit 1; \
	done

$(SUPPLY)/.installed: requirements-supply.txt
	$(PYTHON) -m venv $(SUPPLY)
	$(SUPPLY)/bin/python $(PIP) --require-hashes -r requirements-supply.txt
	@touch $@

# What the code knows: docs/reference/, sql/README.md, the answers in docs/how-to/ask-the-tables.md and their picture.
guide: $(INSTALLED)
	$(BIN)/python scripts/generate_docs.py

docs: $(DOCS)/.installed
	NO_MKDOCS_2_WARNING=1 $(DOCS)/bin/mkdocs build --strict
	@echo "build/site/index.html"

$(DOCS)/.installed: requirements-docs.txt
	$(PYTHON) -m venv $(DOCS)
	$(DOCS)/bin/python $(PIP) --only-binary :all: --require-hashes -r requirements-docs.txt
	@touch $@

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict pipelines
	$(BIN)/lint-imports

format: $(INSTALLED)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Without the address of any index: the same files install from whichever index a machine uses.
UV_COMPILE := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
  --no-emit-index-url --no-annotate --custom-compile-command "make lock"

lock: $(INSTALLED)
	$(UV_COMPILE) pyproject.toml --extra build --output-file requirements.txt
	$(UV_COMPILE) pyproject.toml --extra build --extra s3 --extra dev --constraints requirements.txt \
	  --output-file requirements-dev.txt
	$(UV_COMPILE) --group pyproject.toml:bench --constraints requirements.txt --output-file requirements-bench.txt
	$(UV_COMPILE) --group pyproject.toml:analysts --output-file requirements-analysts.txt
	$(UV_COMPILE) --group pyproject.toml:clients --output-file requirements-clients.txt
	$(UV_COMPILE) --group pyproject.toml:manifests --output-file requirements-manifests.txt
	$(UV_COMPILE) --group pyproject.toml:exporters --constraints requirements.txt --output-file requirements-exporters.txt
	$(UV_COMPILE) --group pyproject.toml:spark --output-file requirements-spark.txt
	$(UV_COMPILE) --group pyproject.toml:spark-build --output-file requirements-spark-build.txt
	$(UV_COMPILE) --group pyproject.toml:supply --constraints requirements.txt --output-file requirements-supply.txt
	$(UV_COMPILE) --group pyproject.toml:docs --constraints requirements-dev.txt --constraints requirements-supply.txt \
	  --output-file requirements-docs.txt
	$(if $(shell command -v npm),cd tests/contract/typescript && npm install --package-lock-only --ignore-scripts \
	  --omit-lockfile-registry-resolved --no-audit --no-fund --silent)

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find pipelines tests scripts -name __pycache__ -type d -prune -exec rm -rf {} +
