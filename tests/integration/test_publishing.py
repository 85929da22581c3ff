"""Whatever publishers of a container do and suffer, readers get whole runs, in the order of their publishing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import ClassVar

import pytest
from azure.core.exceptions import AzureError
from azure.storage.blob import BlobLeaseClient
from click.testing import CliRunner
from hypothesis import settings
from hypothesis.stateful import run_state_machine_as_test

from azurite import Azurite
from faults import FaultPlan, Request, fault_proxy
from loadcast import paths
from loadcast.cli.main import main
from loadcast.errors import ArtefactError, OutputError
from loadcast.storage.blob.access import Access
from loadcast.storage.blob.container import Blob, Container
from loadcast.storage.blob.location import BlobLocation
from loadcast.storage.blob.output import ContainerOutput
from loadcast.storage.blob.uploading import Sent
from publishing_machine import Bench, ContainerMachine, content

CODE = Path(__file__).resolve().parents[2] / "Code"
LOCK = ".lock"


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOADCAST_CACHE", str(tmp_path / "cache"))


def output_at(azurite: Azurite, endpoint: str | None = None, container: str | None = None) -> ContainerOutput:
    location = BlobLocation(endpoint or azurite.endpoint, container or azurite.new_container(), "")
    return ContainerOutput(Container(location, Access("key", azurite.key)))


@pytest.fixture
def output(azurite: Azurite) -> ContainerOutput:
    return output_at(azurite)


def publish(output: ContainerOutput, text: str, model: bool = False) -> str:
    with output.stage() as staging:
        (staging.folder / paths.QUALITY).write_text(text)
        if model:
            (staging.folder / paths.FOREST_MODEL).mkdir()
            (staging.folder / paths.FOREST_MODEL / "data").write_text(text)
    return str(output._store.pointer(paths.CURRENT).name)  # type: ignore[union-attr]  # it was published


def read(output: ContainerOutput, link: str = paths.CURRENT) -> dict[str, bytes]:
    """What a reader finds behind a pointer."""
    return content((output.at_hand({link: paths.ARTEFACTS}) / link).resolve())


def quality(output: ContainerOutput, link: str = paths.CURRENT) -> str:
    return read(output, link)[paths.QUALITY].decode()


def break_lease(azurite: Azurite, container: str) -> None:
    """Take the lock away from whoever has it, as after a minute without renewal."""
    with azurite.service as service, service.get_blob_client(container, LOCK) as lock, suppress(AzureError):
        BlobLeaseClient(lock).break_lease(0)


# --- the property -----------------------------------------------------------------------------------------------------


class ContainerBench(Bench):
    """An output in a container."""

    def __init__(self, azurite: Azurite) -> None:
        self.output: ContainerOutput = output_at(azurite)
        self._azurite, self._name = azurite, self.output.container.root.container
        self._client = azurite.service.get_container_client(self._name)

    def pointer(self, link: str) -> str | None:
        try:
            return self._client.download_blob(link).readall().decode().strip()
        except AzureError:
            return None

    def files(self) -> Mapping[str, Mapping[str, bytes | int]]:
        sizes: dict[str, dict[str, bytes | int]] = {}
        for blob in self._client.list_blobs(name_starts_with=f"{paths.RUNS}/"):
            _, run, name = blob.name.split("/", 2)
            sizes.setdefault(run, {})[name] = blob.size
        return sizes

    def read(self, link: str) -> Mapping[str, bytes]:
        return read(self.output, link)

    def break_lock(self) -> None:
        break_lease(self._azurite, self._name)


class AzuriteMachine(ContainerMachine):
    """Publishers of a container on a real server."""

    azurite: ClassVar[Azurite]

    def make_bench(self) -> Bench:
        return ContainerBench(self.azurite)


@pytest.mark.slow
def test_readers_get_whole_runs_in_the_order_of_publishing(azurite: Azurite) -> None:
    AzuriteMachine.azurite = azurite
    run_state_machine_as_test(
        AzuriteMachine,
        settings=settings(max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "4")), stateful_step_count=25),
    )


# --- publishers that are stopped, or cut off --------------------------------------------------------------------------

STOPPED = """
import os, sys
from pathlib import Path
from loadcast import paths
from loadcast.errors import LoadcastError
from loadcast.storage.blob.access import Access
from loadcast.storage.blob.container import Container
from loadcast.storage.blob.location import BlobLocation
from loadcast.storage.blob.output import ContainerOutput

