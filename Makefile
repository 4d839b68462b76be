# Everything is installed into .venv; `make demo` and `make test` need only Python 3.11+, make and git.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SOURCE ?=
FORM ?= long
ARCH ?= aarch64
PYTHON_VERSION ?= 3.11

.PHONY: help demo test node check bench requirements wheelhouse fleet-test soak faults arm64-test clean

help:
	@echo "make demo [SOURCE=0|clip.mp4]  run the whole chain with an embedded broker on a clip, camera or file"
	@echo "make test                      run all tests except the long ones"
	@echo "make node                      install the npm packages for the tests of the MQTT contract"
	@echo "make check                     run the linters and the type checker"
	@echo "make bench [SOURCE=clip.mp4]   time every stage on this machine"
	@echo "make fleet-test [FORM=short]   test Ansible on booted systemd hosts (root, Debian)"
	@echo "make soak                      run the long tests: soak, outage, fuzzing"
	@echo "make faults                    cause faults and print a table: noticed, recovered, lost"
	@echo "make arm64-test                test the release on emulated aarch64, Bookworm and Trixie (root, Debian)"
	@echo "make wheelhouse ARCH=aarch64 PYTHON_VERSION=3.11   collect the wheels for devices without internet"
	@echo "make requirements              compile the pinned environments"

# The development environment contains that of the demo, so either is enough for the demo.
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

# Tests of the MQTT contract in Node, in a browser and with AsyncAPI's parser are skipped without these packages.
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
