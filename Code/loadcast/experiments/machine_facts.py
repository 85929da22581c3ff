"""What a machine has that scripts may need."""

from __future__ import annotations

from loadcast.errors import EnvironmentNotReadyError
from loadcast.experiments.machines import ConnectionLost, Machine, run_on
from loadcast.secrets import shown

#: Each line is a fact, its name first. Nothing of it needs more than a POSIX shell.
_PROBE = """
say() { printf '%s\\t%s\\n' "$1" "$2"; }
say system "$(uname -sr)"
say cores "$(getconf _NPROCESSORS_ONLN)"
say memory "$(awk '/^MemTotal/ { printf "%.1f GB", $2 / 1e6 }' /proc/meminfo 2>/dev/null)"
say python "$("$1" --version 2>&1)"
for program in java docker spark-submit conda uv; do
    say "$program" "$(command -v "$program" || echo none)"
done
"""


def facts_of(machine: Machine, python: str) -> dict[str, str]:
    """Facts by name; `python` is the interpreter that is asked for. Raises EnvironmentNotReadyError."""
    try:
        said = run_on(machine, ["sh", "-c", _PROBE, "sh", python]).decode("utf-8", "replace")
    except ConnectionLost as error:
        raise EnvironmentNotReadyError(f"{machine.name} cannot be reached: {error}.") from error
    pairs = (line.partition("\t") for line in said.splitlines())
    return {name: shown(value) for name, _, value in pairs if name and value}
