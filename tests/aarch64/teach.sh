#!/bin/sh
# Runs inside the emulated tree for run.sh: what `teach` takes, in an environment with the extra `teach` alone.
set -eu
export PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1

. /srv/checkout/tests/aarch64/timed.sh

install_teacher() {
    python3 -m venv /opt/teach
    /opt/teach/bin/pip --disable-pip-version-check --quiet install --no-index --find-links /srv/wheels/teach \
        "$(ls /srv/wheels/own/oahega_edge-*.whl)[teach]"
}

uname -m
python3 --version
timed "install" install_teacher
timed "all lessons" python3 /srv/checkout/tests/training/bench_teach.py /opt/teach/bin/python
