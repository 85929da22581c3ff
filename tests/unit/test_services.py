"""What managed services share: the bootstrap runs as a script would, and files and jobs tell a run's whole story."""

from __future__ import annotations

import ast
import hashlib
import io
import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from folder_service import FolderFiles, ProcessJobs
from loadcast.errors import ArtefactError, ConfigError
from loadcast.experiments.locations import blob_path
from loadcast.experiments.runner import Recipe
from loadcast.experiments.services import folder_bootstrap, folder_runner
from loadcast.experiments.services.folder_files import bootstrap_file
from loadcast.experiments.services.folder_runner import FolderRunner
from loadcast.experiments.snapshot_files import SnapshotFile
from loadcast.progress import silent

RUN = "20261130T021944-3f9a1c"


class Bench:
    """A service with a project that is sent there; runs have a script each."""

    def __init__(self, folder: Path) -> None:
        self.project = folder / "project"
        self.files = FolderFiles(folder / "service")
        self.files.folder.mkdir(parents=True)
        self.jobs = ProcessJobs(self.files)
        self.runner = FolderRunner("the service", self.files, self.jobs)
        self.request: dict[str, Any] = {}

    def ready(self, script: str, *arguments: str, more: dict[str, str] | None = None) -> int:
        """Send the project with a script, and get ready to start it; returns how many bytes were sent."""
        files = [self._blob(path, content) for path, content in {"Code/it.py": script, **(more or {})}.items()]
        entries = [[file.path, file.sha256, file.executable] for file in files]
        self.request = {"argv": ["Code/it.py", *arguments], "environment": {"PLAIN": "a b"}, "entries": entries}
        return self.runner.send(self.project, files)

    def _blob(self, path: str, content: str) -> SnapshotFile:
        data = content.encode()
        digest = hashlib.sha256(data).hexdigest()
        target = blob_path(self.project, digest)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(data)
        return SnapshotFile(path, digest, len(data), path.endswith(".sh"))

    def run(self, script: str, *arguments: str) -> tuple[Any, str]:
        """Run a script to its end; its state and its log."""
        self.ready(script, *arguments)
        self.runner.start(RUN, self.request, {})
        log = b"".join(self.runner.follow(RUN)).decode()
        return self.runner.states([RUN])[RUN], log

    def results(self) -> dict[str, str]:
        """What comes back of the run."""
        folder = self.project / "results"
        folder.mkdir()
        self.runner.collect(RUN, folder)
        return {str(path.relative_to(folder)): path.read_text() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture
def bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Bench]:
    monkeypatch.setattr(folder_runner, "POLL_S", (0.02, 0.1))
    bench = Bench(tmp_path)
    yield bench
    for process in bench.jobs.processes.values():
        process.kill()
        process.wait()


def wait_until(holds: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.02)


SHOW = """
import json, os, sys, subprocess
import beside
print(json.dumps([__name__, sys.argv, os.environ["PLAIN"], sorted(os.listdir("."))]))
sys.stdout.write("no end"); sys.stderr.write(" of a line\\n")
subprocess.run([sys.executable, "-c", "print('child')"])
open(os.environ["LOADCAST_RUN_LOG"], "w").write("logged")
open("outputs/id", "w").write(os.environ["LOADCAST_RUN_ID"])
os.makedirs("logs/deep"); open("logs/deep/x", "w").write("x")
os.symlink("/etc/passwd", "outputs/link"); os.mkfifo("outputs/pipe")
"""


