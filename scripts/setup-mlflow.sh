#!/usr/bin/env bash
# Makes .venv-mlflow, MLflow's pages for `loadcast history ui`, from requirements-mlflow.lock. Quick when nothing changed.
# Wants what scripts/setup.sh has made.
set -euo pipefail
# shellcheck source=scripts/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

stamp=.venv-mlflow/.stamp
wanted=$(fingerprint requirements-mlflow.lock scripts/setup-mlflow.sh)
[[ -x .venv-mlflow/bin/mlflow && $(cat "$stamp" 2>/dev/null) == "$wanted" ]] && exit
install_uv
echo "Setting up .venv-mlflow from requirements-mlflow.lock"
"$uv" venv --quiet --clear --python "$python" .venv-mlflow
VIRTUAL_ENV=.venv-mlflow "$uv" pip sync --quiet --require-hashes requirements-mlflow.lock
printf '%s\n' "$wanted" >"$stamp"
