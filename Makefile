# Everything is installed into .venv; `make demo` and `make test` need only Python 3.11+, make and git.

PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
SOURCE ?=
FORM ?= long
ARCH ?= aarch64
FOR ?= device
PYTHON_VERSION ?= 3.11
# Processes of `make test`, and the seed of its order (default: another one each time, printed at its beginning).
JOBS ?= 3
SEED ?=
SEEDS ?= 5
MINUTES ?= 60
# Of the campaign, e.g. 500 short schedules, two at a time, that go on after an interrupt:
# make nemesis MINUTES=300 SEED=1 OPTIONS="--most 500 --seconds 8 --jobs 2 --record nemesis.jsonl"
OPTIONS ?=
# Home Assistant for its test; Trixie has the Python that it needs.
HASS_VERSION ?= 2025.4.4
PYTEST = $(BIN)/python -m pytest
# Hundreds of tests start a process: with byte code kept, each starts a fifth faster.
unexport PYTHONDONTWRITEBYTECODE
# One module's tests stay in one process, which shares what they train.
PARALLEL = -n $(JOBS) --dist loadscope --no-loadscope-reorder $(if $(SEED),--randomly-seed=$(SEED)) $(NO_HANG)
# A test that hangs ends its process with the stack of every thread, and is named; then the run ends.
# No wait of a test is longer (tests/waiting.py), so this many seconds say only that it will never end.
HANG = 400
NO_HANG = -o faulthandler_timeout=$(HANG) -o faulthandler_exit_on_timeout=true --max-worker-restart=0

.PHONY: help demo test quick test-lengthy test-plain test-portable node check bench requirements wheelhouse pictures deb deb-test fleet-test soak faults archive-proof drift-table dashboards superset-test nemesis strange-bundles good-media homeassistant-test node-red-test installation-test arm64-test arm64-teach arm64-deb-test release audit clean

help:
	@echo "make demo [SOURCE=0|clip.mp4]  run the whole chain with an embedded broker on a clip, camera or file"
	@echo "make test                      run all tests but the lengthy and the long ones, in under five minutes"
	@echo "make test-lengthy              run the lengthy tests: browsers, floods, whole trainings, kills, clips"
	@echo "make quick                     run the tests of the pure core, in half a minute"
	@echo "make test-plain                run the tests that train, on plain kernels; of the lengthy ones those that judge a network"
	@echo "make test-portable [SEEDS=5]   print by how much each promise of a trained network holds, over seeds and kernels"
	@echo "make node                      install the npm packages for the tests of the MQTT contract"
	@echo "make check                     run the linters and the type checker"
	@echo "make bench [SOURCE=clip.mp4]   time every stage on this machine"
	@echo "make fleet-test [FORM=short]   test Ansible on booted systemd hosts (root, Debian)"
	@echo "make soak                      run the long tests: soak, outage, fuzzing"
	@echo "make faults                    cause faults and print a table: noticed, recovered, lost"
	@echo "make archive-proof [PART=\"steady volume\" RATE=5000 MINUTES=10]   print what the archive withstands and how fast it is (PostgreSQL)"
	@echo "make dashboards                write the dashboards for Grafana and Superset from their code"
	@echo "make superset-test             import the dashboard into a real Superset (PostgreSQL)"
	@echo "make drift-table [DATA=DIR]    simulate drift on 200 devices: delay to the alarm, false alarms"
	@echo "make strange-bundles           check 2,000 strange bundle folders and print time and memory"
	@echo "make good-media                read every usual codec, picture, list and bundle and print a table"
	@echo "make homeassistant-test        test entities and triggers in a real Home Assistant (root, Debian)"
	@echo "make node-red-test             run the documents' flow in Node-RED at a broker with accounts and TLS (npm)"
	@echo "make installation-test         type the documents' installation on a booted Bookworm and Trixie (root, Debian)"
	@echo "make nemesis [MINUTES=60 SEED=1] faults drawn from a seed, all promises checked (root: the disk fails, too)"
	@echo "make arm64-test                test the release on emulated aarch64, Bookworm and Trixie (root, Debian)"
	@echo "make arm64-teach               print what \`teach\` takes in time and memory there, on Bookworm's Python"
	@echo "make arm64-deb-test            install, upgrade, remove and purge the package there"
	@echo "make wheelhouse ARCH=aarch64 PYTHON_VERSION=3.11   collect the wheels for devices without internet"
	@echo "make release                   build the wheel twice from the last commit, compare, write its bill of materials"
	@echo "make audit                     search the pinned packages for known weaknesses (internet)"
	@echo "make pictures                  make the pictures of the README from free material; look at them"
	@echo "make deb ARCH=arm64            build the Debian package for Bookworm and Trixie (arm64 or amd64)"
	@echo "make deb-test                  install, upgrade, remove and purge it on a booted Debian host (root, Debian)"
	@echo "make requirements              compile the pinned environments"

# The development environment contains that of the demo, so either is enough for the demo.
$(VENV)/dev: requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(VENV)/dev $(VENV)/demo

$(VENV)/demo: requirements/demo.txt pyproject.toml
	@echo "installing the packages of the demo into $(VENV), once; this takes a minute or two ..."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/demo.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(VENV)/demo