def test_a_script_finds_its_words_files_and_variables_and_gives_back_what_it_made(bench: Bench) -> None:
    words = ("two words", "$(id)", "'\"", "line\nbreak", "ü", "-x", "")
    bench.ready(SHOW, *words, more={"Code/beside.py": "", "same.sh": "s", "other.txt": "s"})
    assert bench.runner.states([RUN]) == {RUN: None}
    bench.runner.start(RUN, bench.request, {})
    log = b"".join(bench.runner.follow(RUN)).decode()
    shown, *rest = log.splitlines()
    assert json.loads(shown) == [
        "__main__",
        ["Code/it.py", *words],
        "a b",
        ["Code", "logs", "other.txt", "outputs", "same.sh"],
    ]
    assert rest == ["no end of a line", "child"]
    assert bench.results() == {"log": log, "logged.jsonl": "logged", "outputs/id": RUN, "logs/deep/x": "x"}
    assert b"".join(bench.runner.log_so_far(RUN)).decode() == log
    assert (bench.files.folder / f"{RUN}.out").read_bytes() == b""


@pytest.mark.parametrize(
    ("script", "code", "said"),
    [
        ("", 0, ""),
        ("import sys; sys.exit()", 0, ""),
        ("import sys; sys.exit(259)", 3, ""),
        ("import sys; sys.exit('sorry')", 1, "sorry\n"),
        ("raise KeyError('x')", 1, "KeyError: 'x'"),
        ("1 +", 1, "SyntaxError"),
        ("print('\\udcff')", 0, "\\udcff\n"),
        ("import threading, time; threading.Thread(target=lambda: (time.sleep(.3), print('late'))).start()", 0, "late"),
    ],
)
def test_a_script_ends_as_python_would_end_it(bench: Bench, script: str, code: int, said: str) -> None:
    state, log = bench.run(script)
    assert (state["state"], state["code"]) == ("failed" if code else "completed", code)
    assert said in log
    assert bench.jobs.processes[RUN].wait() == code


def test_a_process_that_is_gone_without_a_word_has_failed_and_what_it_wrote_before_is_there(bench: Bench) -> None:
    state, log = bench.run("import os, time; print('so far', flush=True); time.sleep(0.6); os._exit(7)")
    assert (state["state"], state.get("code"), state["error"]) == ("failed", None, "exit code 7")
    assert log == "so far\n"
    assert bench.results() == {"log": "so far\n"}


def test_a_run_whose_script_never_began_says_what_the_service_says(bench: Bench) -> None:
    bench.ready("")
    bench.files.write(f"runs/{RUN}/request.json", io.BytesIO())
    bench.jobs.submit(RUN, bench.request)  # finds no request that it could read
    assert b"".join(bench.runner.follow(RUN)) == b"the service: exit code 1\n"
    assert bench.results() == {"log": "the service: exit code 1\n"}


def test_what_is_cancelled_ends_and_gives_back_what_it_made_until_then(bench: Bench) -> None:
    bench.ready("import time; open('outputs/a', 'w').write('1'); print('begun', flush=True); time.sleep(60)")
    bench.runner.start(RUN, bench.request, {})
    assert next(bench.runner.follow(RUN)) == b"begun\n"
    assert bench.runner.cancel(RUN)["state"] == "cancelled"
    assert bench.jobs.processes[RUN].poll() is not None
    assert bench.results() == {"log": "begun\n", "outputs/a": "1"}
    assert bench.runner.cancel(RUN)["state"] == "cancelled"
    assert bench.runner.cancel("never")["state"] == "cancelled"


class Died(BaseException):
    """A client's end."""


