"""A run appears whole or not at all, whatever happens to the one who writes it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from loadcast import paths
from loadcast.errors import ArtefactError, ConfigError, InputError, OutputError
from loadcast.settings import parse_settings
from loadcast.storage.output import FolderOutput, open_output
from loadcast.storage.publish import open_run, stage_run

FILES = 20
CODE = Path(__file__).parents[2] / "Code"


def write(run: Path, text: str, model: bool = False) -> None:
    """A run of many files that all say the same."""
    for number in range(FILES):
        path = run / paths.FEATURES / f"part-{number}"
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
    (run / paths.QUALITY).write_text(text)
    if model:
        (run / paths.FOREST_MODEL).mkdir()
        (run / paths.FOREST_MODEL / "data").write_text(text)


def publish(output: Path, text: str, model: bool = False, carry: tuple[str, ...] = ()) -> Path:
    with stage_run(output, carry) as staging:
        write(staging, text, model)
    return open_run(output)


def runs_in(output: Path) -> list[str]:
    """What the runs of an output say, and anything else that lies there."""
    return sorted(
        (run / paths.QUALITY).read_text() if (run / paths.QUALITY).exists() else run.name
        for run in (output / paths.RUNS).iterdir()
    )


def snapshot(output: Path) -> dict[str, str]:
    """Everything a reader can see by name: links with their targets, files with their content."""
    contents = {}
    for path in sorted(output.rglob("*")):
        if path.name != ".lock" and not path.is_dir():
            name = path.relative_to(output).as_posix()
            contents[name] = os.readlink(path) if path.is_symlink() else path.read_text()
    return contents


# --- publishing -----------------------------------------------------------------------------------------------------


def test_a_run_is_found_by_its_link_and_by_each_artefact_s_name(tmp_path: Path) -> None:
    output = tmp_path / "new" / "output"
    run = publish(output, "one", model=True)
    assert run.parent == (output / paths.RUNS).resolve()
    assert open_run(output, paths.MODEL) == run
    for base in (run, output, output / paths.CURRENT):
        assert (base / paths.QUALITY).read_text() == "one"
        assert (base / paths.FEATURES / "part-7").read_text() == "one"


def test_links_are_relative_so_that_an_output_can_be_moved(tmp_path: Path) -> None:
    publish(tmp_path / "here", "one", model=True)
    (tmp_path / "here").rename(tmp_path / "there")
    assert (tmp_path / "there" / paths.QUALITY).read_text() == "one"
    assert publish(tmp_path / "there", "two").parent == (tmp_path / "there" / paths.RUNS).resolve()


def test_nothing_is_seen_of_a_run_before_it_is_complete(tmp_path: Path) -> None:
    publish(tmp_path, "one")
    before = snapshot(tmp_path)
    with stage_run(tmp_path) as staging:
        write(staging, "two", model=True)
        hidden = staging.relative_to(tmp_path).as_posix()
        assert {name: text for name, text in snapshot(tmp_path).items() if not name.startswith(hidden)} == before
    assert (tmp_path / paths.QUALITY).read_text() == "two"


def test_readers_see_the_old_or_the_new_run_whole(tmp_path: Path) -> None:
    """Readers follow the link once and read all files, while one run after the other is published."""
    publish(tmp_path, "0")
    done, faults, seen = threading.Event(), [], set()
    passes = [threading.Semaphore(0) for _ in range(3)]

    def read(passed: threading.Semaphore) -> None:
        while not done.is_set():
            try:
                run = open_run(tmp_path)
                texts = [path.read_text() for path in [*(run / paths.FEATURES).iterdir(), run / paths.QUALITY]]
                if len(set(texts)) != 1 or len(texts) != FILES + 1:
                    faults.append(texts)
                seen.update(texts)
            except BaseException as error:
                faults.append(error)
            passed.release()

    readers = [threading.Thread(target=read, args=(passed,)) for passed in passes]
    for reader in readers:
        reader.start()
    for number in range(1, 30):
        publish(tmp_path, str(number))
        # The files of the run before the last may go: whoever reads them is let finish first.
        for passed in passes:
            while passed.acquire(blocking=False):
                pass
            passed.acquire()
    done.set()
    for reader in readers:
        reader.join()
    assert faults == []
    assert len(seen) > 5


def test_there_is_a_run_at_every_moment_once_there_was_one(tmp_path: Path) -> None:
    publish(tmp_path, "0", model=True)
    done, faults = threading.Event(), []

    def poll() -> None:
        while not done.is_set():
            for link in (paths.CURRENT, paths.MODEL):
                try:
                    open_run(tmp_path, link)
                except ArtefactError as error:
                    faults.append(error)

    poller = threading.Thread(target=poll)
    poller.start()
    for number in range(40):
        publish(tmp_path, str(number), model=number % 2 == 0)
    done.set()
    poller.join()
    assert faults == []


# --- failing --------------------------------------------------------------------------------------------------------


def publish_and_raise(output: Path, error: BaseException) -> None:
    with stage_run(output) as staging:
        write(staging, "new", model=True)
        raise error


@pytest.mark.parametrize("error", [InputError("bad"), ValueError("bug"), KeyboardInterrupt(), SystemExit(1)])
def test_an_error_leaves_the_old_run_and_nothing_of_the_new(tmp_path: Path, error: BaseException) -> None:
    publish(tmp_path, "old")
    before = snapshot(tmp_path)
    with pytest.raises(type(error)):
        publish_and_raise(tmp_path, error)
    assert snapshot(tmp_path) == before
    assert runs_in(tmp_path) == ["old"]


def test_a_disk_error_is_said_in_words_and_leaves_the_old_run(tmp_path: Path) -> None:
    publish(tmp_path, "old")
    before = snapshot(tmp_path)
    with pytest.raises(OutputError, match=r"Cannot write to .*: No space left on device"):
        publish_and_raise(tmp_path, OSError(28, "No space left on device"))
    assert snapshot(tmp_path) == before


KILLED = """
import os, signal, sys
from pathlib import Path
from loadcast import paths
from loadcast.storage import publish
output, when = Path(sys.argv[1]), sys.argv[2]

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

