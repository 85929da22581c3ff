"""Containers on a real blob server."""

from __future__ import annotations

import hashlib
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import ClassVar
from urllib.parse import parse_qs, urlsplit

import pytest

from azurite import Azurite
from loadcast.errors import ConfigError, InputError, OutputError
from loadcast.storage.blob import reading
from loadcast.storage.blob.access import ANONYMOUS, Access
from loadcast.storage.blob.container import Blob, Container
from loadcast.storage.blob.errors import BlobChangedError, ChangedError
from loadcast.storage.blob.location import BlobLocation, parse_blob_url

pytestmark = pytest.mark.integration
BLOBS = 12_000


@pytest.fixture
def container(azurite: Azurite) -> Container:
    return entered(azurite, azurite.new_container(), Access("key", azurite.key))


def entered(azurite: Azurite, name: str, access: Access) -> Container:
    return Container(BlobLocation(azurite.endpoint, name), access)


def with_sas(azurite: Azurite, container: Container, permissions: str = "rl", **times: datetime | float) -> Container:
    sas = azurite.sas(container.root.container, permissions, **times)  # type: ignore[arg-type]
    return Container(container.root, Access("sas", sas))


def stat_of(container: Container, name: str) -> Blob:
    blob = container.stat(name)
    assert blob is not None
    return blob


# --- names and listings ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["key", "sas"])
@pytest.mark.parametrize(
    "name",
    [
        "plain.csv",
        "with space",
        "ü/ñ/中文/😀",
        "100%/%20/%2E%2E/%",
        "#hash/a#b",
        "q?x=1&y=2",
        "+=&;:@,~!$'()",
        "/leading",
        "a//b",
        "trailing.",
        "..dots/...",
        "quote\"'<>|*[x]{}^`",
        "x" * 1024,
        "/".join(["part"] * 200),
    ],
)
def test_any_name_works_everywhere(kind: str, name: str, azurite: Azurite, container: Container) -> None:
    if kind == "sas":
        container = with_sas(azurite, container, "racwdl")
    data = name.encode()
    etag = container.put(name, data)
    blob = stat_of(container, name)
    assert (blob.name, blob.size, blob.etag, blob.md5) == (name, len(data), etag, hashlib.md5(data).digest())
    assert container.get(name) == (data, etag)
    assert container.open(name, blob.size, blob.etag).read() == data
    assert list(container.list()) == list(container.list(name[:3])) == container.find(name) == [blob]
    assert container.name_of(container.root.at(name).url) == name
    container.copy(name, "copy")
    assert container.get("copy") == (data, stat_of(container, "copy").etag)
    container.delete([name, "copy"])
    assert list(container.list()) == []


@pytest.mark.parametrize("name", ["", "..", "a/../b", "./a", "x" * 1025, "a\nb", "back\\slash"])
def test_names_that_another_blob_would_answer_to_are_refused(name: str, container: Container) -> None:
    with pytest.raises(InputError, match="the blob name"):
        container.get(name)
    with pytest.raises(InputError, match="the blob name"):
        container.open(name, 1, "x")
    with pytest.raises(OutputError, match="the blob name"):
        container.put(name, b"")


def test_long_listings_come_page_by_page(container: Container, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("loadcast.storage.blob.listing._PAGE_BLOBS", 40)
    names = [f"many/{number % 7}/{number:03}" for number in range(200)]
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda name: container.put(name, b""), names))
    assert [blob.name for blob in container.list("many/")] == sorted(names)
    assert len(container.find("many/[0-2]/*")) == sum(number % 7 <= 2 for number in range(200))
    assert [blob.name for blob in container.list("many/3/00")] == ["many/3/003"]