@pytest.mark.parametrize("step", ["keep_secrets", "submit", "write", "state"])
def test_a_client_that_ends_at_any_step_of_starting_submits_once_and_leaves_no_secret(
    bench: Bench, step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner: Any = FolderFiles if step == "write" else ProcessJobs
    original, secrets = getattr(owner, step), {"KEY": "sesame"}
    bench.ready("import os; print(os.environ['KEY'].replace('e', '_'))")

    def dying(*arguments: Any) -> Any:
        original(*arguments)
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(owner, step, dying)
        with pytest.raises(Died):
            bench.runner.start(RUN, bench.request, secrets)
    again = FolderRunner("the service", bench.files, bench.jobs)
    again.start(RUN, bench.request, secrets)
    process = bench.jobs.processes[RUN]
    assert b"".join(again.follow(RUN)) == b"s_sam_\n"
    assert bench.jobs.processes == {RUN: process}
    assert bench.jobs.secrets == {}
    assert not [path for path in bench.files.folder.rglob("*") if path.is_file() and b"sesame" in path.read_bytes()]


def test_secrets_of_a_run_that_is_not_submitted_are_forgotten(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> str:
        raise ConfigError("There is no such cluster.")

    bench.ready("print()")
    monkeypatch.setattr(ProcessJobs, "submit", refused)
    with pytest.raises(ConfigError):
        bench.runner.start(RUN, bench.request, {"KEY": "sesame"})
    assert bench.jobs.secrets == {}
    bench.jobs.keep_secrets(RUN, {"KEY": "sesame"})  # by a client that was killed then
    assert bench.runner.cancel(RUN)["state"] == "cancelled"
    assert bench.jobs.secrets == {}


def test_contents_are_sent_once_whatever_their_files_are_called(bench: Bench) -> None:
    assert bench.ready("a", more={"x": "bb", "y": "bb"}) == 3
    assert bench.ready("bb", more={"z": "a"}) == 0
    assert bench.ready("a", more={"x": "c"}) == 2
    assert len(bench.files.written) == 2
    packed = [path.read_bytes() for path in (bench.files.folder / "snapshots").iterdir()]
    again = Bench(bench.files.folder / "again")
    again.ready("a", more={"x": "bb"})
    (archive,) = (again.files.folder / "snapshots").iterdir()
    assert archive.read_bytes() in packed  # the same contents are the same bytes


def test_an_environment_is_written_down_once(bench: Bench) -> None:
    recipe, said = Recipe("ab" * 32, {"requirements": ["numpy==2", "rich"]}), []
    assert bench.runner.prepare(recipe, silent, said.append)
    assert not bench.runner.prepare(recipe, silent, said.append)
    assert said == [b"numpy==2\nrich\n"]
    assert bench.files.written == [f"environments/{recipe.name}.txt"]


def test_a_log_of_many_parts_is_one_log(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    state, log = bench.run(f"print('x' * {9 << 20})")
    assert state["state"] == "completed"
    assert len(log) == (9 << 20) + 1
    parts = sorted((bench.files.folder / "runs" / RUN / "log").iterdir())
    assert [int(part.name) for part in parts][:2] == [0, folder_bootstrap.MOST_BYTES]
    (bench.files.folder / "runs" / RUN / "log.txt").unlink()
    assert bench.results()["log"] == log


@pytest.mark.parametrize("content", ["", "[]", "{", "null"])
def test_a_damaged_record_is_told(bench: Bench, content: str) -> None:
    folder = bench.files.folder / "runs" / RUN
    folder.mkdir(parents=True)
    (folder / "job.json").write_text(content)
    with pytest.raises(ArtefactError, match=r"job\.json of the target's folder is damaged"):
        bench.runner.states([RUN])


def test_damaged_results_are_told(bench: Bench) -> None:
    bench.run("open('outputs/a', 'w').write('x' * 5000)")
    results = bench.files.folder / "runs" / RUN / "results.tar"
    results.write_bytes(results.read_bytes()[:700])
    with pytest.raises(ArtefactError, match=f"What run {RUN} has left is damaged"):
        bench.results()


def test_the_bootstrap_needs_nothing_but_an_older_python() -> None:
    name, content = bootstrap_file()
    assert name == f"bootstrap-{hashlib.sha256(content).hexdigest()[:16]}.py"
    tree = ast.parse(content, feature_version=(3, 8))
    top = {alias.name for node in tree.body if isinstance(node, ast.Import) for alias in node.names}
    top |= {str(node.module) for node in tree.body if isinstance(node, ast.ImportFrom)}
    assert {module.partition(".")[0] for module in top} <= sys.stdlib_module_names