output = ContainerOutput(Container(BlobLocation(sys.argv[1], sys.argv[2], ""), Access("key", os.environ["KEY"])))
try:
    with output.stage(carry=[paths.HOURLY]) as staging:
        (staging.folder / paths.QUALITY).write_text("stopped")
        (staging.folder / paths.FOREST_MODEL).mkdir()
        (staging.folder / paths.FOREST_MODEL / "data").write_text("stopped")
        staging.upload()
        print("ready", flush=True)
        sys.stdin.readline()
except LoadcastError as error:
    print(error)
    sys.exit(error.exit_code)
"""


@contextmanager
def other_publisher(
    azurite: Azurite, output: ContainerOutput, endpoint: str | None = None
) -> Iterator[subprocess.Popen[str]]:
    """A publisher in a process of its own."""
    argv = [sys.executable, "-c", STOPPED, endpoint or azurite.endpoint, output.container.root.container]
    environment = {**os.environ, "PYTHONPATH": str(CODE), "KEY": azurite.key}
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as process:
        try:
            yield process
        finally:
            process.kill()


def runs_in(azurite: Azurite, output: ContainerOutput) -> set[str]:
    names = azurite.names(output.container.root.container, f"{paths.RUNS}/")
    return {name.split("/")[1] for name in names}


def check_lost(
    process: subprocess.Popen[str], azurite: Azurite, output: ContainerOutput, old: set[str], winner: Sequence[str]
) -> None:
    """The publisher has ended with one line and its exit code; readers find the other's run, and nothing of its own."""
    said, _ = process.communicate("go on\n", timeout=120)
    assert process.returncode == OutputError.exit_code, said
    assert said.removeprefix("ready\n").count("\n") == 1
    assert "Lost the lock" in said or "written by another program" in said
    assert (quality(output), quality(output, paths.MODEL)) == ("winner", "old")
    assert runs_in(azurite, output) == {*old, *winner}
    assert output.problems() == []


def test_a_publisher_that_was_stopped_while_another_published_changes_nothing(
    azurite: Azurite, output: ContainerOutput
) -> None:
    old = publish(output, "old", model=True)
    with other_publisher(azurite, output) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.send_signal(signal.SIGSTOP)
        break_lease(azurite, output.container.root.container)
        winner = publish(output, "winner")
        process.send_signal(signal.SIGCONT)
        check_lost(process, azurite, output, {old}, [winner])


