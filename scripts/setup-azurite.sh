#!/usr/bin/env bash
# Installs Azurite, the blob server of the integration tests, into tests/node_modules from tests/package-lock.json. Quick
# when nothing changed. Where npm is missing or gets no packages it says so and ends well: the tests then skip.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../tests"

skip() {
    printf 'Azurite: %s; the tests that need it are skipped.\n' "$1" >&2
    exit 0
}

stamp=node_modules/.stamp
wanted=$(cat package-lock.json ../scripts/setup-azurite.sh | sha256sum)
[[ -x node_modules/.bin/azurite-blob && $(cat "$stamp" 2>/dev/null) == "$wanted" ]] && exit
for program in node npm; do
    command -v "$program" >/dev/null 2>&1 || skip "found no '$program', wanted Node.js 20 or newer with npm"
done
echo "Setting up Azurite from tests/package-lock.json"
rm -f "$stamp"
# No package of the lock needs its scripts.
npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --loglevel=error >/dev/null || skip "npm could not install it"
printf '%s\n' "$wanted" >"$stamp"
