"""The agent on this machine, as targets run it: a zip in a process of its own."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadcast.experiments.agent.state import Refused, below, run_folder
from loadcast.experiments.agent_file import _SOURCES, agent_file


class Target:
    """A base folder with an agent."""

    def __init__(self, folder: Path) -> None:
        self.base = folder / "base"
        self.base.mkdir()
        name, content = agent_file()
        self.file = folder / name
        self.file.write_bytes(content)

    def words(self, *words: str) -> list[str]:
        return [sys.executable, "-I", str(self.file), str(self.base), *words]

    def call(self, *words: str, stdin: Any = None) -> Any:
        done = subprocess.run(self.words(*words), input=json.dumps(stdin), capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def refusal(self, *words: str, stdin: Any = None) -> str:
        done = subprocess.run(self.words(*words), input=json.dumps(stdin), capture_output=True, text=True, timeout=60)
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.count("\n") == 1
        return done.stderr

    def send(self, *contents: bytes) -> None:
        packed = io.BytesIO()
        with tarfile.open(fileobj=packed, mode="w") as archive:
            for content in contents:
                member = tarfile.TarInfo(hashlib.sha256(content).hexdigest())
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))
        subprocess.run(self.words("receive"), input=packed.getvalue(), check=True, capture_output=True)

    def start(self, run: str, code: str, *arguments: str, **more: Any) -> Any:
        request = {"argv": [sys.executable, "-c", code, *arguments], "entries": [], **more}
        secrets = request.pop("secrets", {})
        return self.call("start", run, stdin={"request": request, "secrets": secrets})

    def state(self, run: str) -> Any:
        return self.call("status", run)[run]

    def wait(self, run: str, wanted: Callable[[Any], bool] = lambda state: state["state"] != "running") -> Any:
        until = time.monotonic() + 60
        while not wanted(state := self.state(run)):
            assert time.monotonic() < until, state
            time.sleep(0.05)
        return state

    def log(self, run: str, offset: int = 0) -> bytes:
        return subprocess.run(
            self.words("follow", run, str(offset)), check=True, stdout=subprocess.PIPE, timeout=60
        ).stdout


@pytest.fixture
def target(tmp_path: Path) -> Iterator[Target]:
    yield Target(tmp_path)
    for state in (tmp_path / "base" / "runs").glob("*/state.json"):
        keeper = json.loads(state.read_text()).get("keeper")
        if keeper:
            try:
                os.kill(keeper, signal.SIGTERM)
            except ProcessLookupError:
                continue


def test_a_script_runs_to_its_end_with_its_words_files_and_variables(target: Target) -> None:
    content = b"in the project"
    target.send(content)
    words = ["two words", "a;b", "$(id)", "new\nline", "'\"", "ü", "", "-x", "{at}"]
    code = """
import json, os, sys
print(json.dumps(sys.argv[1:]))
print(open("Config/a b.txt").read(), os.environ["OURS"], os.environ["KEY"], os.path.basename(os.getcwd()))
print("to the other stream", file=sys.stderr)
open("outputs/result.txt", "w").write("42")
sys.exit(7)
"""
    sha = hashlib.sha256(content).hexdigest()
    state = target.start(
        "r1",
        code,
        *words,
        entries=[["Config/a b.txt", sha, False]],
        environment={"OURS": [{"at": "environments/e"}, ":x"]},
        secrets={"KEY": "sesame"},
    )
    assert state["state"] in ("running", "failed")
    first, second, third = target.log("r1").decode().splitlines()
    assert json.loads(first) == words
    assert second == f"in the project {target.base}/environments/e:x sesame work"
    assert third == "to the other stream"
    ended = target.wait("r1")
    assert (ended["state"], ended["code"]) == ("failed", 7)
    assert ended["start"] <= ended["end"]
    kept = b"".join(path.read_bytes() for path in target.base.rglob("*") if path.is_file() and path.name != "log")
    assert b"sesame" not in kept


def test_results_come_back_as_files_only(target: Target, tmp_path: Path) -> None:
    code = """