@pytest.mark.parametrize("end", [paths.COMPLETE, f"/{paths.CURRENT}"])
def test_a_publisher_whose_write_arrives_when_another_has_published_changes_nothing(
    azurite: Azurite, output: ContainerOutput, end: str
) -> None:
    """The network holds its write back: it is on its way while the lock ends, and another publishes."""
    name = output.container.root.container
    old = publish(output, "old", model=True)
    winner: list[str] = []

    def held_back(request: Request) -> None:
        if ready and not winner and request.method == "PUT" and request.path.partition("?")[0].endswith(end):
            break_lease(azurite, name)
            winner.append(publish(output, "winner"))

    ready: list[bool] = []
    with (
        fault_proxy(azurite.endpoint, FaultPlan(before=held_back)) as proxy,
        other_publisher(azurite, output, proxy.endpoint) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        ready.append(True)  # before, `current` was claimed, by the same kind of request
        check_lost(process, azurite, output, {old}, winner)
    assert len(winner) == 1


def test_a_lock_that_was_broken_is_known_to_be_lost(azurite: Azurite, output: ContainerOutput) -> None:
    with output.container.lease(LOCK) as lease:
        lease.prove()
        break_lease(azurite, output.container.root.container)
        with pytest.raises(OutputError, match="Lost the lock"):
            lease.prove()


def test_a_lock_for_ever_is_told_as_that(azurite: Azurite, output: ContainerOutput) -> None:
    publish(output, "old")
    with azurite.service as service, service.get_blob_client(output.container.root.container, LOCK) as lock:
        lease = BlobLeaseClient(lock)
        lease.acquire(-1)
        with pytest.raises(OutputError, match=r"does not end by itself.*az storage blob lease break"), output.stage():
            pytest.fail("two writers")
        lease.break_lease(30)
        with pytest.raises(OutputError, match="it is being broken"), output.stage():
            pytest.fail("two writers")


# --- what was uploaded is looked at -----------------------------------------------------------------------------------


@pytest.mark.parametrize("damage", ["gone", "cut", "changed"])
def test_what_did_not_arrive_as_it_was_sent_is_not_published(
    output: ContainerOutput, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    publish(output, "old")
    upload = Container.upload

    def damaged(self: Container, path: Path, name: str) -> Sent:
        sent = upload(self, path, name)
        if damage == "gone":
            self.delete([name])
        else:
            self.put(name, path.read_bytes()[:-1] if damage == "cut" else path.read_bytes()[::-1])
        return sent

    monkeypatch.setattr(Container, "upload", damaged)
    with pytest.raises(OutputError, match=r"is not what was sent|was written, and is gone"):
        publish(output, "new")
    monkeypatch.undo()
    assert quality(output) == "old"
    assert len(output.runs()) == 1


def test_what_was_not_copied_is_not_published(output: ContainerOutput, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(output, "old", model=True)
    monkeypatch.setattr(Container, "copy", lambda self, name, target: self.put(target, b"half"))
    with pytest.raises(OutputError, match="is not what was sent"), output.stage(carry=[paths.FOREST_MODEL]):
        pass
    assert quality(output) == "old"


def test_a_listing_that_leaves_out_what_is_carried_is_not_believed(
    output: ContainerOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(output, "old", model=True)
    listing = Container.list

    def without_model(self: Container, prefix: str = "", marks: bool = False) -> Iterator[Blob]:
        return (blob for blob in listing(self, prefix, marks) if "/mlModel/" not in blob.name)

    monkeypatch.setattr(Container, "list", without_model)
    with output.stage(carry=[paths.QUALITY, paths.FOREST_MODEL]):
        pass
    monkeypatch.undo()
    assert read(output) == {paths.QUALITY: b"old", f"{paths.FOREST_MODEL}/data": b"old"}
    assert [run.is_model for run in output.runs()] == [False, True]


# --- damage, and repair -----------------------------------------------------------------------------------------------


def command(*words: str, azurite: Azurite) -> tuple[int, str]:
    done = CliRunner().invoke(main, [*words], env={"AZURE_STORAGE_KEY": azurite.key})
    return done.exit_code, done.output


def test_garbage_in_current_leads_to_repair(output: ContainerOutput) -> None:
    first, second = publish(output, "first", model=True), publish(output, "second")
    output.container.put(paths.CURRENT, b"garbage\n")
    for stop in (lambda: publish(output, "new"), lambda: read(output), output.roll_back):
        with pytest.raises(ArtefactError, match=r"current holds 'garbage'.*loadcast runs repair"):
            stop()
    assert "loadcast runs repair" in output.problems()[0]
    assert {run.name for run in output.runs()} == {first, second}
    done = output.repair()
    assert (done.current, done.model, done.changed) == (second, first, (paths.CURRENT,))
    assert (quality(output), quality(output, paths.MODEL)) == ("second", "first")
    publish(output, "third")
    assert quality(output) == "third"


def test_repair_passes_over_damaged_runs(output: ContainerOutput) -> None:
    first = publish(output, "first", model=True)
    second = publish(output, "second", model=True)
    output.container.delete([f"{paths.RUNS}/{second}/{paths.FOREST_MODEL}/data"])
    assert len(output.problems()) == 2
    done = output.repair()
    assert (done.current, done.model) == (first, first)
    assert "mlModel/data is missing" in done.flaws[second]
    assert output.repair().changed == ()
    publish(output, "third")
    assert output.runs()[0].name == first


def test_a_current_that_is_not_found_once_costs_no_run(
    output: ContainerOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    runs = {publish(output, "first", model=True), publish(output, "second")}
    get, misses = Container.get, [paths.CURRENT, paths.CURRENT]

    def missed(self: Container, name: str) -> tuple[bytes, str] | None:
        if name in misses:
            misses.remove(name)
            return None
        return get(self, name)

    monkeypatch.setattr(Container, "get", missed)
    with pytest.raises(OutputError, match="written by another program"):
        publish(output, "third")
    assert {run.name for run in output.runs()} == runs
    assert quality(output) == "second"


def test_a_reader_of_a_run_that_is_being_removed_gets_the_newest_one(
    output: ContainerOutput, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(output, "first", model=True)
    listing, newer = Container.list, ["second", "third", "fourth"]

    def replaced(self: Container, prefix: str = "", marks: bool = False) -> Iterator[Blob]:
        if newer and prefix.endswith(paths.QUALITY):
            texts, newer[:] = [*newer], []
            for text in texts:
                publish(output, text, model=True)
        return listing(self, prefix, marks)

    monkeypatch.setattr(Container, "list", replaced)
    assert quality(output) == "fourth"


def test_a_table_that_another_program_left_half_written_is_not_published(output: ContainerOutput) -> None:
    publish(output, "old")

    def half() -> None:
        with output.stage() as staging:
            (staging.folder / paths.QUALITY).write_text("new")
            run = str(staging._run)  # type: ignore[attr-defined]  # where Spark's own driver would write
            output.container.put(f"{run}/{paths.PREDICTIONS}/part-0.parquet", b"PAR1 and no end")

    with pytest.raises(OutputError, match=r"part-0\.parquet was not written to its end"):
        half()
    assert quality(output) == "old"
