"""Folders to and from a container, over a network with faults, and what is logged of it."""

from __future__ import annotations

import hashlib
import logging
import os
import re
import traceback
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import unquote

import pytest

from azurite import Azurite
from faults import FaultPlan, FaultProxy, fault_proxy
from loadcast.errors import InputError, LoadcastError, OutputError
from loadcast.storage.blob import downloading, pace, policy, reading
from loadcast.storage.blob.access import Access
from loadcast.storage.blob.container import Blob, Container
from loadcast.storage.blob.errors import ChangedError
from loadcast.storage.blob.location import BlobLocation
from loadcast.storage.blob.transfer import download_blobs, upload_folder

pytestmark = pytest.mark.integration
NEVER = datetime(2020, 1, 1, tzinfo=UTC)


@pytest.fixture
def container(azurite: Azurite) -> Container:
    return Container(BlobLocation(azurite.endpoint, azurite.new_container()), Access("key", azurite.key))


@pytest.fixture
def short_windows(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pace, "WINDOW_S", 1.5)


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "RANGE_BYTES", 64 << 10)
    monkeypatch.setattr(reading, "_AHEAD_BYTES", 64 << 10)
    monkeypatch.setattr(downloading, "RANGE_BYTES", 64 << 10)


# --- folders --------------------------------------------------------------------------------------------------------


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Files around the size of a block, which is made small."""
    monkeypatch.setattr("loadcast.storage.blob.uploading.BLOCK_BYTES", 1 << 16)
    folder_in = tmp_path / "in"
    for number, size in enumerate((0, 1, 65_535, 65_536, 65_537, 1_000_000)):
        (folder_in / "sub").mkdir(parents=True, exist_ok=True)
        (folder_in / "sub" / f"ü {number}").write_bytes(os.urandom(size))
    (folder_in / "top").write_bytes(b"top")
    return folder_in


def contents(folder: Path) -> dict[str, bytes]:
    return {file.relative_to(folder).as_posix(): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_a_folder_goes_there_and_back(container: Container, folder: Path, tmp_path: Path) -> None:
    told: list[tuple[int, int]] = []
    upload_folder(container, folder, "run/1", progress=lambda done, total: told.append((done, total)))
    blobs = list(container.list("run/1/"))
    assert {blob.name.removeprefix("run/1/"): blob.md5 for blob in blobs} == {
        name: hashlib.md5(data).digest() for name, data in contents(folder).items()
    }
    names = download_blobs(container, blobs, "run/1", tmp_path / "out", lambda done, total: told.append((done, total)))
    assert contents(tmp_path / "out") == contents(folder)
    assert sorted(names) == sorted(contents(folder))
    total = sum(map(len, contents(folder).values()))
    assert told.count((total, total)) >= 2


def test_some_files_of_a_folder_go_alone(container: Container, folder: Path) -> None:
    upload_folder(container, folder, "", ["top"])
    assert [blob.name for blob in container.list()] == ["top"]


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/x", "a//x", "a/", ".", "..", "run/../x"])
def test_nothing_is_written_outside_the_folder(name: str, container: Container, tmp_path: Path) -> None:
    blobs = [Blob(path, 1, '"x"', None) for path in ("run/good", f"run/{name}")]
    with pytest.raises(InputError, match="Nothing was downloaded"):
        download_blobs(container, blobs, "run", tmp_path / "out")
    assert contents(tmp_path) == {}


def test_links_do_not_lead_out_of_the_folder(container: Container, tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "sub").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "out" / "file").symlink_to(tmp_path / "elsewhere" / "file")
    for name in ("sub/x", "file"):
        with pytest.raises(InputError, match="passes a link"):
            download_blobs(container, [Blob(name, 1, '"x"', None)], "", tmp_path / "out")
    assert contents(tmp_path / "elsewhere") == {}


def test_a_file_in_the_way_of_a_folder_is_an_error(container: Container, tmp_path: Path) -> None:
    for name in ("a", "a/b"):
        container.put(name, b"x")
    with pytest.raises(OutputError, match="Cannot write"):
        download_blobs(container, list(container.list()), "", tmp_path / "out")


# --- interrupted downloads ------------------------------------------------------------------------------------------


class Interrupted(Exception):
    """Stands for the user's Ctrl-C, or anything else that ends the process."""


def interrupted(container: Container, blob: Blob, target: Path) -> Path:
    """Break a download off after some bytes; the part that is left."""

    def arrived(number: int) -> None:
        if number:
            raise Interrupted

    with pytest.raises(Interrupted):
        container.download(blob, target, arrived)
    assert not target.exists()
    [part] = target.parent.iterdir()
    assert 0 < part.stat().st_size < blob.size
    return part


