#!/usr/bin/env bash
# Makes .venv-mlflow, MLflow's pages for `loadcast history ui`, from requirements-mlflow.lock. Quick when nothing changed.
# Wants what scripts/setup.sh has made.
set -euo pipefail
# shellcheck source=scripts/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

install_beside mlflow mlflow
