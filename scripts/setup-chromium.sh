#!/usr/bin/env bash
# Gets Debian's chromium, for the test that looks at pages and for pictures of them: `.venv/var/chromium/chromium` runs it,
# without a window. It is unpacked there with the libraries that this machine lacks, and not installed. Quick when it is
# there. Where it cannot be had it says so and ends well: the test that needs it then skips.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

folder=.venv/var/chromium
[[ -x $folder/chromium ]] && exit 0
if ! command -v apt-get >/dev/null 2>&1 || ! command -v dpkg-deb >/dev/null 2>&1; then
    echo "Chromium: this is no Debian; the test that needs it is skipped." >&2
    exit 0
fi
# Two that come at once would take the folder from under each other's tests.
mkdir -p "$(dirname "$folder")"
exec 9>"$folder.lock"
flock 9
[[ -x $folder/chromium ]] && exit 0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# The packages, and those that they need and this machine lacks, into the working folder.
fetch() (
    cd "$work"
    missing=$(LC_ALL=C apt-get install -s --no-install-recommends --reinstall chromium fonts-dejavu-core 2>/dev/null |
        sed -n 's/^Inst \([^ ]*\).*/\1/p')
    [[ $missing ]] && xargs apt-get download -qq <<<"$missing" >/dev/null 2>&1
)
# What runs it: with its own libraries and fonts, as the machine has none or others.
runner() {
    cat <<'RUNNER'
#!/bin/sh
here=$(dirname "$(readlink -f "$0")")
lib=$here/usr/lib/$(uname -m)-linux-gnu
export LD_LIBRARY_PATH="$lib:$lib/pulseaudio${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}" FONTCONFIG_FILE="$here/fonts.conf"
exec "$here/usr/lib/chromium/chromium" --headless "$@"
RUNNER
}
fonts() {
    cat <<'FONTS'
<?xml version="1.0"?>
<!DOCTYPE fontconfig SYSTEM "urn:fontconfig:fonts.dtd">
<fontconfig>
  <dir prefix="relative">usr/share/fonts</dir>
  <dir>/usr/share/fonts</dir>
  <cachedir prefix="xdg">fontconfig</cachedir>
</fontconfig>
FONTS
}
if fetch || { apt-get update -qq >/dev/null 2>&1 && fetch; }; then
    for package in "$work"/*.deb; do dpkg-deb -x "$package" "$work/root"; done
    runner >"$work/root/chromium"
    fonts >"$work/root/fonts.conf"
    chmod +x "$work/root/chromium"
    rm -rf "$folder"
    mv "$work/root" "$folder"
else
    echo "Chromium: it could not be fetched; the test that needs it is skipped." >&2
fi
