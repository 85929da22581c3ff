"""Clients that are killed at moments all over the course of `prepare` and `submit`: no run is lost, and none is halved.

LOADCAST_SIGNAL_MOMENTS says at how many moments (8 unless set).
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace

import pytest

from contract import Machines, Target, running_target, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow]

MOMENTS = int(os.environ.get("LOADCAST_SIGNAL_MOMENTS", "8"))
#: A conda that takes a moment, and makes an environment in parts: the interpreter first, `whole` last.
MAMBA = """#!/bin/sh
while [ "$1" != --prefix ]; do shift; done
mkdir -p "$2/bin"
cat > "$2/bin/python" <<'END'
#!/bin/sh
ENVIRONMENT=${0%/bin/python} exec python3 "$@"
END
chmod +x "$2/bin/python"
for part in 1 2 3 4 5 6 7 8 9 10; do echo "part $part"; sleep 0.1; done
touch "$2/whole"
"""
SCRIPT = """
import os, time
environment = os.environ["ENVIRONMENT"]
print(os.path.basename(os.path.dirname(environment)), os.path.exists(environment + "/whole"), flush=True)
for number in range(5):
    time.sleep(0.1)
    print(number, flush=True)
open("outputs/done", "w").write("done")
"""
LOG = "environments True\n0\n1\n2\n3\n4\n"


@pytest.fixture(scope="module")
def targets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Target]]:
    """Projects with a target of each type, whose environments the MAMBA makes."""
    with ExitStack() as stack:
        machines = Machines(tmp_path_factory.mktemp("machines"), stack)
        made = {}
        for kind in ("local", "remote"):
            target = stack.enter_context(running_target(kind, tmp_path_factory.mktemp(kind), machines))
            config = target.project / "aml_config" / "box.runconfig"
            config.write_text(config.read_text().replace("PrepareEnvironment: false", "PrepareEnvironment: true"))
            target.write("script.py", SCRIPT)
            path = f"{machines.programs_there}:{os.environ['PATH']}"
            made[kind] = replace(target, environment={**os.environ, "PATH": path})
        mamba = machines.programs_there / "mamba"
        mamba.write_text(MAMBA)
        mamba.chmod(0o755)
        yield made


@dataclass(frozen=True)
class Command:
    """A command, and how long it takes undisturbed, with an environment that is not there yet."""

    words: tuple[str, ...]
    seconds: float


@pytest.fixture(scope="module")
def commands(targets: dict[str, Target]) -> dict[tuple[str, str], Command]:
    """By type of target and name."""
    known = {}
    for kind, target in targets.items():
        for name, words in (("prepare", ()), ("submit", ("script.py",))):
            new_environment(target, f"undisturbed-{name}")
            argv = ("experiment", name, "-c", "box", *words)
            begin = time.monotonic()
            target.loadcast(*argv)
            known[kind, name] = Command(argv, time.monotonic() - begin)
    return known


def new_environment(target: Target, name: str) -> None:
    """Let the next prepare have something to do."""
    target.write("aml_config/conda_dependencies.yml", f"channels: [{name}]\ndependencies: [python]\n")


@pytest.mark.parametrize("number", range(MOMENTS))
def test_whenever_a_client_is_killed_its_run_ends_and_its_results_come_back(
    number: int, targets: dict[str, Target], commands: dict[tuple[str, str], Command]
) -> None:
    kind, name = ("local", "remote")[number % 2], ("submit", "prepare")[number // 2 % 2]
    target, command = targets[kind], commands[kind, name]
    # One in each part of the command's course.
    share = (number // 4 + random.Random(number).random()) / ((MOMENTS + 3) // 4)
    before = {*target.runs()}
    new_environment(target, f"moment-{number}")
    with target.start(*command.words) as client:
        time.sleep(share * command.seconds)
        client.send_signal(signal.SIGKILL)
    ended = client.returncode == 0
    runs = [run for run in target.runs() if run not in before]
    told = f"{name} on {kind}, killed after {share:.0%} of {command.seconds:.1f} s{', had ended' * ended}: "
    if name == "prepare":
        assert runs == []
        said = target.loadcast("experiment", "prepare", "-c", "box")
        print(told, said.strip().splitlines()[-1])
        assert "The environment is ready." in said or "The environment was there already." in said
        target.loadcast("experiment", "submit", "-c", "box", "script.py")
        (run,) = {*target.runs()} - before
    elif not runs:
        print(told, "nothing was submitted")
        assert {*target.runs()} == before
        assert "loadcast:" not in target.loadcast("experiment", "list")
        return
    else:
        (run,) = runs
        print(told, target.state(run))
        said = target.loadcast("experiment", "list")
        assert run in said.replace("\n", "")
        assert "loadcast:" not in said
        if target.state(run) in ("submitting", "preparing"):
            target.loadcast("experiment", "wait", run)
        else:
            wait_until(lambda: target.loadcast("experiment", "list") and target.state(run) == "completed")
    check_ended(target, run)


def check_ended(target: Target, run: str) -> None:
    """The run's results are there, whole, and nothing else is left of it."""
    assert target.state(run) == "completed"
    assert (target.results(run) / "log.txt").read_text() == LOG
    assert (target.results(run) / "outputs" / "done").read_text() == "done"
    left = [path.name for path in (*target.results(run).iterdir(), *(target.base / "runs").iterdir())]
    assert [name for name in left if name.startswith(".")] == []
    assert target.processes() == []