demo: $(VENV)/demo
	$(BIN)/oahega-edge demo $(if $(SOURCE),--source "$(SOURCE)")

test: $(VENV)/dev
	$(PYTEST) $(PARALLEL) -m "not long and not fleet and not lengthy" --durations=10

test-lengthy: $(VENV)/dev
	$(PYTEST) $(PARALLEL) -m "lengthy and not long" --durations=10

quick: $(VENV)/dev
	$(PYTEST) -q -m "not long and not broker and not shared" tests/edge/chain tests/edge/contract

test-plain: $(VENV)/dev
	OAHEGA_TEST_KERNELS=plain $(PYTEST) $(PARALLEL) -m "training and not shared and not long and (seeded or not lengthy)" --durations=10

test-portable: $(VENV)/dev
	$(BIN)/python tests/training/portable.py $(SEEDS)

# Tests of the MQTT contract in Node, in a browser and with AsyncAPI's parser are skipped without these packages.
node: .cache/node/done

# npm packages of tests/NAME in .cache/NAME.
.cache/%/done: tests/%/package.json tests/%/package-lock.json
	mkdir -p $(@D)
	cp $^ $(@D)/
	npm ci --prefix $(@D) --ignore-scripts --no-audit --no-fund
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
	RUN_PYTHON="$(BIN)/python" FOR=$(FOR) ansible/wheelhouse.sh $(ARCH) $(PYTHON_VERSION)

pictures: $(VENV)/dev
	$(BIN)/python docs/pictures/make.py

deb: $(VENV)/demo
	RUN_PYTHON="$(BIN)/python" debian/build.sh $(ARCH)

deb-test: $(VENV)/dev
	$(PYTEST) -p no:randomly -s --durations=0 tests/fleet/test_package.py

soak: $(VENV)/dev
	$(PYTEST) -o python_files="test_*.py long_*.py" -m "long and not fleet" --durations=0

faults: $(VENV)/dev
	$(PYTEST) -s -p no:randomly -m long tests/edge/long_device_faults.py

strange-bundles: $(VENV)/dev
	$(PYTEST) -s -p no:randomly -m long tests/edge/long_strange_bundles.py

good-media: $(VENV)/dev
	$(PYTEST) -s -p no:randomly -m long tests/training/long_good_media.py

.cache/homeassistant/$(HASS_VERSION): $(VENV)/dev tests/homeassistant/hass
	mkdir -p $(@D)
	RUN_PYTHON="$(BIN)/python" tests/homeassistant/hass install $(HASS_VERSION)
	@touch $@

homeassistant-test: $(VENV)/dev .cache/homeassistant/$(HASS_VERSION)
	$(PYTEST) -s -p no:randomly -m long tests/edge/publishers/long_homeassistant.py

node-red-test: $(VENV)/dev .cache/node-red/done
	$(PYTEST) -s -p no:randomly -m long tests/edge/contract/long_node_red.py

dashboards: $(VENV)/dev
	$(BIN)/python docs/dashboards/grafana/make.py
	$(BIN)/python docs/dashboards/superset/make.py

.venv-superset/done: requirements/superset.txt
	$(PYTHON) -m venv .venv-superset
	.venv-superset/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/superset.txt
	@touch $@

superset-test: $(VENV)/dev .venv-superset/done
	$(PYTEST) -s -p no:randomly -m long tests/edge/insight/long_superset.py

drift-table: $(VENV)/dev
	PYTHONPATH=edge:build $(BIN)/python -m oahega_build.experiments.drift_table "$(or $(DATA),../shared/data/emotion)"

archive-proof: $(VENV)/dev
	PYTHONPATH=edge:build:tests $(BIN)/python -m edge.archive.proof $(PART)

installation-test: $(VENV)/dev
	$(PYTEST) -s -p no:randomly -m long tests/fleet/long_installation.py

nemesis: $(VENV)/dev
	$(BIN)/python tests/nemesis/campaign.py --minutes $(MINUTES) $(if $(SEED),--seed $(SEED)) $(OPTIONS)

# The tools of a release have an environment of their own.
.venv-release/done: requirements/release.txt
	$(PYTHON) -m venv .venv-release
	.venv-release/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/release.txt
	@touch $@

release: $(VENV)/dev .venv-release/done
	RUN_PYTHON="$(BIN)/python" .ci/release

# Asks PyPI's list of known weaknesses about every pinned package, so it needs the internet.
audit: .venv-release/done
	.ci/audit

arm64-test: $(VENV)/demo
	RUN_PYTHON="$(BIN)/python" tests/aarch64/run.sh

arm64-teach: $(VENV)/demo
	RUN_PYTHON="$(BIN)/python" tests/aarch64/run.sh teach 3.11

arm64-deb-test: $(VENV)/demo
	RUN_PYTHON="$(BIN)/python" tests/aarch64/run.sh package

requirements: $(VENV)/dev
	$(BIN)/python -m pip install --quiet uv
	PATH="$(CURDIR)/$(BIN):$$PATH" requirements/compile.sh

clean:
	rm -rf $(VENV) .venv-* dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
