#!/usr/bin/env bash
# Builds the wheel and tries it as somebody without the clone would: installed with the extra `spark` it runs its demo in a
# folder outside, and installed alone it serves Model/ and the demo's model, asked by the client. Wants `make setup`.
set -euo pipefail
# shellcheck source=scripts/setup.sh
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

clone=$PWD
work=$(mktemp -d)
service=
trap '[[ -z $service ]] || kill "$service" 2>/dev/null; rm -rf "$work"' EXIT
unset PYTHONPATH

# install ENVIRONMENT REQUIREMENT: into a fresh environment, at the versions of the lock.
install() {
    "$uv" venv --quiet --python "$python" "$work/$1"
    VIRTUAL_ENV=$work/$1 "$uv" pip install --quiet --constraint "$work/versions" "$2"
}

# answers ADDRESS: what the service there says about itself.
answers() { "$work/alone/bin/python" -c 'import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())' "$1"; }

# serve MODEL: starts the service that was installed alone, and sets `address` and `service`.
serve() {
    local log=$work/serve.log
    "$work/alone/bin/loadcast" serve --model "$1" --port 0 >"$log" 2>&1 &
    service=$! address=
    for _ in $(seq 300); do
        address=$(grep -om1 'http://[0-9.:]*' "$log" || true)
        [[ -z $address ]] || return 0
        kill -0 "$service" 2>/dev/null || break
        sleep 0.2
    done
    cat "$log" >&2
    fail "The wheel: 'loadcast serve --model $1' did not start."
}

stop() { kill "$service" && wait "$service" || true; service=; }

install_uv
wheel=$(cd "$clone" && .venv/bin/python -m hatchling build --target wheel --directory "$work/dist" 2>/dev/null | tail -n 1)
[[ -f $wheel ]] || wheel=$(echo "$work"/dist/*.whl)
sed -n 's/^\([a-z].*\) \\$/\1/p' requirements.lock >"$work/versions"
install alone "$wheel"
install whole "${wheel}[spark]"
for module in pyspark pandas numba llvmlite xgboost scipy; do
    ! "$work/alone/bin/python" -c "import $module" 2>/dev/null || fail "The wheel: the service alone brought $module."
done

mkdir "$work/elsewhere"
cd "$work/elsewhere"
said=$("$work/alone/bin/loadcast" demo 2>&1) && fail "The wheel: without the extra, the demo did not fail."
[[ $said == "loadcast: pyspark is not installed"*"pip install 'loadcast[spark]'" ]] || fail "The wheel: found '$said'."
"$work/whole/bin/loadcast" demo

serve "$clone/Model"
answers "$address/health/ready"
stop
serve output/demo
"$work/alone/bin/loadcast" score Config/demo.json --url "$address" --format json >"$work/forecast.json"
stop
echo "The wheel: the demo ran outside the clone, and the service alone served Model/ and the demo's model."
