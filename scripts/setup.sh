#!/usr/bin/env bash
# Makes .venv from the lock files and sees that Java is there. Quick when nothing changed.
#   PYTHON=python3.12 scripts/setup.sh    uses that Python (3.11 to 3.13; python3 unless given)
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

fail() {
    printf '%s\n' "$1" >&2
    exit 3
}

find_python() {
    local wanted=${PYTHON:-python3}
    command -v "$wanted" >/dev/null 2>&1 ||
        fail "Python: found no '$wanted', wanted Python 3.11 to 3.13; install it, or name one with PYTHON=/path/to/python3."
    # The real interpreter, not a shim that may choose another version elsewhere.
    "$wanted" -c 'import sys; (3, 11) <= sys.version_info < (3, 14) or sys.exit(1); print(sys.executable)' ||
        fail "Python: '$wanted' is $("$wanted" --version 2>&1 | head -n 1), wanted 3.11 to 3.13; name one with PYTHON=/path/to/python3."
}

# fingerprint FILE...: what an environment is made from; a change of any of it means work to do.
fingerprint() {
    {
        printf '%s\n' "$PWD" "$python"
        "$python" --version
        cat requirements-uv.lock "$@"
    } | sha256sum | cut -d ' ' -f 1
}

install_uv() {
    local stamp=.venv-tools/.stamp wanted
    wanted=$(sha256sum <requirements-uv.lock)
    [[ -x $uv && $(cat "$stamp" 2>/dev/null) == "$wanted" ]] && return
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "Python: $python cannot make environments (its venv module is missing); on Debian or Ubuntu, install python3-venv."
    echo "Setting up uv"
    "$python" -m venv --clear .venv-tools
    .venv-tools/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-uv.lock
    printf '%s\n' "$wanted" >"$stamp"
}

install_packages() {
    local stamp=.venv/.stamp wanted
    wanted=$(fingerprint requirements-dev.lock requirements*.in pyproject.toml scripts/setup.sh)
    [[ -x .venv/bin/loadcast && $(cat "$stamp" 2>/dev/null) == "$wanted" ]] && return
    install_uv
    echo "Setting up .venv from requirements-dev.lock"
    # `--clear` only where Python or the folder changed: otherwise the packages at hand are kept.
    if [[ $(cat .venv/.made-by 2>/dev/null) != "$PWD $python" ]]; then
        "$uv" venv --quiet --clear --python "$python" .venv
        printf '%s\n' "$PWD $python" >.venv/.made-by
    fi
    # The lock also pins what PySpark's source archive is built with.
    VIRTUAL_ENV=.venv "$uv" pip sync --quiet --require-hashes --require-build-hashes \
        --build-constraints requirements-dev.lock requirements-dev.lock
    VIRTUAL_ENV=.venv "$uv" pip install --quiet --no-deps --no-build-isolation --editable .
    # Compiled now, and not in the first run.
    .venv/bin/python -c 'from loadcast.kernels import moments, scan; scan.load(); moments.compiled_adding()'
    printf '%s\n' "$wanted" >"$stamp"
}

# install_beside NAME PROGRAM: makes .venv-NAME from requirements-NAME.lock, which brings PROGRAM, if anything has changed.
install_beside() {
    local folder=.venv-$1 lock=requirements-$1.lock wanted
    wanted=$(fingerprint "$lock" scripts/setup.sh)
    [[ -x $folder/bin/$2 && $(cat "$folder/.stamp" 2>/dev/null) == "$wanted" ]] && return
    install_uv
    echo "Setting up $folder from $lock"
    "$uv" venv --quiet --clear --python "$python" "$folder"
    VIRTUAL_ENV=$folder "$uv" pip sync --quiet --require-hashes "$lock"
    printf '%s\n' "$wanted" >"$folder/.stamp"
}

java_ready() { .venv/bin/python -m loadcast.spark.java; }

install_java() {
    local package
    java_ready >/dev/null 2>&1 && return
    if [[ $(id -u) == 0 ]] && command -v apt-get >/dev/null 2>&1; then
        echo "Installing Java with apt-get"
        apt-get update -qq >&2 || true
        for package in openjdk-17-jre-headless openjdk-21-jre-headless default-jre-headless; do
            DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >&2 && break
        done
    fi
    java_ready >/dev/null # says in one sentence what is missing
}

export UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1
# As pip does, trust the machine's own certificates where it has any: a company's proxy may sign with one of them.
[[ -e /etc/ssl/certs/ca-certificates.crt ]] && export UV_SYSTEM_CERTS=1
uv=.venv-tools/bin/uv
python=$(find_python)
# setup-bench.sh and others like it read this file for its functions.
[[ ${BASH_SOURCE[0]} == "$0" ]] || return 0
install_packages
install_java
