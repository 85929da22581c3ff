#!/usr/bin/env bash
# Gets what the tests of containers need: podman from Debian, and in .venv/var/containers/base.tar a bare Debian with
# Python and Java, which knows how this machine reaches the package registries. Quick when it is there. Where it cannot be
# had it says so and ends well: the tests that need it then skip.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/bare-debian.sh
source scripts/bare-debian.sh

folder=.venv/var/containers
[[ -f $folder/base.tar ]] && command -v podman >/dev/null && exit 0
skip() {
    printf 'Containers: %s; the tests that need them are skipped.\n' "$1" >&2
    exit 0
}
[[ $(id -u) == 0 ]] || skip "only root can make a bare system"
command -v apt-get >/dev/null 2>&1 || skip "this is no Debian"

install_debian podman runc buildah catatonit debootstrap || skip "podman could not be installed"
make_cache
archive=$(bare_debian bookworm python3,python3-venv,ca-certificates,openjdk-17-jre-headless) ||
    skip "debootstrap could not make a bare Debian"
system=$(mktemp -d "$bare_cache/image-XXXXXX")
trap 'remove "$system"' EXIT
tar -C "$system" --numeric-owner -xzf "$archive"
configure "$system"
mkdir -p "$folder"
tar -C "$system" --one-file-system --numeric-owner -cf "$folder/.making.tar" .
mv "$folder/.making.tar" "$folder/base.tar"
