"""What every type of compute target promises, on real machines: the same few scripts, submitted to each.

Hosts have addresses and files of their own, so whatever takes this machine for the target fails.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from contract import HOSTILE, Machines, Target, command_lines, running_target, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KINDS = ("local", "localdocker", "spark", "remote", "remotedocker", "cluster")
#: Words that a shell, an option parser or spark-submit could take for more than words.
WORDS = ("two words", "a;b", "$(id)", "`id`", "'\"", "ü", "new\nline", "-x", "--", "", "*", "\\")
PATHS = ("-dash", "--help", f"Code/{HOSTILE}/new\nline.txt", "%41#?&", "tab\there", ".hidden")
CAREFUL = """
import hashlib, json, os, sys, time

def say(number):
    print("line", number, file=(sys.stdout, sys.stderr)[number % 2], flush=True)

for number in range(6):
    say(number)
print("line ready", flush=True)
while not os.path.exists("gate"):
    time.sleep(0.02)
for number in range(6, 12):
    say(number)
files = [os.path.relpath(os.path.join(top, name)) for top, _, names in os.walk(".") for name in names]
facts = {
    "words": sys.argv[1:],
    "ours": os.environ["OURS"],
    "key": hashlib.sha256(os.environ["KEY"].encode()).hexdigest(),
    "files": {path: open(path).read() for path in files},
}
with open("outputs/facts.json", "w") as file:
    json.dump(facts, file)
for name in sys.argv[1:3]:
    with open("outputs/" + name, "w") as file:
        file.write(name)
sys.exit(7)
"""
STUBBORN = """
import signal, subprocess, sys, time
child = "import time, signal as s; s.signal(s.SIGTERM, s.SIG_IGN); print('begun', flush=True); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", child], start_new_session=True)
time.sleep(600)
"""
COPIED = """
import os, signal, sys, time
from pathlib import Path
def end(*_):
    Path("outputs/ended").write_text("as asked")
    sys.exit(3)
signal.signal(signal.SIGTERM, end)
print(os.getcwd(), Path("Code/copied.py").exists(), *sys.argv[1:])
Path(os.environ["LOADCAST_RUN_LOG"]).write_text("{}\\n")
Path("outputs/deep").mkdir()
Path("outputs/deep/a b").write_text("42")
os.symlink("/etc/passwd", "outputs/link")
print("begun", flush=True)
time.sleep(600 if "wait" in sys.argv else 0)
sys.exit(7)
"""
CONDA = "name: x\ndependencies: [python=3.11, openjdk=17, pip, {pip: [packaging==25.0]}]\n"
LINES = 1_000_000
LOUD = f"""
import sys
for number in range(0, {LINES}, 1000):
    sys.stdout.write("".join("%99d\\n" % line for line in range(number, number + 1000)))
"""
#: What a client may need beyond one that lists runs: less than the log of 100 MB.
BUFFERS_KB = 80_000


@pytest.fixture(scope="module")
def machines(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    with ExitStack() as stack:
        yield Machines(tmp_path_factory.mktemp("machines"), stack)


@pytest.fixture(scope="module", params=KINDS)
def target(
    request: pytest.FixtureRequest, machines: Machines, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Target]:
    with running_target(request.param, tmp_path_factory.mktemp("project"), machines) as made:
        yield made


def read_to(stream: Any, last: str) -> list[str]:
    """Lines of a script, up to one; others come from what runs it."""
    lines = []
    for line in stream:
        if line.startswith("line "):
            lines.append(line.split()[1])
        if line == f"{last}\n":
            return lines
    raise AssertionError(f"{last!r} did not come, but {lines}")


def test_a_run_outlives_its_client_and_comes_back_whole(target: Target) -> None:
    script = target.write(f"-Code/{HOSTILE}.py", CAREFUL)
    for path in PATHS:
        target.write(path, path)
    target.write(".env", f"KEY={target.secret}")
    before = ["0", "1", "2", "3", "4", "5", "ready"]
    with target.running("experiment", "submit", "-c", "box", f"./{script}", *WORDS) as client:
        assert read_to(client.stdout, "line ready") == before  # while it runs: it waits for us
        client.kill()
    (run,) = target.runs()
    assert "running" in target.loadcast("experiment", "status", run)
    assert not [line for line in command_lines() if target.secret in line]
    assert [line for line in target.processes() if "Code/" in line]  # it would be seen
    with target.running("experiment", "logs", "--follow", run) as client:
        assert read_to(client.stdout, "line ready") == before
        target.release(run)
        assert read_to(client.stdout, "line 11") == ["6", "7", "8", "9", "10", "11"]
        client.wait()
    assert client.returncode == 7
    assert "failed" in target.loadcast("experiment", "list")
    outputs = target.results(run) / "outputs"
    facts = json.loads((outputs / "facts.json").read_text())
    assert facts["words"] == [*WORDS]
    assert facts["ours"] == f"plain {target.mark}"
    assert facts["key"] == hashlib.sha256(target.secret.encode()).hexdigest()
    assert {path: facts["files"][path] for path in PATHS} == {path: path for path in PATHS}
    assert ".env" not in facts["files"]
    assert {path.name for path in outputs.iterdir()} == {"facts.json", *WORDS[:2]}
    assert target.files_with_secret() == [target.project / ".env"]
    assert target.processes() == []


def wait_for_begun(target: Target, run: str) -> None:
    """Wait until STUBBORN's child runs."""

    def has_begun() -> bool:
        said = target.loadcast("experiment", "logs", run)
        assert target.state(run) != "failed", said
        return "begun" in said

    wait_until(has_begun)