if when == "renamed":
    publish.replace_link = die
if when == "linking":
    publish.os.replace = die
with publish.stage_run(output) as staging:
    (staging / paths.QUALITY).write_text("killed")
    (staging / paths.FOREST_MODEL).mkdir()
    if when == "staging":
        die()
"""


@pytest.mark.parametrize(
    ("when", "first"), [("staging", False), ("renamed", True), ("renamed", False), ("linking", False)]
)
def test_a_killed_run_is_never_seen_and_the_next_one_cleans_up(tmp_path: Path, when: str, first: bool) -> None:
    if not first:
        publish(tmp_path, "old", model=True)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), when], env={**os.environ, "PYTHONPATH": str(CODE)}, check=False
    )
    assert killed.returncode == -signal.SIGKILL
    for link in (paths.CURRENT, paths.MODEL):
        if first:
            with pytest.raises(ArtefactError):
                open_run(tmp_path, link)
            assert not (tmp_path / paths.QUALITY).exists()
        else:
            assert (open_run(tmp_path, link) / paths.QUALITY).read_text() == "old"
    publish(tmp_path, "next")
    publish(tmp_path, "last")
    assert runs_in(tmp_path) == ["last", "next", *(["old"] if not first else [])]
    assert (tmp_path / paths.QUALITY).read_text() == "last"
    assert {path.name for path in tmp_path.iterdir() if path.name.startswith(".")} == {".lock"}


def test_what_a_killed_run_s_workers_write_after_it_was_cleaned_up_goes_too(tmp_path: Path) -> None:
    late = tmp_path / paths.RUNS / f"{paths.STAGING_PREFIX}20200101T000000000000Z-abcdef" / paths.FEATURES
    with stage_run(tmp_path):
        late.mkdir(parents=True)
        (late / "part-0").write_text("late")
    assert [path.name for path in (tmp_path / paths.RUNS).iterdir()] == [open_run(tmp_path).name]


# --- who may write --------------------------------------------------------------------------------------------------


def test_a_second_writer_is_refused_while_the_first_writes(tmp_path: Path) -> None:
    with stage_run(tmp_path) as staging:
        write(staging, "first")
        with pytest.raises(OutputError, match=r"Another run is writing to .* Wait for it"), stage_run(tmp_path):
            pytest.fail("two writers")
    assert runs_in(tmp_path) == ["first"]
    publish(tmp_path, "second")


def test_a_second_process_is_refused_while_the_first_writes(tmp_path: Path) -> None:
    script = (
        "import sys; from pathlib import Path; from loadcast.storage.publish import stage_run\n"
        "with stage_run(Path(sys.argv[1])): pass"
    )
    with stage_run(tmp_path) as staging:
        write(staging, "first")
        other = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)],
            env={**os.environ, "PYTHONPATH": str(CODE)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert "OutputError: Another run is writing" in other.stderr
    assert runs_in(tmp_path) == ["first"]


def put_file(path: Path) -> None:
    path.write_text("mine")


def put_folder(path: Path) -> None:
    path.mkdir()
    (path / "file").write_text("mine")


def put_link(path: Path) -> None:
    target = path.parent / "elsewhere"
    target.write_text("mine")
    path.symlink_to("elsewhere")


@pytest.mark.parametrize("put", [put_file, put_folder, put_link])
@pytest.mark.parametrize("name", [paths.CURRENT, paths.MODEL, paths.FEATURES, paths.INFO, paths.REJECTED])
def test_what_is_not_ours_is_not_overwritten(tmp_path: Path, name: str, put: Callable[[Path], None]) -> None:
    put(tmp_path / name)
    before = snapshot(tmp_path)
    with pytest.raises(OutputError, match=rf"{name} is not from a published run .* Move it away"), stage_run(tmp_path):
        pytest.fail("wrote over it")
    assert snapshot(tmp_path) == before


def test_other_files_and_folders_stay_even_beside_the_runs(tmp_path: Path) -> None:
    for name in ("notes.txt", "runs/notes.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("mine")
    put_folder(tmp_path / "runs" / "20160101-kept")
    put_folder(tmp_path / "runs" / ".hidden")
    for number in range(4):
        publish(tmp_path, str(number))
    assert runs_in(tmp_path) == [".hidden", "2", "20160101-kept", "3", "notes.txt"]
    assert (tmp_path / "runs/20160101-kept/file").read_text() == (tmp_path / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("name", ["file", "file/below", "x" * 300])
def test_a_folder_that_cannot_be_made_is_said_in_words(tmp_path: Path, name: str) -> None:
    (tmp_path / "file").write_text("mine")
    with pytest.raises(OutputError, match=r"Cannot write to .*\. Choose another output"), stage_run(tmp_path / name):
        pytest.fail("wrote nowhere")


def test_a_folder_that_cannot_be_written_is_said_in_words(tmp_path: Path) -> None:
    (tmp_path / paths.RUNS).mkdir()
    (tmp_path / ".lock").mkdir()  # stands for a folder without the right to write, which root always has
    with pytest.raises(OutputError, match=r"Cannot write to .*: Is a directory"), stage_run(tmp_path):
        pytest.fail("wrote nowhere")


# --- what is kept ---------------------------------------------------------------------------------------------------


def test_the_last_two_runs_are_kept_and_the_last_two_with_a_model(tmp_path: Path) -> None:
    publish(tmp_path, "model 1", model=True)
    publish(tmp_path, "model 2", model=True)
    for number in range(4):
        publish(tmp_path, str(number))
        assert (open_run(tmp_path, paths.MODEL) / paths.QUALITY).read_text() == "model 2"
        assert (open_run(tmp_path) / paths.QUALITY).read_text() == str(number)
    assert runs_in(tmp_path) == ["2", "3", "model 1", "model 2"]
    publish(tmp_path, "model 3", model=True)
    assert runs_in(tmp_path) == ["3", "model 2", "model 3"]


def test_a_run_without_a_model_shows_none_under_its_own_name(tmp_path: Path) -> None:
    publish(tmp_path, "trained", model=True)
    publish(tmp_path, "fresh")
    assert not (tmp_path / paths.FOREST_MODEL).exists()
    assert (tmp_path / paths.MODEL / paths.FOREST_MODEL).exists()


def test_carried_artefacts_are_the_same_files(tmp_path: Path) -> None:
    old = publish(tmp_path, "old", model=True)
    with stage_run(tmp_path, carry=[paths.FEATURES, paths.QUALITY, paths.PREDICTIONS]) as staging:
        assert (staging / paths.QUALITY).samefile(old / paths.QUALITY)
        assert not (staging / paths.FOREST_MODEL).exists()
    run = open_run(tmp_path)
    assert run != old
    assert sorted(path.name for path in run.iterdir()) == [paths.COMPLETE, paths.FEATURES, paths.QUALITY]
    assert all(path.samefile(old / paths.FEATURES / path.name) for path in (run / paths.FEATURES).iterdir())


def test_carried_artefacts_outlive_the_run_they_come_from(tmp_path: Path) -> None:
    publish(tmp_path, "first")
    for _ in range(4):
        with stage_run(tmp_path, carry=[paths.FEATURES]):
            pass
    assert len(list((tmp_path / paths.FEATURES).iterdir())) == FILES
    assert (tmp_path / paths.FEATURES / "part-0").read_text() == "first"


def test_without_hard_links_carried_artefacts_are_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old = publish(tmp_path, "old")

    def refuse(*_: object) -> None:
        raise OSError(1, "Operation not permitted")

    monkeypatch.setattr(os, "link", refuse)
    with stage_run(tmp_path, carry=[paths.FEATURES]):
        pass
    path = open_run(tmp_path) / paths.FEATURES / "part-0"
    assert path.read_text() == "old"
    assert not path.samefile(old / paths.FEATURES / "part-0")


def test_there_is_nothing_to_carry_into_a_first_run(tmp_path: Path) -> None:
    with stage_run(tmp_path, carry=[paths.FEATURES, paths.QUALITY]) as staging:
        assert list(staging.iterdir()) == []


def test_checksum_files_of_the_storage_layer_are_not_published(tmp_path: Path) -> None:
    with stage_run(tmp_path) as staging:
        write(staging, "one")
        (staging / paths.FEATURES / ".part-0.crc").write_text("")
    assert len(list((tmp_path / paths.FEATURES).iterdir())) == FILES


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("link", [paths.CURRENT, paths.MODEL])
def test_no_run_is_an_error_that_says_what_to_run(tmp_path: Path, link: str) -> None:
    todo = "Code/train.py" if link == paths.MODEL else "Code/etl.py"
    for output in (tmp_path, tmp_path / "none"):
        with pytest.raises(ArtefactError, match=f"holds no published .*python {todo} CONFIG"):
            open_run(output, link)


@pytest.mark.parametrize("target", ["gone", paths.CURRENT])
def test_a_link_to_nowhere_or_to_itself_is_no_run(tmp_path: Path, target: str) -> None:
    (tmp_path / paths.CURRENT).symlink_to(target)
    with pytest.raises(ArtefactError, match="holds no published run"):
        open_run(tmp_path)


def test_results_go_to_the_output_of_the_configuration() -> None:
    plain = {"dataFile": "a.csv", "duration": "ONE_MONTH"}
    assert open_output(parse_settings({**plain, "output": "file:///data/out"})) == FolderOutput(Path("/data/out"))
    with pytest.raises(ConfigError, match=r"output: found .*wanted a folder"):
        open_output(parse_settings({**plain, "output": "file://elsewhere/data/out"}))
