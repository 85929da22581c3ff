"""Runs in a container, on a real blob server: whole or not at all, one writer, the last ones kept, a way back."""

from __future__ import annotations

import os
import pickle
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pyarrow as pa
import pytest

from azurite import Azurite
from loadcast import paths
from loadcast.errors import ArtefactError, InputError, OutputError
from loadcast.storage.blob.access import Access
from loadcast.storage.blob.container import Container
from loadcast.storage.blob.location import BlobLocation
from loadcast.storage.blob.output import ContainerOutput
from loadcast.storage.blob.staging import ContainerTables
from loadcast.storage.kept import KeptResults
from loadcast.storage.staging import Staging
from loadcast.storage.table_files import Tables

CODE = Path(__file__).resolve().parents[2] / "Code"
EVERYTHING = {paths.CURRENT: paths.ARTEFACTS}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LOADCAST_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture(params=["", "some/prefix"])
def output(azurite: Azurite, request: pytest.FixtureRequest) -> ContainerOutput:
    location = BlobLocation(azurite.endpoint, azurite.new_container(), "")
    return ContainerOutput(Container(location, Access("key", azurite.key)), request.param)


def write(staging: Staging, text: str, model: bool = False) -> None:
    (staging.folder / paths.QUALITY).write_text(text)
    (staging.folder / paths.HOURLY / "2016" / "06").mkdir(parents=True)
    (staging.folder / paths.HOURLY / "2016" / "06" / f"part-{text}.parquet").write_text(text * 1000)
    if model:
        (staging.folder / paths.FOREST_MODEL).mkdir()
        (staging.folder / paths.FOREST_MODEL / "data").write_text(text)


def publish(output: ContainerOutput, text: str, model: bool = False) -> str:
    with output.stage() as staging:
        write(staging, text, model)
    return output.runs()[-1].name


def content(output: ContainerOutput, link: str = paths.CURRENT) -> dict[str, str]:
    """What a reader finds in the newest run."""
    run = (output.at_hand({link: paths.ARTEFACTS}) / link).resolve()
    return {file.relative_to(run).as_posix(): file.read_text() for file in sorted(run.rglob("*")) if file.is_file()}


def blobs(output: ContainerOutput) -> list[str]:
    return [blob.name for blob in output.container.list()]


def test_a_published_run_is_what_readers_get(output: ContainerOutput) -> None:
    with pytest.raises(ArtefactError, match="holds no published run"):
        output.at_hand(EVERYTHING)
    publish(output, "one", model=True)
    assert content(output) == {
        f"{paths.HOURLY}/2016/06/part-one.parquet": "one" * 1000,
        f"{paths.FOREST_MODEL}/data": "one",
        paths.QUALITY: "one",
    }
    publish(output, "two")
    assert content(output)[paths.QUALITY] == "two"
    assert content(output, paths.MODEL)[paths.QUALITY] == "one"


def test_artefacts_are_carried_and_replaced(output: ContainerOutput) -> None:
    publish(output, "old", model=True)
    with output.stage(carry=[paths.HOURLY, paths.QUALITY, paths.FOREST_MODEL]) as staging:
        staging.fetch([paths.QUALITY])
        assert (staging.folder / paths.QUALITY).read_text() == "old"
        (staging.folder / paths.QUALITY).unlink()
        (staging.folder / paths.QUALITY).write_text("new")
        with staging.fresh_tables.writing() as folder:
            for month in ("06", "07", "08"):
                (folder / paths.HOURLY / "2016" / month).mkdir(parents=True)
                (folder / paths.HOURLY / "2016" / month / "part.parquet").write_text(month)
        staging.replace([f"{paths.HOURLY}/2016/{month}" for month in ("06", "07")])
    assert content(output) == {
        f"{paths.HOURLY}/2016/06/part.parquet": "06",
        f"{paths.HOURLY}/2016/07/part.parquet": "07",
        f"{paths.FOREST_MODEL}/data": "old",
        paths.QUALITY: "new",
    }
    assert content(output, paths.MODEL)[f"{paths.FOREST_MODEL}/data"] == "old"


def publish_and_raise(output: ContainerOutput, error: BaseException) -> None:
    with output.stage() as staging:
        write(staging, "new")
        raise error


@pytest.mark.parametrize("error", [InputError("bad"), KeyboardInterrupt()])
def test_an_error_leaves_the_old_run_and_nothing_of_the_new(output: ContainerOutput, error: BaseException) -> None:
    publish(output, "old")
    before = blobs(output)
    with pytest.raises(type(error)):
        publish_and_raise(output, error)
    assert blobs(output) == before
    assert content(output)[paths.QUALITY] == "old"


def test_what_is_finished_is_on_its_way_while_the_rest_is_made(output: ContainerOutput) -> None:
    with output.stage() as staging:
        write(staging, "early")
        staging.finished([paths.HOURLY, paths.DAILY])
        late = time.monotonic() + 30
        while not any(paths.HOURLY in name for name in blobs(output)) and time.monotonic() < late:
            time.sleep(0.01)
        assert any(paths.HOURLY in name for name in blobs(output))
        assert not any(paths.QUALITY in name for name in blobs(output))
        assert output.runs() == []
    assert list(content(output)) == [f"{paths.HOURLY}/2016/06/part-early.parquet", paths.QUALITY]


