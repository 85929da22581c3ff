"""Results kept beside the runs: whole, or counted as absent."""

from __future__ import annotations

import os
from pathlib import Path

import pyarrow as pa
import pytest

from loadcast.storage.kept import KeptInFolder

SCHEMA = pa.schema([("number", pa.int64()), ("payload", pa.binary())])
NAME = "ab" * 32


def batch(begin: int) -> pa.RecordBatch:
    columns = {"number": list(range(begin, begin + 100)), "payload": [b"x" * begin] * 100}
    return pa.RecordBatch.from_pydict(columns, schema=SCHEMA)


def keep(kept: KeptInFolder, name: str = NAME, number: int = 3) -> list[pa.RecordBatch]:
    batches = [batch(begin) for begin in range(number)]
    with kept.save(name, SCHEMA) as write:
        for made in batches:
            write(made)
    return batches


def files(kept: KeptInFolder) -> list[Path]:
    return [path for path in Path(kept.folder).rglob("*") if path.is_file()]


@pytest.fixture
def kept(tmp_path: Path) -> KeptInFolder:
    return KeptInFolder(str(tmp_path / "scanned"))


@pytest.mark.parametrize("number", [0, 1, 3])
def test_a_result_comes_back_batch_by_batch(kept: KeptInFolder, number: int) -> None:
    assert kept.load(NAME) is None
    assert NAME not in kept.names()
    wanted = keep(kept, number=number)
    loaded = kept.load(NAME)
    assert loaded is not None
    assert list(loaded) == wanted
    assert NAME in kept.names()


def test_what_ends_with_an_error_is_not_kept(kept: KeptInFolder) -> None:
    def fail() -> None:
        with kept.save(NAME, SCHEMA) as write:
            write(batch(1))
            raise KeyError("scan")

    with pytest.raises(KeyError):
        fail()
    assert kept.load(NAME) is None
    assert files(kept) == []


def test_a_reader_that_leaves_early_keeps_nothing(kept: KeptInFolder) -> None:
    """Spark closes the generator of a task that is no longer wanted."""

    def scanned() -> object:
        with kept.save(NAME, SCHEMA) as write:
            for begin in range(3):
                write(batch(begin))
                yield begin

    task = scanned()
    next(task)  # type: ignore[call-overload]
    task.close()  # type: ignore[attr-defined]
    assert files(kept) == []


def test_every_cut_and_every_changed_byte_makes_it_absent(kept: KeptInFolder) -> None:
    keep(kept, number=1)
    (path,) = files(kept)
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        assert kept.load(NAME) is None
    for position in range(len(whole)):
        path.write_bytes(whole[:position] + bytes([whole[position] ^ 1]) + whole[position + 1 :])
        assert kept.load(NAME) is None
    path.write_bytes(whole + b"\0")
    assert kept.load(NAME) is None


def test_a_damaged_result_is_replaced(kept: KeptInFolder) -> None:
    keep(kept)
    (path,) = files(kept)
    path.write_bytes(b"")
    wanted = keep(kept)
    assert list(kept.load(NAME) or []) == wanted


def test_pruning_leaves_what_is_named_and_removes_the_rest(kept: KeptInFolder, tmp_path: Path) -> None:
    other = "cd" * 32
    keep(kept)
    keep(kept, other)
    unfinished = files(kept)[0].with_name("ab-0123.tmp")
    unfinished.write_bytes(b"of a run that was killed")
    foreign = unfinished.with_name("README")
    foreign.write_bytes(b"not ours")
    kept.prune([NAME])
    assert NAME in kept.names()
    assert other not in kept.names()
    assert not unfinished.exists()
    assert foreign.exists()
    KeptInFolder(str(tmp_path / "absent")).prune([])


@pytest.mark.skipif(os.geteuid() == 0, reason="the superuser may write anywhere")
def test_a_folder_that_cannot_be_written_costs_nothing_but_time(kept: KeptInFolder, tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    keep(kept)
    assert kept.load(NAME) is None


def test_a_file_in_the_place_of_the_folder_costs_nothing_but_time(kept: KeptInFolder) -> None:
    Path(kept.folder).write_bytes(b"")
    keep(kept)
    assert kept.load(NAME) is None


def test_a_full_disk_costs_nothing_but_time(kept: KeptInFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full:
        def write_batch(self, batch: pa.RecordBatch) -> None:
            raise OSError(28, "No space left on device")

        def close(self) -> None:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr(pa.ipc, "new_stream", lambda *_, **__: Full())
    keep(kept)
    assert kept.load(NAME) is None
    assert files(kept) == []
