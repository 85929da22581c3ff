#!/usr/bin/env bash
# Gets wrk from Debian, which `make bench-serve` asks the service with. Quick when it is there.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
# shellcheck source=scripts/bare-debian.sh
source scripts/bare-debian.sh

install_debian wrk || true
command -v wrk >/dev/null || { echo "wrk is missing: install Debian's package wrk." >&2; exit 1; }
