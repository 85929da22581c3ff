#!/usr/bin/env bash
# Gets what the integration tests need beside .venv: the Spark of older clusters in .venv-spark35, MLflow's pages in
# .venv-mlflow, Hadoop's minicluster and its drivers for Azure in .venv/var/ivy. Quick when nothing changed. Where
# something cannot be had it says so and ends well: the tests that need it then skip. Wants what scripts/setup.sh has made.
set -euo pipefail
# shellcheck source=scripts/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

skip() { printf '%s; the tests that need it are skipped.\n' "$1" >&2; }

# Ends with what its last command says: in a condition, as below, bash would go on after one that fails.
install_spark35() {
    install_uv &&
        "$uv" venv --quiet --clear --python "$python" .venv-spark35 &&
        VIRTUAL_ENV=.venv-spark35 "$uv" pip sync --quiet --require-hashes --require-build-hashes \
            --build-constraints requirements-spark35.lock requirements-spark35.lock
}

stamp=.venv-spark35/.stamp
wanted=$(fingerprint requirements-spark35.lock scripts/setup-integration.sh)
if [[ ! -x .venv-spark35/bin/python || $(cat "$stamp" 2>/dev/null) != "$wanted" ]]; then
    echo "Setting up .venv-spark35 from requirements-spark35.lock"
    if install_spark35; then
        printf '%s\n' "$wanted" >"$stamp"
    else
        skip "PySpark 3.5: it could not be installed"
    fi
fi
scripts/setup-mlflow.sh || skip "MLflow's pages: they could not be installed"
JAVA_HOME=$(java_ready) .venv/bin/python tests/support/artefacts.py || skip "Java libraries: not all could be fetched"