@pytest.fixture
def blob(container: Container) -> Blob:
    container.put("a", os.urandom(500_000))
    return next(container.list())


@pytest.mark.usefixtures("small_ranges")
def test_an_interrupted_download_is_taken_up_again(container: Container, blob: Blob, tmp_path: Path) -> None:
    part = interrupted(container, blob, tmp_path / "a")
    there, told = part.stat().st_size, list[int]()
    container.download(blob, tmp_path / "a", told.append)
    assert (told[0], sum(told)) == (there, blob.size)
    assert contents(tmp_path) == {"a": (container.get("a") or (b"", ""))[0]}


@pytest.mark.usefixtures("small_ranges")
def test_a_damaged_part_is_not_built_upon(container: Container, blob: Blob, tmp_path: Path) -> None:
    part = interrupted(container, blob, tmp_path / "a")
    part.write_bytes(bytes(part.stat().st_size))
    told: list[int] = []
    container.download(blob, tmp_path / "a", told.append)
    assert sum(told) == blob.size
    assert contents(tmp_path) == {"a": (container.get("a") or (b"", ""))[0]}


@pytest.mark.usefixtures("small_ranges")
@pytest.mark.parametrize("size", [0, 499_999, 500_000, 500_001, 900_000])
def test_a_part_of_any_length_does_no_harm(size: int, container: Container, blob: Blob, tmp_path: Path) -> None:
    part = interrupted(container, blob, tmp_path / "a")
    os.truncate(part, size)
    container.download(blob, tmp_path / "a")
    assert contents(tmp_path) == {"a": (container.get("a") or (b"", ""))[0]}


@pytest.mark.usefixtures("small_ranges")
def test_the_part_of_an_older_state_is_not_used(container: Container, blob: Blob, tmp_path: Path) -> None:
    interrupted(container, blob, tmp_path / "a")
    container.put("a", b"new")
    with pytest.raises(InputError, match="was written anew while it was being read"):
        container.download(blob, tmp_path / "a")
    container.download(next(container.list()), tmp_path / "a")
    assert contents(tmp_path) == {"a": b"new"}


def test_a_blob_that_does_not_have_its_md5_is_refused(container: Container, blob: Blob, tmp_path: Path) -> None:
    wrong = Blob(blob.name, blob.size, blob.etag, hashlib.md5(b"other").digest())
    with pytest.raises(InputError, match=r"does not have the MD5 that is stored with it.*Upload the blob again"):
        container.download(wrong, tmp_path / "a")
    assert contents(tmp_path) == {}


@pytest.mark.usefixtures("small_ranges")
def test_two_downloads_do_not_write_to_one_file(container: Container, blob: Blob, tmp_path: Path) -> None:
    def again(number: int) -> None:
        with pytest.raises(OutputError, match="Another download is writing"):
            container.download(blob, tmp_path / "a")

    container.download(blob, tmp_path / "a", again)
    assert set(contents(tmp_path)) == {"a"}


