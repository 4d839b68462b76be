#!/bin/sh
# Test the release on aarch64 without a board, with qemu's user emulation in Debian trees (needs root, Debian and
# about 3 GB of disk):
#   run.sh [package|teach] [3.11] [3.13]     the Python of Bookworm, of Trixie; without an argument both
# Installs the wheels of the wheelhouse and runs `check`, `replay` and the tests that inside.sh lists; with `package`
# installs, upgrades, removes and purges the Debian package as package.sh says; with `teach` prints what `teach` takes in
# time and memory. The printed times are those of the emulator. OAHEGA_WHEELHOUSE: a folder of existing tars, used instead of new ones.
set -eu
cd "$(dirname "$0")/../.."
checkout=$PWD
shared=$(realpath -m "${OAHEGA_SHARED:-../shared}")
run=$(realpath -s "$(command -v "${RUN_PYTHON:-.venv/bin/python}")")
mirror=${OAHEGA_DEBIAN_MIRROR:-http://deb.debian.org/debian}
cache=$checkout/.cache
recipe=1 # raise it when the trees are made differently
mkdir -p "$cache"

packages() {
    for tool in qemu-aarch64-static debootstrap update-binfmts; do
        command -v "$tool" >/dev/null || {
            apt-get install --yes --no-install-recommends qemu-user-static binfmt-support debootstrap
            break
        }
    done
    [ -e /proc/sys/fs/binfmt_misc/register ] || mount -t binfmt_misc binfmt_misc /proc/sys/fs/binfmt_misc
    [ -e /proc/sys/fs/binfmt_misc/qemu-aarch64 ] || update-binfmts --enable qemu-aarch64
}

suite_of() {
    case $1 in
    3.11) echo bookworm ;;
    3.13) echo trixie ;;
    *) echo "Python $1 is not the Python of a supported Raspberry Pi OS; use 3.11 or 3.13" >&2; exit 2 ;;
    esac
}

# The tree is made once. Only Debian packages are installed into it.
tree() {
    suite=$(suite_of "$1")
    place=$cache/arm64-$suite-$recipe
    [ -d "$place" ] || {
        # An interrupted debootstrap leaves it mounted.
        ! mountpoint --quiet "$place.partial/proc" || umount "$place.partial/proc"
        rm -rf --one-file-system "$place.partial"
        include=systemd,python3,python3-venv,python3-systemd,mosquitto,mosquitto-clients,ca-certificates
        debootstrap --arch=arm64 --variant=minbase "--include=$include" "$suite" "$place.partial" "$mirror" >&2
        mv "$place.partial" "$place"
    }
    echo "$place"
}

wheels() {
    python=$1
    into=$2
    if [ -n "${OAHEGA_WHEELHOUSE:-}" ]; then
        tar=$(ls -t "$OAHEGA_WHEELHOUSE"/oahega-edge-*-aarch64-py"$python".tar | head -n 1)
    else
        tar=$(RUN_PYTHON="$run" sh ansible/wheelhouse.sh aarch64 "$python" "$cache/arm64-wheelhouse")
    fi
    mkdir -p "$into/device" "$into/tests"
    tar -xf "$tar" -C "$into/device"
    echo "wheelhouse: $tar"
    # Packages that the tests need besides the release.
    pinned "$python" "$into" tests pytest hypothesis jsonschema psutil pillow
}

# Wheels for aarch64 at the pinned versions, into a folder of `into`.
pinned() {
    python=$1 into=$2 folder=$3
    shift 3
    platforms=""
    for minor in $(seq 17 36); do platforms="$platforms --platform manylinux_2_${minor}_aarch64"; done
    # shellcheck disable=SC2086
    "$run" -m pip --disable-pip-version-check --quiet download --dest "$into/$folder" --only-binary :all: \
        --implementation cp --python-version "$python" --abi "cp$(echo "$python" | tr -d .)" --abi abi3 \
        --abi none --platform manylinux2014_aarch64 $platforms --constraint "$into/constraints" "$@"
}

# What somebody installs who teaches on the device: our wheel with the extra `teach`.
teacher() {
    "$run" -m pip --disable-pip-version-check --quiet wheel --no-deps --no-build-isolation --wheel-dir "$2/own" .
    pinned "$1" "$2" teach "$(ls "$2"/own/oahega_edge-*.whl)[teach]"
}

