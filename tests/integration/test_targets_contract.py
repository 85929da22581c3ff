"""What every type of compute target promises, on real machines: the same few scripts, submitted to each.

Hosts have addresses and files of their own, so whatever takes this machine for the target fails.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from contract import HOSTILE, Machines, Target, command_lines, running_target, wait_until

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KINDS = ("local", "localdocker", "spark", "remote", "remotedocker")
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
BLOCKS = 1000
LOUD = f"""
import sys
for block in range({BLOCKS}):
    sys.stdout.write("".join("%99d\\n" % number for number in range(1000 * block, 1000 * block + 1000)))
"""
#: What a client may need beyond one that follows no log at all: buffers, not the log of 100 MB.
BUFFERS_KB = 50_000


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
    with target.start("experiment", "submit", "-c", "box", f"./{script}", *WORDS) as client:
        assert read_to(client.stdout, "line ready") == before  # while it runs: it waits for us
        client.kill()
    (run,) = target.runs()
    assert "running" in target.loadcast("experiment", "status", run)
    assert not [line for line in command_lines() if target.secret in line]
    assert [line for line in target.processes() if "Code/" in line]  # it would be seen
    with target.start("experiment", "logs", "--follow", run) as client:
        assert read_to(client.stdout, "line ready") == before
        target.release(run)
        assert read_to(client.stdout, "line 11") == ["6", "7", "8", "9", "10", "11"]
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


def test_a_cancelled_run_leaves_nothing(target: Target) -> None:
    script = target.write("Code/stubborn.py", STUBBORN)
    kept = {path: path.stat().st_mtime_ns for path in target.base.glob("blobs/*/*")}
    target.loadcast("experiment", "submit", "-a", "-c", "box", script)
    assert {path: path.stat().st_mtime_ns for path in kept} == kept  # only what is new was sent
    run = target.runs()[-1]
    wait_until(lambda: "begun" in target.loadcast("experiment", "logs", run))
    assert target.processes()
    if target.docker:
        assert target.docker.names() == [f"loadcast-{run}"]
    assert "cancelled" in target.loadcast("experiment", "cancel", run)
    assert target.processes() == []
    if target.docker:
        assert target.docker.names() == []
    assert "cancelled" in target.loadcast("experiment", "status", run)


def test_a_large_log_is_fetched_whole_whatever_happens_to_the_network(target: Target) -> None:
    script = target.write("Code/loud.py", LOUD)
    needed = memory_kb(target, "experiment", "list")
    digest, lines = hashlib.sha256(), 0
    client = target.start("experiment", "submit", "-c", "box", script, text=False)
    for line in client.stdout:
        if len(line) == 100:
            digest.update(line)
            lines += 1
        if target.host and lines in (200_000, 500_000):
            target.host.cut()
            if lines == 500_000:  # nobody is told: the server's word does not get through
                target.host.drop_connections()
            time.sleep(1)
            target.host.restore()
    client.stdout.close()
    _, status, usage = os.wait4(client.pid, 0)
    client.returncode = os.waitstatus_to_exitcode(status)
    assert client.returncode == 0
    wanted = hashlib.sha256(b"".join(b"%99d\n" % number for number in range(1000 * BLOCKS))).hexdigest()
    assert (lines, digest.hexdigest()) == (1000 * BLOCKS, wanted)
    assert usage.ru_maxrss < needed + BUFFERS_KB
    run = target.runs()[-1]
    with open(target.results(run) / "log.txt", "rb") as log:
        kept = hashlib.sha256()
        for line in log:
            if len(line) == 100:
                kept.update(line)
    assert kept.hexdigest() == wanted
    assert memory_kb(target, "experiment", "logs", run) < needed + BUFFERS_KB


def memory_kb(target: Target, *words: str) -> int:
    """The most memory that a command had."""
    process = target.start(*words, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_maxrss


def test_another_host_at_the_same_address_is_refused(machines: Machines, tmp_path: Path) -> None:
    with running_target("remote", tmp_path, machines) as target:
        target.loadcast("experiment", "submit", "-c", "box", target.write("hello.py", "print('hello')"))
        machines.host().new_host_key()
        for words in (("experiment", "submit", "-c", "box", "hello.py"), ("computetarget", "test", "box")):
            assert "another host key than the one that was pinned" in target.loadcast(*words, code=2)