class Listing(BaseHTTPRequestHandler):
    """Lists BLOBS blobs, as Azurite takes minutes to hold so many; each page breaks off at the first attempt."""

    protocol_version = "HTTP/1.1"
    asked: ClassVar[list[int]] = []

    def do_GET(self) -> None:
        query = parse_qs(urlsplit(self.path).query)
        first = int(query.get("marker", ["0"])[0])
        last = min(first + int(query["maxresults"][0]), BLOBS)
        entries = "".join(
            f"<Blob><Name>b/{number:05}</Name><Properties><BlobType>BlockBlob</BlobType>"
            f"<Last-Modified>Thu, 01 Jan 2026 00:00:00 GMT</Last-Modified><Etag>0x{number:X}</Etag>"
            f"<Content-Length>{number}</Content-Length></Properties></Blob>"
            for number in range(first, last)
        )
        more = last if last < BLOBS else ""
        size = f"<MaxResults>{query['maxresults'][0]}</MaxResults>"
        body = f"<EnumerationResults>{size}<Blobs>{entries}</Blobs><NextMarker>{more}</NextMarker></EnumerationResults>"
        self.send_response(200)
        self.send_header("x-ms-request-id", "1")
        self.send_header("Content-Type", "application/xml")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.asked.append(first)
        self.wfile.write(body[: len(body) if self.asked.count(first) > 1 else 1000].encode())
        self.close_connection = True

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@pytest.mark.usefixtures("no_pauses")
def test_a_listing_of_thousands_survives_pages_that_break_off() -> None:
    with HTTPServer(("127.0.0.1", 0), Listing) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        root = BlobLocation(f"http://127.0.0.1:{server.server_address[1]}/devstoreaccount1", "logs")
        try:
            blobs = list(Container(root).list("b/"))
        finally:
            server.shutdown()
            thread.join()
    assert [blob.name for blob in blobs] == [f"b/{number:05}" for number in range(BLOBS)]
    assert (blobs[17].size, blobs[17].etag, blobs[17].md5) == (17, '"0x11"', None)
    assert Listing.asked == [0, 0, 5000, 5000, 10_000, 10_000]


def test_patterns_find_blobs(container: Container) -> None:
    names = ["2016/05/a/0/r.csv", "2016/06/b/7/r.csv", "2017/06/a/1/r.csv", "other/r.csv", "2016/06/.b/7/r.csv", "a[1]"]
    for name in [*names, "a1"]:
        container.put(name, b"x")
    assert [blob.name for blob in container.find("20[0,1][0-9]/[0,1][0-9]/[a,b]/[0-6]/r.csv")] == [names[0], names[2]]
    assert [blob.name for blob in container.find("**/r.csv")] == sorted(names[:4])
    assert [blob.name for blob in container.find("a[1]")] == ["a[1]"]  # it exists, so it is no pattern
    assert container.find("nothing*") == container.find("nothing") == container.find("2016/") == []


def test_marks_of_folders_are_no_blobs(azurite: Azurite, container: Container) -> None:
    with azurite.service as service:
        service.get_blob_client(container.root.container, "folder").upload_blob(b"", metadata={"hdi_isfolder": "true"})
    container.put("folder/a", b"x")
    assert [blob.name for blob in container.list()] == ["folder/a"]
    assert container.stat("folder") is None


def test_what_is_not_there_is_none(container: Container) -> None:
    assert container.stat("none") is container.get("none") is None
    assert list(container.list("none")) == []
    container.delete(["none"])


# --- entering -------------------------------------------------------------------------------------------------------


def test_each_reason_for_not_getting_in_has_its_message(azurite: Azurite, container: Container) -> None:
    now, hour = datetime.now(UTC), timedelta(hours=1)
    wrong_key = Access("key", "A" * 86 + "==")
    cases = {
        "expired on": with_sas(azurite, container, start=now - 2 * hour, expiry=now - hour),
        "not valid before": with_sas(azurite, container, start=now + hour, expiry=now + 2 * hour),
        "does not permit this (it gives w)": with_sas(azurite, container, "w"),
        "refuses the SAS": Container(container.root, Access("sas", azurite.sas("another-container"))),
        "refuses the account key": Container(container.root, wrong_key),
        "is not public": Container(container.root, ANONYMOUS),
    }
    container.put("a", b"x")
    for wanted, entering in cases.items():
        for action in (lambda at: list(at.list()), lambda at: at.get("a"), lambda at: at.open("a", 1, "x").read()):
            with pytest.raises(ConfigError) as caught:
                action(entering)
            assert wanted in str(caught.value)


@pytest.mark.usefixtures("no_pauses")
def test_missing_containers_and_servers_have_their_messages(azurite: Azurite, container: Container) -> None:
    access = container.access
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        closed = f"http://127.0.0.1:{unused.getsockname()[1]}/devstoreaccount1"
        cases = {
            "There is no container 'missing'": Container(BlobLocation(azurite.endpoint, "missing"), access),
            "the connection was refused": Container(BlobLocation(closed, "logs"), access),
            "There is no storage account": Container(BlobLocation("http://acct.blob.invalid", "logs"), access),
        }
        for wanted, entering in cases.items():
            with pytest.raises(InputError, match=wanted):
                list(entering.list())
            with pytest.raises(OutputError, match=wanted):
                entering.put("a", b"x")


def test_public_containers_need_no_credentials(azurite: Azurite) -> None:
    name = azurite.new_container(public_access="container")
    entered(azurite, name, Access("key", azurite.key)).put("a", b"x")
    visitor = entered(azurite, name, ANONYMOUS)
    assert [blob.name for blob in visitor.list()] == ["a"]
    assert visitor.open("a", 1, stat_of(visitor, "a").etag).read() == b"x"
    with pytest.raises(ConfigError):
        visitor.put("a", b"y")