# The package, the same as an older release, and a clip for the camera: once, because one package is for both.
package() {
    into=$1
    deb=$(RUN_PYTHON="$run" sh debian/build.sh arm64 "$into")
    mv "$deb" "$into/new.deb"
    dpkg-deb --raw-extract "$into/new.deb" "$into/older"
    sed -i 's/^Version: .*/Version: 0.3.9/' "$into/older/DEBIAN/control"
    echo 0.3.9 >"$into/older/usr/lib/oahega-edge/version"
    dpkg-deb --root-owner-group -Znone --build "$into/older" "$into/old.deb" >/dev/null
    rm -rf "$into/older"
    "$run" -c "import sys, pathlib; from oahega_edge.tools.demo_clip import write_demo_clip
write_demo_clip(pathlib.Path(sys.argv[1]), fps=3)" "$into/clip.mp4"
    ls -l "$into/new.deb"
}

# The pins of the development environment without their hashes, as constraints for pip, which reads the markers for the
# Python that it runs in: one version of each.
pins() { sed -n 's/^\([A-Za-z0-9_.-]*==[^\\]*\).*/\1/p' requirements/dev.txt; }

one() {
    python=$1
    began=$(date +%s)
    tree=$(tree "$python")
    work=$(mktemp -d "$cache/arm64-work.XXXXXX")
    trap 'rm -rf "$work"' EXIT
    if [ -n "$packaged" ]; then
        cp --archive --link "$packaged" "$work/wheels"
    else
        mkdir "$work/wheels"
        pins >"$work/wheels/constraints"
        case $inside in
        teach.sh) teacher "$python" "$work/wheels" ;;
        *)
            wheels "$python" "$work/wheels"
            clip=$shared/data/media/intel/walk.mkv
            [ ! -e "$clip" ] || "$run" -m oahega_edge replay "$clip" >"$work/wheels/x86.jsonl"
            ;;
        esac
    fi
    echo "=== Python $python: tree and files ready after $(($(date +%s) - began)) s"
    # A separate mount namespace, so that no mount is left behind.
    # shellcheck disable=SC2016
    unshare --mount --pid --net --fork sh -euc '
        tree=$1 work=$2 checkout=$3 shared=$4 inside=$5
        ip link set lo up
        mkdir -p "$work/upper" "$work/below" "$work/root"
        mount -t tmpfs -o size=3g tmpfs "$work/upper"
        mkdir "$work/upper/changes" "$work/upper/work"
        mount -t overlay overlay -o "lowerdir=$tree,upperdir=$work/upper/changes,workdir=$work/upper/work" "$work/root"
        cd "$work/root"
        mount -t proc proc proc
        mount --rbind /sys sys
        mount --rbind /dev dev
        mount -t tmpfs tmpfs tmp
        # LiteRT reads the ARM core from /proc/cpuinfo and crashes if that describes a PC.
        mount --bind "$checkout/tests/aarch64/cpuinfo" proc/cpuinfo
        mkdir -p srv/checkout srv/shared srv/wheels
        mount --bind -o ro "$checkout" srv/checkout
        mount --bind "$work/wheels" srv/wheels
        [ ! -d "$shared" ] || mount --bind -o ro "$shared" srv/shared
        exec chroot . /usr/bin/env -i PATH=/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin HOME=/root LANG=C.UTF-8 \
            QEMU_CPU=cortex-a72 sh "/srv/checkout/tests/aarch64/$inside"
    ' sh "$tree" "$work" "$checkout" "$shared" "$inside" || result=$?
    echo "=== Python $python: $(($(date +%s) - began)) s, exit ${result:-0}"
    return "${result:-0}"
}

inside=inside.sh packaged=""
case ${1:-} in
package | teach)
    inside=$1.sh
    shift
    ;;
esac
[ $# -gt 0 ] || set -- 3.11 3.13
for python; do suite_of "$python" >/dev/null; done
packages
if [ "$inside" = package.sh ]; then
    packaged=$(mktemp -d "$cache/arm64-package.XXXXXX")
    trap 'rm -rf "$packaged"' EXIT
    chmod 755 "$packaged" # the daemon's user reads the clip in it
    package "$packaged"
fi
for python; do (one "$python"); done
