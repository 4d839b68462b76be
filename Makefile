# The verbs. Everything lives in .venv; `make demo` and `make test` need only Python 3.11+, make and git.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SOURCE ?=
FORM ?= long
ARCH ?= aarch64
PYTHON_VERSION ?= 3.11

.PHONY: help demo test node check bench requirements wheelhouse fleet-test soak faults arm64-test clean

help:
	@echo "make demo [SOURCE=0|clip.mp4]  the whole chain with an embedded broker, on a drawn-up clip, camera or file"
	@echo "make test                      all tests but the long ones"
	@echo "make node                      npm packages for the contract's tests, into .cache/node"
	@echo "make check                     linters and types"
	@echo "make bench [SOURCE=clip.mp4]   times of every stage on this machine"
	@echo "make fleet-test [FORM=short]   Ansible against real systemd hosts (root, Debian)"
	@echo "make soak                      the long tests: soak, outage, fuzzing"
	@echo "make faults                    a table of faults: when they are noticed, when it goes on, what is lost"
	@echo "make arm64-test                the release on aarch64, emulated, for Bookworm and Trixie (root, Debian)"
	@echo "make wheelhouse ARCH=aarch64 PYTHON_VERSION=3.11   wheels for devices without internet"
	@echo "make requirements              compile the pinned environments anew"

# The development environment holds the demo's, so whichever comes first is enough for the demo.
$(VENV)/dev: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(VENV)/dev $(VENV)/demo

$(VENV)/demo: requirements/demo.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/demo.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(VENV)/demo

demo: $(VENV)/demo
	$(BIN)/oahega-edge demo $(if $(SOURCE),--source "$(SOURCE)")

test: $(VENV)/dev
	$(BIN)/python -m pytest -m "not long and not fleet" --durations=10

# For the tests of the contract in Node, in a browser and with AsyncAPI's parser; they skip without it.
node: .cache/node/done

.cache/node/done: tests/node/package.json tests/node/package-lock.json
	mkdir -p .cache/node
	cp $^ .cache/node/
	npm ci --prefix .cache/node --ignore-scripts --no-audit --no-fund
	@touch $@

check: $(VENV)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

bench: $(VENV)/demo
	$(BIN)/oahega-edge bench $(if $(SOURCE),"$(SOURCE)")

fleet-test: $(VENV)/dev
	RUN_PYTHON="$(BIN)/python" ansible/fleet-test.sh $(FORM)

wheelhouse: $(VENV)/demo
	RUN_PYTHON="$(BIN)/python" ansible/wheelhouse.sh $(ARCH) $(PYTHON_VERSION)

soak: $(VENV)/dev
	$(BIN)/python -m pytest -o python_files="test_*.py long_*.py" -m "long and not fleet" --durations=0

faults: $(VENV)/dev
	$(BIN)/python -m pytest -s -m long tests/edge/long_device_faults.py

arm64-test: $(VENV)/demo
	RUN_PYTHON="$(BIN)/python" tests/aarch64/run.sh

requirements: $(VENV)/dev
	$(BIN)/python -m pip install --quiet uv
	PATH="$(CURDIR)/$(BIN):$$PATH" requirements/compile.sh

clean:
	rm -rf $(VENV) .venv-* dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
