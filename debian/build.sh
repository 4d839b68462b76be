#!/bin/sh
# Build the Debian package for Bookworm and Trixie:
#   build.sh arm64|amd64 [FOLDER]      writes FOLDER/oahega-edge_<version>_<arch>.deb (dist without FOLDER)
# OAHEGA_WHEELHOUSE: a folder of existing wheelhouses, used instead of new ones. The same wheelhouses give the same
# package, byte for byte.
set -eu
umask 022
case ${1:?architecture: arm64 or amd64} in
arm64 | aarch64) arch=arm64 machine=aarch64 ;;
amd64 | x86_64) arch=amd64 machine=x86_64 ;;
*) echo "architecture $1: expected arm64 or amd64" >&2; exit 2 ;;
esac
cd "$(dirname "$0")/.."
folder=${2:-dist}
run=${RUN_PYTHON:-python3}
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-1700000000}"
root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
mkdir -p "$folder"
lib=$root/usr/lib/oahega-edge
system=$root/usr/lib/systemd/system

wheelhouse() {
    if [ -n "${OAHEGA_WHEELHOUSE:-}" ]; then
        ls -t "$OAHEGA_WHEELHOUSE"/oahega-edge-*-"$machine"-py"$1".tar | head -n 1
    else
        RUN_PYTHON="$run" sh ansible/wheelhouse.sh "$machine" "$1"
    fi
}

mkdir -p "$lib/wheels"
for python in 3.11 3.13; do
    # Most wheels are the same for both; each requirements file names its own by digest.
    tar --extract --file "$(wheelhouse "$python")" --directory "$lib/wheels"
    mv "$lib/wheels/requirements.txt" "$lib/wheels/requirements-$python.txt"
done
chmod 755 "$lib/wheels" # the tar's own folder cannot be entered
set -- "$lib"/wheels/oahega_edge-*.whl
if [ $# -ne 1 ]; then
    echo "the wheelhouses hold different releases ($(basename -a "$@" | paste -sd ' ')); make both again" >&2
    exit 1
fi
version=$(basename "$1" | cut -d- -f2)
echo "$version" >"$lib/version"
install -m 755 debian/environment "$lib/environment"
install -m 644 debian/settings.py "$lib/settings.py"

install -D -m 644 -t "$system" systemd/oahega-edge.service systemd/oahega-edge-page.service systemd/oahega-kiosk.service
install -m 644 systemd/oahega-edge.service "$system/oahega-edge@.service"
install -D -m 644 systemd/instance.conf "$system/oahega-edge@.service.d/instance.conf"
install -D -m 644 systemd/oahega-edge.sysusers "$root/usr/lib/sysusers.d/oahega-edge.conf"
install -D -m 644 systemd/oahega-kiosk.sysusers "$root/usr/lib/sysusers.d/oahega-kiosk.conf"
install -D -m 644 systemd/oahega-edge.tmpfiles "$root/usr/lib/tmpfiles.d/oahega-edge.conf"
install -D -m 644 -t "$root/usr/lib/udev/rules.d" systemd/99-oahega-edge-coral.rules systemd/99-oahega-kiosk.rules
install -D -m 644 LICENSE "$root/usr/share/doc/oahega-edge/copyright"
mkdir -p "$root/usr/bin"
ln -s /opt/oahega-edge/current/bin/oahega-edge "$root/usr/bin/oahega-edge"

mkdir "$root/DEBIAN"
install -m 644 -t "$root/DEBIAN" debian/templates debian/triggers
install -m 755 -t "$root/DEBIAN" debian/config debian/postinst debian/prerm debian/postrm
size=$(du --summarize --apparent-size --block-size=1024 "$root/usr" | cut -f1)
sed -e "s/@VERSION@/$version/" -e "s/@ARCH@/$arch/" -e "s/@SIZE@/$size/" debian/control >"$root/DEBIAN/control"

package=$folder/oahega-edge_${version}_$arch.deb
# The wheels are compressed already.
dpkg-deb --root-owner-group -Znone --build "$root" "$package" >&2
echo "$package"
