#!/bin/sh
# Runs inside the emulated tree for `run.sh package`: the life of the package, from its installation to its purge.
# The tree is not booted, as an image that is being built: the daemon is started here as its unit would start it.
set -eu
export DEBIAN_FRONTEND=noninteractive
settings=/etc/oahega-edge/edge.toml
releases=/opt/oahega-edge/releases
state=/var/lib/oahega-edge
runtime=/run/oahega-edge

. /srv/checkout/tests/aarch64/timed.sh

answer() {
    debconf-set-selections <<-END
	oahega-edge oahega-edge/context select development
	oahega-edge oahega-edge/camera string loop:/srv/wheels/clip.mp4
	oahega-edge oahega-edge/broker string 127.0.0.1:1883
	END
}

install_package() { apt-get --quiet --yes install "$1" </dev/null; }

first_event() {
    install -d -o oahega-edge -g oahega-edge "$state" "$runtime"
    setpriv --reuid oahega-edge --regid oahega-edge --init-groups env \
        "STATE_DIRECTORY=$state" "RUNTIME_DIRECTORY=$runtime" oahega-edge run &
    daemon=$!
    mosquitto_sub -h 127.0.0.1 -W 900 -C 1 -q 1 -t 'oahega/v1/+/event'
    kill "$daemon"
    wait "$daemon" || true
}

must() {
    "$@" || {
        echo "FAILED: $*" >&2
        exit 1
    }
}

uname -m
python3 --version
mosquitto --daemon
answer
timed "install" install_package /srv/wheels/old.deb
must [ "$(ls "$releases" | grep --count '^deb-0.3.9-')" = 1 ]
must grep --quiet development "$settings"
timed "first event" first_event
echo '# kept' >>"$settings"
timed "upgrade" install_package /srv/wheels/new.deb
must [ "$(ls "$releases" | wc -l)" = 1 ]
must [ "$(ls "$releases" | grep --count '^deb-0.3.9-')" = 0 ]
must [ "deb-$(oahega-edge --version)" = "$(ls "$releases" | cut -d - -f 1,2)" ]
must grep --quiet '# kept' "$settings"
timed "first event of the newer release" first_event
du --summarize --human-readable "$releases" /usr/lib/oahega-edge
timed "remove" apt-get --quiet --yes remove oahega-edge
must [ ! -e /opt/oahega-edge ]
must [ ! -e /usr/bin/oahega-edge ]
must [ -e "$settings" ]
must [ -e "$state" ]
timed "purge" apt-get --quiet --yes purge oahega-edge
must [ ! -e /etc/oahega-edge ]
must [ ! -e "$state" ]
must [ "$(grep --count oahega-edge/ /var/cache/debconf/config.dat)" = 0 ]
echo "install, first event, upgrade, remove, purge: all as promised"
