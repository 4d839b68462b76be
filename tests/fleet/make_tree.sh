#!/bin/sh
# Build a Debian Bookworm tree that systemd-nspawn can boot: make_tree.sh TREE (root; 1-3 minutes, ~330 MB).
# What Raspberry Pi OS Lite has and this project needs: systemd, udev, Python 3.11 with venv.
set -eu
tree=$1
[ -e "$tree/etc/oahega-test-tree" ] && exit 0
rm -rf "$tree" "$tree.part"
mkdir -p "$(dirname "$tree")"
debootstrap --variant=minbase \
    --include=systemd,systemd-sysv,dbus,udev,python3,python3-venv,python3-pip \
    bookworm "$tree.part" >"$tree.log" 2>&1 || { tail -n 20 "$tree.log" >&2; exit 1; }
chroot "$tree.part" apt-get clean
rm -rf "$tree.part"/var/lib/apt/lists/*
echo oahega-test >"$tree.part/etc/hostname"
touch "$tree.part/etc/oahega-test-tree"
mv "$tree.part" "$tree"
