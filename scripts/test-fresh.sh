#!/usr/bin/env bash
# Runs README's two commands, `make demo` and `make test`, as a stranger would: in a clone, on a Debian with nothing on it
# but Python, make and git. The bare systems are made by debootstrap, once, and kept in the user's cache folder.
#   scripts/test-fresh.sh [SUITE...]    trixie (Debian 13) and bookworm (Debian 12) unless given
# Wants root and debootstrap. Where it can't be done it says so and ends well.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# shellcheck source=scripts/bare-debian.sh
source scripts/bare-debian.sh

readonly packages=python3,python3-venv,make,git,ca-certificates
# Of the environment, what says how packages are fetched, and how OpenBLAS has to treat this processor.
readonly passed_on='^(PIP|UV|NPM|npm_config|NODE|SSL|CURL|REQUESTS|GIT_SSL)_|^(OPENBLAS_.*|(https?|ftp|no|all)_proxy)$'

skip() {
    printf 'Fresh machines: %s; skipped.\n' "$1" >&2
    exit 0
}

check_ability() {
    local program
    [[ $(id -u) == 0 ]] || skip "only root can make bare systems"
    for program in debootstrap chroot unshare tar git; do
        command -v "$program" >/dev/null 2>&1 || skip "found no '$program' (on Debian or Ubuntu, apt-get install $program)"
    done
    unshare --mount --pid --fork true 2>/dev/null || skip "this machine allows no mount namespaces"
}

# environment SYSTEM: the variables of a login, and those that say how packages are fetched, one a line. Those that name a
# file or folder which is not there are left out.
environment() {
    local system=$1 setting value
    printf '%s\n' HOME="$HOME" PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8
    env | while IFS= read -r setting; do
        value=${setting#*=}
        [[ ${setting%%=*} =~ $passed_on && ($value != /* || -e $system$value) ]] || continue
        printf '%s\n' "$setting"
    done
}

# as_stranger SYSTEM COMMAND: runs it in the clone there. All that it starts ends with it, and /proc is mounted for it alone.
as_stranger() {
    local system=$1 command=$2 settings code=0
    mapfile -t settings < <(environment "$system")
    echo "$ $command"
    # shellcheck disable=SC2016
    unshare --mount --pid --fork --kill-child bash -c '
        mount -t proc proc "$1/proc" && exec chroot "$1" /usr/bin/env -i "${@:3}" bash -c "cd ~/loadcast && $2"' \
        bash "$system" "$command" "${settings[@]}" </dev/null &
    running=$! # in the background, so that a signal is heard at once
    wait "$running" || code=$?
    running=''
    return "$code"
}

# Ends what runs in the bare system, and only then removes it.
clean_up() {
    if [[ -n $running ]]; then
        kill -KILL "$running" 2>/dev/null || true # unshare ignores the others; all in its namespace ends with it
        wait "$running" 2>/dev/null || true
    fi
    [[ -z $system ]] || remove "$system"
}

try_suite() {
    local suite=$1 archive command
    archive=$(bare_debian "$suite" "$packages") || skip "debootstrap could not make a bare $suite"
    system=$(mktemp -d "$bare_cache/run-XXXXXX")
    tar -C "$system" --numeric-owner -xzf "$archive"
    configure "$system"
    mkdir -p "$system$HOME"
    git clone --quiet --no-hardlinks . "$system$HOME/loadcast"
    # shellcheck disable=SC1091
    (. "$system/etc/os-release" && printf '\n%s, %s\n' "$PRETTY_NAME" "$(chroot "$system" python3 --version)")
    for command in "make demo" "make test"; do
        as_stranger "$system" "$command" || { echo "Fresh machines: '$command' failed on a bare $suite." >&2; exit 1; }
    done
    remove "$system"
    system=''
}

check_ability
make_cache
# What runs that were killed left.
find "$bare_cache" -mindepth 1 -maxdepth 1 -type d -mtime +0 -exec rm -rf --one-file-system {} +
system='' running=''
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
[[ -z $(git status --porcelain) ]] || echo "Fresh machines: what is not committed is not tested." >&2
[[ $# -gt 0 ]] || set -- trixie bookworm
for suite in "$@"; do try_suite "$suite"; done
