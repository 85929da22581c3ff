#!/usr/bin/env bash
# Makes .venv-bench, the other engines that `make bench` measures beside ours, from requirements-bench.lock. Quick when
# nothing changed. Wants what scripts/setup.sh has made.
set -euo pipefail
# shellcheck source=scripts/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

install_beside bench python