def test_a_cancelled_run_leaves_nothing(target: Target) -> None:
    script = target.write("Code/stubborn.py", STUBBORN)
    kept = {path: path.stat().st_ino for path in target.base.glob("blobs/*/*")}
    target.loadcast("experiment", "submit", "-a", "-c", "box", script)
    assert {path: path.stat().st_ino for path in kept} == kept  # only what is new was sent
    run = target.runs()[-1]
    wait_for_begun(target, run)
    assert target.processes()
    if target.docker:
        assert target.docker.names() == [f"loadcast-{run}"]
    assert "cancelled" in target.loadcast("experiment", "cancel", run)
    assert target.processes() == []
    if target.docker:
        assert target.docker.names() == []
    assert "cancelled" in target.loadcast("experiment", "status", run)


@pytest.mark.parametrize("target", ["localdocker", "remotedocker"], indirect=True)
def test_the_container_of_a_run_that_was_lost_can_be_cancelled(target: Target) -> None:
    assert target.docker is not None
    target.loadcast("experiment", "submit", "-a", "-c", "box", target.write("Code/stubborn.py", STUBBORN))
    run = target.runs()[-1]
    wait_for_begun(target, run)
    keeper = json.loads((target.base / "runs" / run / "state.json").read_text())["keeper"]
    target.run("kill", "-KILL", str(keeper))
    assert "lost" in target.loadcast("experiment", "status", run)
    assert target.docker.names() == [f"loadcast-{run}"]
    target.loadcast("experiment", "cancel", run)
    assert target.docker.names() == []
    assert target.processes() == []


@pytest.mark.parametrize("target", ["localdocker"], indirect=True)
def test_without_volumes_files_are_copied_and_results_come_back(target: Target) -> None:
    compute = target.project / "aml_config" / "box.compute"
    with_volumes = compute.read_text()
    compute.write_text(with_volumes.replace("sharedVolumes: true", "sharedVolumes: false"))
    script = target.write("Code/copied.py", COPIED)
    said = target.loadcast("experiment", "submit", "-c", "box", script, "a b;$(id)", code=7)
    assert "/loadcast-run/work True a b;$(id)\nbegun\n" in said
    results = target.results(target.runs()[-1])
    assert (results / "logged.jsonl").read_text() == "{}\n"
    assert sorted(path.name for path in (results / "outputs").rglob("*")) == ["a b", "deep"]
    target.loadcast("experiment", "submit", "-a", "-c", "box", script, "wait")
    run = target.runs()[-1]
    wait_until(lambda: "begun" in target.loadcast("experiment", "logs", run))
    target.loadcast("experiment", "cancel", run)
    assert (target.results(run) / "outputs" / "ended").read_text() == "as asked"
    assert target.docker is not None
    assert target.docker.names() == []
    compute.write_text(with_volumes)


@pytest.mark.parametrize("target", ["localdocker"], indirect=True)  # hosts do not reach what pip asks for packages
def test_an_environment_becomes_an_image_once(target: Target) -> None:
    target.write("aml_config/conda_dependencies.yml", CONDA)
    config = target.project / "aml_config" / "box.runconfig"
    target.write("aml_config/made.runconfig", config.read_text().replace("Environment: false", "Environment: true"))
    assert "docker build" in target.loadcast("experiment", "prepare", "-c", "made")
    assert "docker build" not in target.loadcast("experiment", "prepare", "-c", "made")
    script = target.write("Code/wants.py", "import packaging as p; print(p.__version__, p.__file__)")
    assert "25.0 /opt/loadcast/environments/" in target.loadcast("experiment", "submit", "-c", "made", script)


#: A container here and a driver here read as `local` does.
@pytest.mark.parametrize("target", ["local", "remote", "remotedocker", "cluster"], indirect=True)
def test_a_large_log_is_fetched_whole_whatever_happens_to_the_network(target: Target) -> None:
    script = target.write("Code/loud.py", LOUD)
    needed = target.memory_kb("experiment", "list", read=sum_of_loud_lines)[0]
    wanted = sum_of_loud_lines(b"%99d\n" % number for number in range(LINES))

    def read(stream: Iterable[bytes]) -> tuple[int, str]:
        return sum_of_loud_lines(with_trouble(target, stream))

    used, found = target.memory_kb("experiment", "submit", "-c", "box", script, read=read)
    assert found == wanted
    assert used < needed + BUFFERS_KB
    run = target.runs()[-1]
    with open(target.results(run) / "log.txt", "rb") as log:
        assert sum_of_loud_lines(log) == wanted
    used, found = target.memory_kb("experiment", "logs", run, read=sum_of_loud_lines)
    assert found == wanted
    assert used < needed + BUFFERS_KB


def sum_of_loud_lines(lines: Iterable[bytes]) -> tuple[int, str]:
    """How many lines there are of LOUD, and their digest."""
    digest, number = hashlib.sha256(), 0
    for line in lines:
        if len(line) == 100:
            digest.update(line)
            number += 1
    return number, digest.hexdigest()


def with_trouble(target: Target, lines: Iterable[bytes]) -> Iterator[bytes]:
    """The lines; on their way the network is away twice, and comes back."""
    for number, line in enumerate(lines):
        if target.host and number in (LINES // 5, LINES // 2):
            target.host.cut()
            if number == LINES // 2:  # the connection ends, and the client cannot be told
                target.host.drop_connections()
            time.sleep(1)
            target.host.restore()
        yield line


def test_another_host_at_the_same_address_is_refused(machines: Machines, tmp_path: Path) -> None:
    with running_target("remote", tmp_path, machines) as target:
        target.loadcast("experiment", "submit", "-c", "box", target.write("hello.py", "print('hello')"))
        machines.host().new_host_key()
        for words in (("experiment", "submit", "-c", "box", "hello.py"), ("computetarget", "test", "box")):
            assert "another host key than the one that was pinned" in target.loadcast(*words, code=2)
