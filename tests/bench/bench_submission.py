"""What a submission adds to a script's own time, on each type of target that this machine can play, prepared before.

The script sleeps for a second. The machine by SSH is a host of the tests, with an address and files of its own;
its containers are podman's. They are wanted: scripts/setup-ssh.sh and scripts/setup-containers.sh.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import pytest

from bench.data import ROOT
from bench.harness import Contender, Run, Scale, run_contender, summarize, take_turns
from bench.results import parse, parser, save, show, work_folder
from containers import BASE_IMAGE, STORE, make_docker, require_containers
from hosts import require_hosts, running_hosts

_SCRIPT = "import time; time.sleep(1); open('outputs/x', 'w').write('x')"
_DIRECTLY = "the script alone"
_ROUNDS = 7


def main() -> None:
    """Make the machines, let the script alone and its submissions take turns, print the table."""
    options = parser(__doc__)
    options.set_defaults(runs=_ROUNDS)
    chosen = parse(options, other_engines=False)
    with work_folder(None) as (_, scratch), ExitStack() as machines:
        project = scratch / "project"
        (project / "outputs").mkdir(parents=True)
        (project / "script.py").write_text(_SCRIPT)
        subprocess.run(["git", "init", "-q", str(project)], check=True)
        contenders = [Contender(_DIRECTLY, [sys.executable, "script.py"])]
        contenders += [_contender(project, fields) for fields in _targets(scratch, machines)]
        for contender in contenders:  # the agent is sent, and connections are made, before the clock runs
            run_contender(contender, project)
        runs = take_turns(contenders, chosen.runs, lambda contender: run_contender(contender, project))
    lines = [*added(runs)]
    rows = [summarize(name, items, Scale()) for name, items in runs.items()]
    show(f"A script of one second, submitted; medians of {chosen.runs}", rows, lines)
    save(chosen.json, "submission", rows, runs, added=lines)


def _targets(scratch: Path, machines: ExitStack) -> Iterator[Mapping[str, object]]:
    """The fields of the targets that there can be here; why others cannot is said."""
    yield {"type": "local"}
    try:
        require_hosts()
    except pytest.skip.Exception as missing:
        print(missing)
        return
    programs: Path | None = None
    try:
        require_containers()
        programs = make_docker(scratch / "docker")
    except pytest.skip.Exception as missing:
        print(missing)
    shared = [programs.parent, STORE] if programs else []
    hosts = running_hosts(scratch / "hosts", ["vm"], programs=programs, shared=shared)
    host = machines.enter_context(hosts)["vm"]
    login = {
        "address": host.address,
        "username": host.user,
        "private_key_file": str(host.key_file),
        "hostKey": host.host_key,
    }
    yield {"type": "remote", **login}
    if programs:
        yield {"type": "remotedocker", **login, "baseDockerImage": BASE_IMAGE}


def _contender(project: Path, fields: Mapping[str, object]) -> Contender:
    """The command that submits the script to a target, whose files are written under its type's name."""
    folder, name = project / "aml_config", str(fields["type"])
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.compute").write_text(json.dumps(fields))
    runconfig = {"Target": name, "Framework": "Python", "PrepareEnvironment": False}
    (folder / f"{name}.runconfig").write_text(json.dumps(runconfig))
    command = [sys.executable, "-m", "loadcast", "experiment", "submit", "-c", name, "script.py"]
    return Contender(f"submitted to {name}", command, {"PYTHONPATH": str(ROOT / "Code")})


def added(runs: Mapping[str, Sequence[Run]]) -> Iterator[str]:
    """Seconds that each submission adds to the script alone, in words: the median of the rounds, and each."""
    for name, items in runs.items():
        if name != _DIRECTLY:
            more = [run.seconds - alone.seconds for run, alone in zip(items, runs[_DIRECTLY], strict=True)]
            yield f"{name}: {median(more):.2f} s more ({', '.join(f'{seconds:.2f}' for seconds in more)})"


if __name__ == "__main__":
    main()