import os
os.makedirs("outputs/deep"); open("outputs/deep/a b", "w").write("x"); open("logs/l", "w").write("y")
os.symlink("/etc/passwd", "outputs/link"); os.mkfifo("outputs/pipe"); open("elsewhere", "w").write("z")
print("said")
"""
    target.start("r", code)
    target.wait("r")
    packed = subprocess.run(target.words("collect", "r"), check=True, stdout=subprocess.PIPE).stdout
    with tarfile.open(fileobj=io.BytesIO(packed)) as archive:
        archive.extractall(tmp_path / "back", filter="data")
        names = set(archive.getnames())
    assert names == {"log", "state.json", "keeper.log", "outputs/deep/a b", "logs/l"}
    assert (tmp_path / "back" / "log").read_text() == "said\n"


def test_starting_twice_starts_once(target: Target) -> None:
    code = "import time; print('begun', flush=True); time.sleep(0.5)"
    request = {"request": {"argv": [sys.executable, "-c", code], "entries": []}}
    started = [
        subprocess.Popen(target.words("start", "r"), stdin=subprocess.PIPE, stdout=subprocess.PIPE) for _ in range(4)
    ]
    answers = [process.communicate(json.dumps(request).encode(), timeout=60)[0] for process in started]
    assert {json.loads(answer)["state"] for answer in answers} <= {"running", "completed"}
    assert target.log("r") == b"begun\n"
    assert target.start("r", "raise SystemExit(3)")["state"] in ("running", "completed")
    assert target.wait("r")["state"] == "completed"
    assert target.log("r") == b"begun\n"


@pytest.mark.parametrize("delay", [0.0, 0.02, 0.05, 0.1, 0.15])
def test_a_start_that_is_killed_can_be_asked_for_again(target: Target, delay: float) -> None:
    request = {"request": {"argv": [sys.executable, "-c", "print('once')"], "entries": []}}
    process = subprocess.Popen(target.words("start", "r"), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert process.stdin is not None
    process.stdin.write(json.dumps(request).encode())
    process.stdin.close()
    time.sleep(delay)
    process.kill()
    process.wait()
    target.start("r", "print('once')")
    assert target.wait("r")["state"] == "completed"
    assert target.log("r") == b"once\n"


def test_a_log_is_followed_from_any_byte_as_it_grows(target: Target) -> None:
    target.start("r", "import time\nfor n in range(20): print(n, flush=True); time.sleep(0.02)")
    whole = target.log("r")
    assert whole == "".join(f"{number}\n" for number in range(20)).encode()
    assert target.log("r", 7) == whole[7:]
    assert target.log("r", 10_000) == b""


def test_whoever_stops_following_is_noticed(target: Target) -> None:
    target.start("r", "import time; print('begun', flush=True); time.sleep(60)")
    follower = subprocess.Popen(target.words("follow", "r", "0"), stdout=subprocess.PIPE)
    assert follower.stdout is not None
    assert follower.stdout.readline() == b"begun\n"
    follower.stdout.close()
    assert follower.wait(timeout=30) == 1
    assert target.call("cancel", "r")["state"] == "cancelled"


def test_cancelling_leaves_nothing_running(target: Target, tmp_path: Path) -> None:
    # A stubborn script, a child in a session of its own, and a grandchild whose parent has ended.
    code = f"""
