#!/usr/bin/env bash
# Gets OpenSSH's server for the tests of remote targets, unpacked in .venv/var/ssh and not installed: it runs in a mount
# namespace of the tests. Where it cannot be had it says so and ends well: the tests that need it then skip.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=.venv/var/ssh
[[ -x $folder/usr/sbin/sshd ]] && exit 0
if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1; then
    echo "OpenSSH's server: this is no Debian; the tests that need it are skipped." >&2
    exit 0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fetch() { (cd "$work" && apt-get download -qq openssh-server libwrap0 >/dev/null 2>&1); }
if fetch || { apt-get update -qq >/dev/null 2>&1 && fetch; }; then
    for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/root"; done
    mkdir -p "$(dirname "$folder")"
    rm -rf "$folder"
    mv "$work/root" "$folder"
else
    echo "OpenSSH's server: it could not be fetched; the tests that need it are skipped." >&2
fi
