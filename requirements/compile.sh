#!/bin/sh
# Compile pyproject.toml into the pinned files of this folder. Needs `uv` (pip install uv).
# dev.txt comes first; the smaller environments take its versions, so that one venv serves all.
set -eu
cd "$(dirname "$0")/.."
compile() {
    out="requirements/$1"
    shift
    uv pip compile pyproject.toml --quiet --generate-hashes \
        --no-header --no-annotate --no-strip-extras -o "$out" "$@"
}
compile dev.txt --universal --python-version 3.11 --extra dev
compile device.txt --universal --python-version 3.11 --extra litert --extra signed --extra page --group build-backend -c requirements/dev.txt
compile archive.txt --universal --python-version 3.11 --extra archive --group build-backend -c requirements/dev.txt
compile demo.txt --universal --python-version 3.11 --extra demo --group build-backend -c requirements/dev.txt
compile tflite-py311.txt --python-version 3.11 --extra tflite --extra signed --group build-backend --group contract
# The tools of a release need nothing of the project itself, nor does the operator's machine.
uv pip compile --group pyproject.toml:release --quiet --generate-hashes \
    --no-header --no-annotate --no-strip-extras --universal --python-version 3.11 -o requirements/release.txt
uv pip compile --group pyproject.toml:fleet --quiet --generate-hashes \
    --no-header --no-annotate --no-strip-extras --universal --python-version 3.11 -o requirements/ansible.txt
# Superset runs on one Python, in an environment of its own.
uv pip compile --group pyproject.toml:superset --quiet --generate-hashes \
    --no-header --no-annotate --no-strip-extras --python-version 3.11 -o requirements/superset.txt
