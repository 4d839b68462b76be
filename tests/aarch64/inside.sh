#!/bin/sh
# Runs inside the emulated tree for run.sh. Wheels, checkout and, if there is one, shared/ are under /srv.
set -eu
export PYTHONDONTWRITEBYTECODE=1 PIP_NO_CACHE_DIR=1 HYPOTHESIS_STORAGE_DIRECTORY=/tmp/hypothesis
clip=/srv/shared/data/media/intel/walk.mkv
# Tests whose subject depends on the processor, the C library or the wheels. None of them needs an x86 machine.
tests="geometry preprocess detection tracking smoothing trigger pipeline events disclosure engines settings schemas
bundle tflite_file runtimes isolated fallback supervisor store cameras cameras_orientation cameras_files
cameras_recovering"

. /srv/checkout/tests/aarch64/timed.sh

install_release() {
    python3 -m venv /opt/oahega-edge
    pip="/opt/oahega-edge/bin/pip --disable-pip-version-check --quiet install --no-index"
    $pip --find-links /srv/wheels/device --require-hashes -r /srv/wheels/device/requirements.txt
}

replay() { /opt/oahega-edge/bin/oahega-edge replay "$1" >/tmp/events.jsonl; }

contract() {
    $pip --find-links /srv/wheels/tests --find-links /srv/wheels/device pytest hypothesis jsonschema psutil pillow
    files=""
    for name in $tests; do files="$files tests/edge/*/test_$name.py"; done
    cd /srv/checkout
    # shellcheck disable=SC2086
    /opt/oahega-edge/bin/python -m pytest -q -p no:cacheprovider -m "not long" --durations=5 $files
}

uname -m
python3 --version
timed "install" install_release
/opt/oahega-edge/bin/python -c "import oahega_edge; print(oahega_edge.__version__, oahega_edge.__file__)"
timed "check, self-test against the golden answers" \
    /opt/oahega-edge/bin/oahega-edge check --no-camera --set deployment.context=development
if [ -e "$clip" ]; then
    timed "replay" replay "$clip"
    /opt/oahega-edge/bin/python /srv/checkout/tests/aarch64/same_events.py /srv/wheels/x86.jsonl /tmp/events.jsonl
fi
timed "contract tests" contract