def test_a_place_that_cannot_be_written_is_an_error(container: Container, blob: Blob, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    for path in (tmp_path / "file" / "a", Path("/proc/none/a"), tmp_path / ("x" * 300)):
        with pytest.raises(OutputError, match="Choose another folder"):
            container.download(blob, path)


def test_a_file_that_is_gone_or_grows_is_not_uploaded(
    container: Container, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(OutputError, match="Cannot upload"):
        container.upload(tmp_path / "none", "a")
    (tmp_path / "a").write_bytes(b"x" * 10)
    real = os.fstat

    def smaller(file: int) -> os.stat_result:
        return os.stat_result((*real(file)[:6], 9, *real(file)[7:]))

    monkeypatch.setattr("loadcast.storage.blob.uploading.os.fstat", smaller)
    with pytest.raises(OutputError, match="changed while it was being uploaded"):
        container.upload(tmp_path / "a", "a")
    assert container.stat("a") is None


# --- faults ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def proxy(azurite: Azurite) -> Iterator[FaultProxy]:
    with fault_proxy(azurite.endpoint) as running:
        yield running
        assert running.errors == []


def through(proxy: FaultProxy, container: Container) -> Container:
    return Container(BlobLocation(proxy.endpoint, container.root.container), container.access)


@pytest.mark.usefixtures("no_pauses", "small_ranges", "short_windows")
@pytest.mark.parametrize("seed", range(4))
def test_faults_on_the_way_change_nothing(
    seed: int, proxy: FaultProxy, container: Container, folder: Path, tmp_path: Path
) -> None:
    faulty = through(proxy, container)
    shares = {"unavailable": 0.06, "cut": 0.1, "dripped": 0.03, "truncated": 0.1, "portal": 0.06}
    proxy.set_plan(FaultPlan(seed, retry_after_s=0, **shares))  # type: ignore[arg-type]  # shares are by name
    upload_folder(faulty, folder, "in")
    blobs = faulty.find("in/**")
    download_blobs(faulty, blobs, "in", tmp_path / "out")
    for blob in blobs:
        faulty.copy(blob.name, blob.name.replace("in/", "copy/"))
    with faulty.lease(".lock") as lease:
        lease.prove()
        assert faulty.put("new", b"x", new=True) == (container.get("new") or (b"", ""))[1]
    faulty.delete(blob.name for blob in blobs)
    assert contents(tmp_path / "out") == contents(folder)
    download_blobs(container, list(container.list("copy/")), "copy", tmp_path / "copy")
    assert contents(tmp_path / "copy") == contents(folder)
    assert list(container.list("in/")) == []
    assert all(proxy.done[kind] > 0 for kind in shares)


@pytest.mark.usefixtures("no_pauses")
def test_a_write_whose_answer_is_lost_is_known_again(proxy: FaultProxy, container: Container) -> None:
    faulty = through(proxy, container)
    proxy.set_plan(FaultPlan(cut=1.0, applies=lambda request: request.method == "PUT" and request.number == 1))
    etag = faulty.put("a", b"first", new=True)
    assert container.get("a") == (b"first", etag)
    proxy.set_plan(FaultPlan(cut=1.0, applies=lambda request: request.method == "PUT" and request.number == 1))
    etag = faulty.put("a", b"second", etag=etag)
    assert container.get("a") == (b"second", etag)
    with pytest.raises(ChangedError):
        faulty.put("a", b"third", etag='"0x1"')


@pytest.mark.usefixtures("small_ranges")
def test_a_read_that_stalls_is_asked_again(
    proxy: FaultProxy, container: Container, blob: Blob, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stall is longer than the test may take: waiting for it would be noticed."""
    monkeypatch.setattr(policy, "STALL_TIMEOUT_S", 0.5)
    stalled = {2, 3}
    proxy.set_plan(FaultPlan(stalled=1.0, stall_s=600, applies=lambda request: request.number in stalled))
    faulty = through(proxy, container)
    assert faulty.open(blob.name, blob.size, blob.etag).read() == (container.get("a") or (b"", ""))[0]
    assert proxy.done["stalled"] == 2


@pytest.mark.usefixtures("few_attempts")
def test_a_server_that_stays_busy_is_an_error(proxy: FaultProxy, container: Container) -> None:
    proxy.set_plan(FaultPlan(unavailable=1.0, retry_after_s=0))
    with pytest.raises(InputError, match=r"too busy or has a fault: the server answered 503 \(ServerBusy\)"):
        list(through(proxy, container).list())
    assert proxy.done["requests"] > 1


# --- secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.usefixtures("few_attempts")
def test_no_log_line_and_no_error_holds_a_secret(
    azurite: Azurite, proxy: FaultProxy, container: Container, folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    name = container.root.container
    good, old, weak = azurite.sas(name, "racwdl"), azurite.sas(name, "racwdl", minutes=-5), azurite.sas(name, "w")
    wrong = "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWY="
    accesses = [Access("sas", good), container.access, Access("sas", old), Access("sas", weak), Access("key", wrong)]
    proxy.set_plan(FaultPlan(seed=1, unavailable=0.1, cut=0.2, retry_after_s=0))
    entered = [Container(BlobLocation(proxy.endpoint, name), access) for access in accesses]
    for endpoint in ("http://127.0.0.1:9/devstoreaccount1", "http://acct.blob.invalid"):
        entered.append(Container(BlobLocation(endpoint, name), accesses[0]))
    actions: list[Callable[[Container], object]] = [
        lambda at: at.upload(folder / "top", "top"),
        lambda at: upload_folder(at, folder, "in", ["sub/ü 5"]),
        lambda at: at.copy("top", "copy"),
        lambda at: at.put("a", b"x", new=True),
        lambda at: [at.open(blob.name, blob.size, blob.etag).read() for blob in at.find("*")],
        lambda at: at.open("top", 3, "other").read(),
    ]
    texts = []
    for at in entered:
        for action in actions:
            try:
                action(at)
            except (LoadcastError, OSError) as error:
                texts += [repr(error), *traceback.format_exception(error), *map(repr, policy.reasons(error))]
    logged = caplog.text
    assert "urllib3.connectionpool" in logged
    assert texts
    secrets = [azurite.key, wrong, *(re.search("sig=([^&]+)", sas)[1] for sas in (good, old, weak))]  # type: ignore[index]
    for secret in secrets:
        for form in {secret, unquote(secret)}:
            assert form not in logged
            assert not [text for text in texts if form in text]
