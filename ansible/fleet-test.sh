#!/bin/sh
# Test rollouts on real systemd hosts (needs root, Debian and about 5 GB of disk):
#   fleet-test.sh          short: a canary and one more
#   fleet-test.sh long     four hosts and every fault, an archive, and a screen (a browser in a tree of its own: 2 GB more)
#   fleet-test.sh lint     no hosts: ansible-lint, production profile
set -eu
cd "$(dirname "$0")/.."
run=${RUN_PYTHON:-.venv/bin/python}
if [ -z "${OAHEGA_ANSIBLE:-}" ] && [ ! -x .venv-ansible/bin/ansible-playbook ]; then
    "$run" -m venv .venv-ansible
    .venv-ansible/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes \
        --requirement requirements/ansible.txt
fi
tools=${OAHEGA_ANSIBLE:-$PWD/.venv-ansible/bin}
if [ "${1:-short}" = lint ]; then
    cd ansible
    PATH="$tools:$PATH" exec ansible-lint --offline
fi
for tool in debootstrap systemd-nspawn ip ssh-keygen ssh; do
    command -v "$tool" >/dev/null || {
        apt-get install --yes --no-install-recommends debootstrap systemd-container iproute2 openssh-client
        break
    }
done
case ${1:-short} in
short) which="fleet and not long" ;;
long) which="fleet" ;;
*) echo "usage: $0 [short|long|lint]" >&2; exit 2 ;;
esac
export OAHEGA_REQUIRE_FLEET=1
# One story: the tests run in their order. One that hangs ends the run, with the stack of every thread.
exec "$run" -m pytest -p no:randomly tests/fleet/test_role.py tests/fleet/test_shadow_gate.py \
    tests/fleet/test_rollout.py tests/fleet/test_shadow_rollout.py tests/fleet/test_samples_fetched.py \
    tests/fleet/test_archive_host.py tests/fleet/test_kiosk.py -m "$which" -s --durations=0 \
    -o faulthandler_timeout=1200 -o faulthandler_exit_on_timeout=true
