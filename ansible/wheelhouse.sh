#!/bin/sh
# Collect everything that a device needs to install this release without internet:
#   wheelhouse.sh ARCH PYTHON [FOLDER]      e.g. wheelhouse.sh aarch64 3.11 dist/wheelhouse
#   FOR=archive wheelhouse.sh ...           what the role `archive` needs, in oahega-edge-archive-...tar
# writes FOLDER/oahega-edge-<version>-<arch>-py<python>.tar with the wheels and a requirements.txt with their hashes.
# The same source and pins give the same tar, byte for byte.
set -eu
arch=${1:?architecture: aarch64 or x86_64}
python=${2:?Python of the devices: 3.11 (Bookworm) or 3.13 (Trixie)}
cd "$(dirname "$0")/.."
folder=${3:-dist/wheelhouse}
run=${RUN_PYTHON:-python3}
case ${FOR:-device} in
device) pins=device.txt extras=litert,signed,page kind=oahega-edge ;;
archive) pins=archive.txt extras=archive kind=oahega-edge-archive ;;
*) echo "FOR: device or archive, not $FOR" >&2; exit 2 ;;
esac
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$folder" "$work/pins" "$work/own" "$work/wheels"

pip() { "$run" -m pip --disable-pip-version-check --quiet "$@"; }

# Bookworm has glibc 2.36; wheels for older versions run too.
platforms="--platform manylinux2014_$arch"
minor=17
while [ $minor -le 36 ]; do
    platforms="$platforms --platform manylinux_2_${minor}_$arch"
    minor=$((minor + 1))
done
target="--only-binary :all: --implementation cp --python-version $python"
target="$target --abi cp$(echo "$python" | tr -d .) --abi abi3 --abi none $platforms"

# Download everything that is pinned, by hash; build our own wheel; then select what it needs from these two. The pins
# also contain the build backend, which a device does not need.
# shellcheck disable=SC2086
pip download --no-deps --require-hashes --requirement "requirements/$pins" --dest "$work/pins" $target
export SOURCE_DATE_EPOCH="${SOURCE_DATE_EPOCH:-1700000000}"
pip wheel --no-deps --no-build-isolation --wheel-dir "$work/own" .
# shellcheck disable=SC2086
pip download --no-index --find-links "$work/pins" --find-links "$work/own" --dest "$work/wheels" $target \
    "$(ls "$work"/own/oahega_edge-*.whl)[$extras]"

version=$(basename "$work"/own/oahega_edge-*.whl | cut -d- -f2)
for wheel in "$work"/wheels/*.whl; do
    name=$(basename "$wheel")
    cmp -s "$wheel" "$work/pins/$name" || cmp -s "$wheel" "$work/own/$name" || {
        echo "$name is neither pinned nor our own wheel; run requirements/compile.sh" >&2
        exit 1
    }
    printf '%s==%s --hash=sha256:%s\n' "$(echo "$name" | cut -d- -f1 | tr _ -)" \
        "$(echo "$name" | cut -d- -f2)" "$(sha256sum "$wheel" | cut -d' ' -f1)"
done >"$work/wheels/requirements.txt"

tar="$folder/$kind-$version-$arch-py$python.tar"
tar --create --file "$tar.partial" --directory "$work/wheels" --sort=name --owner=0 --group=0 --numeric-owner \
    --mtime="@$SOURCE_DATE_EPOCH" --mode=u=rw,go=r .
mv "$tar.partial" "$tar"
echo "$tar"