def test_an_upload_that_fails_early_is_told_early(output: ContainerOutput, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise OutputError("not allowed")

    def go_on() -> None:
        with output.stage() as staging:
            write(staging, "new")
            staging.finished([paths.HOURLY])
            late = time.monotonic() + 30
            while time.monotonic() < late:
                staging.address(paths.FOREST_MODEL)

    monkeypatch.setattr(Container, "upload", refused)
    with pytest.raises(OutputError, match="not allowed"):
        go_on()


class Hadoop:
    """A Hadoop with ABFS, to which nothing is given to do here."""

    version = (3, 5, 0)

    def setting(self, _: str) -> None:
        return None

    def has_class(self, _: str) -> bool:
        return True


def test_parts_written_straight_to_the_container_join_the_carried_ones(output: ContainerOutput) -> None:
    june, july = f"{paths.HOURLY}/2016/06", f"{paths.HOURLY}/2016/07"
    publish(output, "old", model=True)
    with output.stage(carry=[paths.HOURLY, paths.FOREST_MODEL]) as staging:
        assert staging.write_directly(Hadoop())
        fill(staging.fresh_tables, f"{july}/part.parquet")
        staging.replace([july])
    with output.stage(carry=[paths.HOURLY, paths.FOREST_MODEL]) as staging:
        staging.write_directly(Hadoop())
        fill(staging.fresh_tables, f"{july}/other.parquet")
        staging.replace([july])
    assert list(content(output)) == [f"{june}/part-old.parquet", f"{july}/other.parquet", f"{paths.FOREST_MODEL}/data"]


def fill(tables: Tables, name: str) -> None:
    with tables.writing() as folder:
        (folder / name).parent.mkdir(parents=True)
        (folder / name).write_text(f"{name} PAR1")  # the end of a Parquet file


def test_tables_in_a_container_miss_what_is_not_there(output: ContainerOutput) -> None:
    tables = ContainerTables(output.container, "run")
    for name in ("one", "two"):
        fill(tables, f"rejected/{name}")
    tables.keep_only([paths.REJECTED], ["rejected/one"])
    assert blobs(output) == ["run/rejected/one"]
    with pytest.raises(OutputError, match="run/rejected/three was written, and is gone"):
        tables.keep_only([paths.REJECTED], ["rejected/one", "rejected/three"])


@pytest.mark.parametrize("error", [InputError("bad"), KeyboardInterrupt()])
def test_an_error_leaves_nothing_of_what_was_on_its_way(output: ContainerOutput, error: BaseException) -> None:
    publish(output, "old")
    before = blobs(output)

    def stop() -> None:
        with output.stage() as staging:
            write(staging, "new")
            for number in range(50):
                (staging.folder / paths.HOURLY / f"part-{number}.parquet").write_bytes(b"x" * 100_000)
            staging.finished([paths.HOURLY])
            raise error

    with pytest.raises(type(error)):
        stop()
    assert blobs(output) == before


def test_a_second_writer_is_refused_while_the_first_writes(output: ContainerOutput) -> None:
    with output.stage() as staging:
        write(staging, "first")
        with pytest.raises(OutputError, match="Another run is writing to"), output.stage():
            pytest.fail("two writers")
        with pytest.raises(OutputError, match="Another run is writing to"):
            output.roll_back()
    assert content(output)[paths.QUALITY] == "first"


def test_the_last_two_runs_and_models_are_kept_and_no_leftovers(output: ContainerOutput) -> None:
    names = [publish(output, f"model-{number}", model=True) for number in range(3)]
    names += [publish(output, f"run-{number}") for number in range(3)]
    assert [run.name for run in output.runs()] == [*names[1:3], *names[-2:]]
    kept = {part for name in blobs(output) for part in re.findall(r"runs/([^/]*)/", name)}
    assert kept == {*names[1:3], *names[-2:]}


def test_a_rollback_leads_to_the_run_before_and_its_model(output: ContainerOutput) -> None:
    publish(output, "first", model=True)
    second = publish(output, "second")
    bad = publish(output, "third", model=True)
    assert output.roll_back().name == second
    assert content(output)[paths.QUALITY] == "second"
    assert content(output, paths.MODEL)[paths.QUALITY] == "first"
    publish(output, "fourth")
    assert bad not in [run.name for run in output.runs()]
    assert output.roll_back().name == second


def test_a_rollback_needs_a_run_before(output: ContainerOutput) -> None:
    with pytest.raises(ArtefactError, match="holds no published run"):
        output.roll_back()
    publish(output, "only")
    with pytest.raises(ArtefactError, match="no run before the current one"):
        output.roll_back()


def test_a_pointer_that_names_no_run_is_told(output: ContainerOutput) -> None:
    publish(output, "one")
    output.container.put("/".join(filter(None, (output.prefix, paths.CURRENT))), b"../../../etc\n")
    with pytest.raises(ArtefactError, match=r"current holds '\.\./\.\./\.\./etc', wanted the name of a run"):
        output.at_hand(EVERYTHING)


@contextmanager
def polling_reader(output: ContainerOutput, seen: set[tuple[str, ...]]) -> Iterator[None]:
    """Read the newest run over and over, as many others would."""
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.add(tuple(sorted(set(content(output).values()))))

    thread = threading.Thread(target=read)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def test_a_polling_reader_sees_whole_runs_only(azurite: Azurite) -> None:
    location = BlobLocation(azurite.endpoint, azurite.new_container(), "")
    output = ContainerOutput(Container(location, Access("key", azurite.key)))
    publish(output, "0")
    seen: set[tuple[str, ...]] = set()
    with polling_reader(output, seen):
        for number in range(1, 6):
            publish(output, str(number))
    assert seen <= {tuple(sorted({str(number), str(number) * 1000})) for number in range(6)}
    assert len(seen) > 1


KILLED = """
import os, signal, sys
from pathlib import Path
from loadcast import paths
from loadcast.storage import publishing
from loadcast.storage.blob.access import Access
from loadcast.storage.blob.container import Container
from loadcast.storage.blob.location import BlobLocation
from loadcast.storage.blob.output import ContainerOutput
from loadcast.storage.blob.store import ContainerStore

def die(*_):
    os.kill(os.getpid(), signal.SIGKILL)

output = ContainerOutput(Container(BlobLocation(sys.argv[1], sys.argv[2], ""), Access("key", os.environ["KEY"])))
if sys.argv[3] == "uploaded":
    publishing.Publication.publish = die
if sys.argv[3] == "complete":
    ContainerStore.replace = die
with output.stage() as staging:
    (staging.folder / paths.QUALITY).write_text("killed")
    (staging.folder / paths.FOREST_MODEL).mkdir()
    (staging.folder / paths.FOREST_MODEL / "data").write_text("killed")
    if sys.argv[3] == "staging":
        staging.upload()
        die()
"""


@pytest.mark.parametrize("when", ["staging", "uploaded", "complete"])
def test_a_killed_run_is_never_seen_and_the_next_one_cleans_up(azurite: Azurite, when: str) -> None:
    location = BlobLocation(azurite.endpoint, azurite.new_container(), "")
    output = ContainerOutput(Container(location, Access("key", azurite.key)))
    publish(output, "old", model=True)
    killed = subprocess.run(
        [sys.executable, "-c", KILLED, azurite.endpoint, location.container, when],
        env={**os.environ, "PYTHONPATH": str(CODE), "KEY": azurite.key},
        check=False,
    )
    assert killed.returncode == -signal.SIGKILL
    assert content(output)[paths.QUALITY] == content(output, paths.MODEL)[paths.QUALITY] == "old"
    with azurite.service as service, service.get_blob_client(location.container, ".lock") as lock:
        from azure.storage.blob import BlobLeaseClient

        BlobLeaseClient(lock).break_lease(0)  # it would end by itself, but a minute later
    publish(output, "next")
    assert [content(output)[paths.QUALITY], content(output, paths.MODEL)[paths.QUALITY]] == ["next", "old"]
    assert len({part for name in blobs(output) for part in re.findall(r"runs/([^/]*)/", name)}) == 2


# --- results of scanned files ---------------------------------------------------------------------------------------

NAME = "ab" + 62 * "0"
SCHEMA = pa.schema([("number", pa.int64())])


def keep(kept: KeptResults, name: str) -> pa.RecordBatch:
    batch = pa.RecordBatch.from_pydict({"number": [1, 2, 3]}, schema=SCHEMA)
    with kept.save(name, SCHEMA) as save:
        save(batch)
        save(batch)
    return batch


def test_results_of_scanned_files_are_kept_in_the_container(output: ContainerOutput) -> None:
    kept = pickle.loads(pickle.dumps(output.kept_results()))  # as it travels to the tasks
    assert kept.names() == set()
    assert kept.load(NAME) is None
    batch = keep(kept, NAME)
    assert kept.names() == {NAME}
    assert list(kept.load(NAME) or ()) == [batch, batch]
    other = "cd" + 62 * "1"
    keep(kept, other)
    kept.prune([other])
    assert kept.names() == {other}


def test_a_damaged_result_counts_as_absent_and_an_interrupted_one_is_not_kept(output: ContainerOutput) -> None:
    kept = output.kept_results()
    keep(kept, NAME)
    (blob,) = [name for name in blobs(output) if paths.SCANNED in name]
    output.container.put(blob, (output.container.get(blob) or (b"", ""))[0][:-20])
    assert kept.load(NAME) is None
    output.container.delete([blob])
    with pytest.raises(InputError), kept.save(NAME, SCHEMA):
        raise InputError("it ended here")
    assert kept.names() == set()