import os, signal, subprocess, sys, time
signal.signal(signal.SIGTERM, lambda *_: print("asked", flush=True))
away = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"], start_new_session=True)
lost = subprocess.run(["sh", "-c", "sleep 600 >/dev/null & echo $!"], stdout=subprocess.PIPE).stdout.strip().decode()
open({str(tmp_path / "pids")!r}, "w").write(f"{{os.getpid()}} {{away.pid}} {{lost}}")
print("begun", flush=True)
while True: time.sleep(1)
"""
    target.start("r", code, graceS=0.5, onCancel=[["sh", "-c", "echo ended elsewhere", "$(x)"], ["/no/such/program"]])
    until = time.monotonic() + 30
    while not (tmp_path / "pids").exists() or not (tmp_path / "pids").read_text():
        assert time.monotonic() < until
        time.sleep(0.02)
    ended = target.call("cancel", "r")
    assert ended["state"] == "cancelled"
    for process in (tmp_path / "pids").read_text().split():
        assert not Path("/proc", process).exists()
    log = target.log("r").decode()
    assert log.startswith("begun\nasked\nended elsewhere\n")
    assert "/no/such/program" in log
    assert target.call("cancel", "r") == ended


def test_a_run_that_could_not_be_ended_elsewhere_is_lost_and_can_be_cancelled_again(target: Target) -> None:
    elsewhere = [["sh", "-c", "echo tried; exit 75"]]
    target.start("r", "import time; print('begun', flush=True); time.sleep(600)", onCancel=elsewhere)
    assert target.call("cancel", "r")["state"] == "lost"
    assert "cancel it again" in target.state("r")["error"]
    target.call("cancel", "r")
    assert target.log("r").count(b"tried") > 1


def test_what_a_script_leaves_behind_ends_with_it(target: Target, tmp_path: Path) -> None:
    target.start("r", "import subprocess; p = subprocess.Popen(['sleep', '600']); print(p.pid)")
    assert target.wait("r")["state"] == "completed"
    assert not Path("/proc", target.log("r").decode().strip()).exists()


def test_a_run_whose_keeper_was_killed_is_lost_and_its_script_is_gone(target: Target) -> None:
    elsewhere = [["sh", "-c", "echo ended elsewhere"]]
    target.start("r", "import os, time; print(os.getpid(), flush=True); time.sleep(600)", onCancel=elsewhere)
    until = time.monotonic() + 30
    while not (script := (target.base / "runs" / "r" / "log").read_text().strip()):
        assert time.monotonic() < until
        time.sleep(0.02)
    os.kill(target.state("r")["keeper"], signal.SIGKILL)
    assert target.wait("r")["state"] == "lost"
    while Path("/proc", script).exists() and b" Z " not in Path("/proc", script, "stat").read_bytes():
        assert time.monotonic() < until
        time.sleep(0.02)
    assert target.call("cancel", "r")["state"] == "lost"
    assert target.log("r").endswith(b"ended elsewhere\n")


def test_a_run_that_was_cancelled_before_it_started_does_not_start(target: Target) -> None:
    folder = target.base / "runs" / "r"
    folder.mkdir(parents=True)
    (folder / "state.json").write_text('{"state": "starting"}')
    (folder / "request.json").write_text(json.dumps({"argv": ["echo", "x"]}))
    (folder / "log").touch()
    assert target.call("cancel", "r")["state"] == "cancelled"
    assert target.start("r", "print('no')")["state"] == "cancelled"
    assert target.log("r") == b""


def test_a_program_that_is_not_there_is_told_in_the_log(target: Target) -> None:
    request = {"argv": ["/no/such/interpreter"], "entries": []}
    target.call("start", "r", stdin={"request": request})
    assert target.wait("r")["code"] == 127
    assert target.log("r") == b"/no/such/interpreter: No such file or directory\n"


def test_only_what_is_missing_is_asked_for_and_kept_if_it_is_what_its_name_says(target: Target) -> None:
    target.send(b"here")
    here, other = (hashlib.sha256(content).hexdigest() for content in (b"here", b"other"))
    assert target.call("missing", stdin=[here, other]) == [other]
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as archive:
        member = tarfile.TarInfo(other)
        member.size = 3
        archive.addfile(member, io.BytesIO(b"bad"))
    done = subprocess.run(target.words("receive"), input=packed.getvalue(), capture_output=True)
    assert done.returncode == 1
    assert target.call("missing", stdin=[other]) == [other]
    assert [path.name for path in (target.base / "blobs").rglob("*") if path.is_file()] == [here]


@pytest.mark.parametrize(
    "entry",
    ["../x", "/etc/x", "a/../../x", "a//b", ".", "", "a/\0b"],
    ids=["up", "root", "inner", "empty", "dot", "none", "nul"],
)
def test_no_file_leaves_the_working_directory(target: Target, entry: str) -> None:
    target.send(b"x")
    request = {"argv": ["true"], "entries": [[entry, hashlib.sha256(b"x").hexdigest(), False]]}
    assert "Refused" in target.refusal("start", "r", stdin={"request": request})
    assert [*(target.base / "runs").iterdir()] == []


@pytest.mark.parametrize("run", ["../x", "a/b", ".hidden", ""])
def test_the_name_of_a_run_is_no_path(target: Target, run: str) -> None:
    assert "Refused" in target.refusal("cancel", run)


@pytest.mark.parametrize(
    ("command", "stdin"),
    [("missing", 3), ("missing", ["../../etc/passwd"]), ("receive", "x"), ("start", []), ("start", {"request": {}})],
)
def test_nonsense_is_refused_in_one_line(target: Target, command: str, stdin: Any) -> None:
    words = (command, "r") if command == "start" else (command,)
    target.refusal(*words, stdin=stdin)


def test_an_ended_run_can_be_removed(target: Target) -> None:
    target.start("r", "import time; time.sleep(60)")
    assert "cancel it first" in target.refusal("remove", "r")
    target.call("cancel", "r")
    subprocess.run(target.words("remove", "r"), check=True)
    assert target.call("status", "r") == {"r": None}
    assert target.call("status") == {}


@given(st.text())
def test_no_path_leads_out_of_its_folder(path: str) -> None:
    for make in (lambda: below("/base", path), lambda: run_folder("/base", path)):
        try:
            made = make()
        except Refused:
            continue
        assert os.path.normpath(made) == made
        assert made.startswith("/base/")


class WithoutAnnotations(ast.NodeTransformer):
    """What of a module Python evaluates that has `from __future__ import annotations`."""

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        node.returns = None
        for argument in ast.walk(node.args):
            if isinstance(argument, ast.arg):
                argument.annotation = None
        return self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> ast.AST:
        node.annotation = ast.Constant(None)
        return self.generic_visit(node)


#: Python 3.9 has made these subscriptable.
PLAIN = {"dict", "list", "set", "tuple", "type", "Iterable", "Iterator", "Mapping", "Sequence"}


def test_the_agent_is_for_older_pythons_and_brings_nothing_else() -> None:
    allowed = set(sys.stdlib_module_names)
    for source in _SOURCES.glob("*.py"):
        tree = ast.parse(source.read_text(encoding="utf-8"), feature_version=(3, 8))
        plain = PLAIN | {
            name.name
            for node in ast.walk(tree)
            if isinstance(node, ast.ImportFrom) and node.module == "collections.abc"
            for name in node.names
        }
        for node in ast.walk(WithoutAnnotations().visit(tree)):
            if isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name):
                assert node.value.id not in plain, f"{source.name}:{node.lineno}"
            if isinstance(node, ast.Import):
                assert {name.name.partition(".")[0] for name in node.names} <= allowed
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 1 or (node.module or "").partition(".")[0] in allowed


def test_the_agent_s_file_is_the_same_wherever_it_is_made() -> None:
    assert agent_file.__wrapped__() == agent_file()