def test_a_forked_process_makes_its_own_connections(azurite: Azurite, container: Container) -> None:
    """In a process of its own: forking one with threads is warned of."""
    container.put("a", b"x" * 1000)
    script = """
import os, sys
from loadcast.references import read_reference
from loadcast.storage.blob.credentials import resolve_access
from loadcast.storage.blob.container import Container
from loadcast.storage.blob.location import parse_blob_url
root, _ = parse_blob_url(sys.argv[1])
container = Container(root, resolve_access(root, "env:KEY", None))
blob = container.stat("a")
read = lambda: container.open("a", blob.size, blob.etag).read() == b"x" * 1000
assert read()
children = [os.fork() for _ in range(2)]
if 0 in children:
    os._exit(0 if all(read() for _ in range(20)) else 1)
assert all(read() for _ in range(20))
sys.exit(sum(os.waitpid(child, 0)[1] for child in children))
"""
    argv = [sys.executable, "-W", "ignore", "-c", script, container.root.url]
    done = subprocess.run(argv, env={**os.environ, "KEY": azurite.key}, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")


# --- reading --------------------------------------------------------------------------------------------------------


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "RANGE_BYTES", 64 << 10)
    monkeypatch.setattr(reading, "_AHEAD_BYTES", 64 << 10)
    monkeypatch.setattr(reading, "_SMALLEST_RANGE", 16 << 10)


@pytest.mark.usefixtures("small_ranges")
@pytest.mark.parametrize("change", ["same size", "shorter", "empty", "deleted", "container"])
def test_a_blob_that_changes_between_ranges_is_an_error(change: str, azurite: Azurite, container: Container) -> None:
    data = os.urandom(1 << 20)
    etag = container.put("a", data)
    actions: dict[str, Callable[[], object]] = {
        "same size": lambda: container.put("a", data),
        "shorter": lambda: container.put("a", data[:100]),
        "empty": lambda: container.put("a", b""),
        "deleted": lambda: container.delete(["a"]),
        "container": lambda: azurite.delete_container(container.root.container),
    }
    with container.open("a", len(data), etag) as reader:
        assert reader.read(10) == data[:10]
        actions[change]()
        with pytest.raises(InputError if change == "container" else BlobChangedError):
            reader.readall()


def test_an_empty_blob_has_no_bytes_until_it_grows(container: Container) -> None:
    etag = container.put("a", b"")
    assert container.get("a") == (b"", etag)
    assert container.open("a", 0, etag).read() == b""
    container.put("a", b"x")
    with pytest.raises(BlobChangedError):
        container.open("a", 0, etag).read()


# --- writing --------------------------------------------------------------------------------------------------------


def test_of_many_writers_at_once_one_wins(container: Container) -> None:
    start = threading.Barrier(8)

    def write(number: int, **conditions: str | bool) -> bool:
        start.wait()
        try:
            container.put("a", f"{number}".encode(), **conditions)  # type: ignore[arg-type]
        except ChangedError:
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        first = list(pool.map(lambda number: write(number, new=True), range(8)))
        etag = stat_of(container, "a").etag
        second = list(pool.map(lambda number: write(number, etag=etag), range(8)))
    assert (sum(first), sum(second)) == (1, 1)
    assert container.get("a") == (f"{second.index(True)}".encode(), stat_of(container, "a").etag)


def test_a_lock_is_held_by_one(azurite: Azurite, container: Container) -> None:
    with container.lease("out/.lock") as lease:
        lease.prove()
        with pytest.raises(OutputError, match=r"Another run is writing to .*/out\."), container.lease("out/.lock"):
            pass
        with pytest.raises(OutputError, match="locked by another program"):
            container.put("out/.lock", b"x")
    with container.lease("out/.lock"):
        pass


def test_a_lock_that_was_broken_is_noticed(
    azurite: Azurite, container: Container, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("loadcast.storage.blob.lease._RENEWED_EVERY_S", 0.05)
    with container.lease(".lock") as lease:
        with azurite.service as service:
            from azure.storage.blob import BlobLeaseClient

            BlobLeaseClient(service.get_blob_client(container.root.container, ".lock")).break_lease(0)
        lease._thread.join(10)
        with pytest.raises(OutputError, match="Lost the lock"):
            lease.prove()
    with container.lease(".lock"):
        pass


def test_urls_of_azurite_are_read(azurite: Azurite, container: Container) -> None:
    root, sas = parse_blob_url(f"{container.root.url}?{azurite.sas(container.root.container)}")
    container.put("a", b"x")
    assert [blob.name for blob in Container(root, Access("sas", sas or "")).list()] == ["a"]
