#!/usr/bin/env bash
# Makes .venv-bench, the other engines that `make bench` measures beside ours, from requirements-bench.lock. Quick when
# nothing changed. Wants what scripts/setup.sh has made.
set -euo pipefail
# shellcheck source=scripts/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

stamp=.venv-bench/.stamp
wanted=$(fingerprint requirements-bench.lock scripts/setup-bench.sh)
[[ -x .venv-bench/bin/python && $(cat "$stamp" 2>/dev/null) == "$wanted" ]] && exit
install_uv
echo "Setting up .venv-bench from requirements-bench.lock"
"$uv" venv --quiet --clear --python "$python" .venv-bench
VIRTUAL_ENV=.venv-bench "$uv" pip sync --quiet --require-hashes requirements-bench.lock
printf '%s\n' "$wanted" >"$stamp"
