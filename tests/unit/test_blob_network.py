"""Every kind of request over a network with every kind of fault: asked again until it is right, or one clear error."""

from __future__ import annotations

import hashlib
import ssl
import threading
import time
from base64 import b64encode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from azure.core.exceptions import AzureError

from faults import (
    CUT,
    DRIPPED,
    FLIPPED,
    KINDS,
    OUTAGE,
    PORTAL,
    STALLED,
    TRUNCATED,
    UNAVAILABLE,
    FaultPlan,
    Request,
    fault_proxy,
)
from loadcast.errors import InputError, LoadcastError, OutputError
from loadcast.storage.blob import client, pace, policy
from loadcast.storage.blob.access import Access
from loadcast.storage.blob.container import Blob, Container
from loadcast.storage.blob.location import BlobLocation
from loadcast.storage.blob.policy import Patience, Policy
from patience import few_attempts as few_attempts
from tls import make_certificate, server_context

NAME, ETAG, MODIFIED = "a.csv", '"0x1"', "Thu, 01 Jan 2026 00:00:00 GMT"
DATA = bytes(range(256)) * 40
MD5 = hashlib.md5(DATA).digest()
LISTED = (
    f"<?xml version='1.0' encoding='utf-8'?><EnumerationResults><Blobs><Blob><Name>{NAME}</Name><Properties>"
    f"<BlobType>BlockBlob</BlobType><Last-Modified>{MODIFIED}</Last-Modified><Etag>0x1</Etag><Content-Length>"
    f"{len(DATA)}</Content-Length></Properties></Blob></Blobs><NextMarker/></EnumerationResults>"
).encode()
SIGNATURE = "bm90LWEtc2lnbmF0dXJl"


class BlobServer(BaseHTTPRequestHandler):
    """Speaks as much of Azure's protocol as one blob needs; checks what is put by its MD5."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_GET(self) -> None:
        if "comp=list" in self.path:
            self.answer(200, LISTED, **{"Content-Type": "application/xml"})
        elif asked := self.headers.get("x-ms-range"):
            first, last = map(int, asked.removeprefix("bytes=").split("-"))
            self.answer(206, DATA[first : last + 1], **{"Content-Range": f"bytes {first}-{last}/{len(DATA)}"})
        else:
            self.answer(200, DATA, **{"Content-MD5": b64encode(MD5).decode()})

    def do_HEAD(self) -> None:
        self.answer(200, DATA, **{"x-ms-blob-type": "BlockBlob"})

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if b64encode(hashlib.md5(body).digest()).decode() != self.headers["Content-MD5"]:
            self.answer(400, b"", **{"x-ms-error-code": "Md5Mismatch"})
        else:
            self.answer(201, b"")

    def do_DELETE(self) -> None:
        self.answer(202, b"")

    def answer(self, status: int, body: bytes, **headers: str) -> None:
        self.send_response(status)
        told = {"x-ms-request-id": "1", "ETag": ETAG, "Last-Modified": MODIFIED, "Content-Length": str(len(body))}
        for name, text in (told | headers).items():
            self.send_header(name, text)
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing."""


@contextmanager
def serving(handler: type[BaseHTTPRequestHandler], context: ssl.SSLContext | None = None) -> Iterator[str]:
    """The address of an account on a server of its own, which speaks TLS with a context."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        if context:
            server.socket = context.wrap_socket(server.socket, server_side=True)
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"{'https' if context else 'http'}://127.0.0.1:{server.server_address[1]}/account"
        finally:
            server.shutdown()
            thread.join()


@pytest.fixture(scope="module")
def target() -> Iterator[str]:
    with serving(BlobServer) as address:
        yield address


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """All times are small."""
    monkeypatch.setattr(policy, "STALL_TIMEOUT_S", 0.1)
    monkeypatch.setattr(client, "READ_TIMEOUT_S", 0.2)
    monkeypatch.setattr(pace, "WINDOW_S", 0.1)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Short pauses, and far longer than any fault lasts."""
    monkeypatch.setattr(client, "Policy", lambda: Policy(Patience(60, 60, first_pause_s=0.01, longest_pause_s=0.05)))


def container(endpoint: str) -> Container:
    return Container(BlobLocation(endpoint, "logs"), Access("sas", f"sv=2024-11-04&sig={SIGNATURE}"))


def downloaded(at: Container, md5: bytes | None = MD5) -> bytes:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        blob = Blob(NAME, len(DATA), ETAG, md5)
        at.download(blob, Path(folder, "a"))
        return Path(folder, "a").read_bytes()


OPERATIONS: dict[str, tuple[Callable[[Container], object], object]] = {
    "list": (lambda at: [(blob.name, blob.size, blob.etag) for blob in at.list()], [(NAME, len(DATA), ETAG)]),
    "stat": (lambda at: at.stat(NAME).size, len(DATA)),  # type: ignore[union-attr]
    "get": (lambda at: at.get(NAME), (DATA, ETAG)),
    "read": (lambda at: at.open(NAME, len(DATA), ETAG).read(), DATA),
    "download": (downloaded, DATA),
    "put": (lambda at: at.put(NAME, DATA), ETAG),
    "delete": (lambda at: at.delete([NAME]), None),
}
#: What HTTP has no means against: the bytes of a range, and the head of an answer, have no checksum.
UNNOTICED = {("read", FLIPPED)}


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("kind", [*KINDS, OUTAGE])
@pytest.mark.parametrize("operation", OPERATIONS)
def test_what_passes_is_asked_again(operation: str, kind: str, target: str) -> None:
    if (operation, kind) in UNNOTICED:
        pytest.skip("nothing tells that a range was damaged: use https")
    do, wanted = OPERATIONS[operation]
    shares: Any = {"outages": ((1, 0.2),)} if kind == OUTAGE else {kind: 1.0}
    for seed in (1, 2):  # their coins differ
        plan = FaultPlan(seed, **shares, applies=first, stall_s=0.5, drip_s=0.02, retry_after_s=0)
        with fault_proxy(target, plan) as proxy:
            assert do(container(proxy.endpoint)) == wanted
            assert proxy.done[kind] >= 1
            assert proxy.errors == []


def first(request: Request) -> bool:
    return request.number <= 2


LASTING = [
    ("list", UNAVAILABLE, "too busy"),
    ("put", UNAVAILABLE, "too busy"),
    ("list", CUT, "the connection breaks off|was cut"),
    ("delete", CUT, "the connection breaks off|was cut"),
    ("read", STALLED, "does not answer in time"),
    ("stat", STALLED, "does not answer in time"),
    *((operation, DRIPPED, "too slowly|does not answer in time") for operation in OPERATIONS),
    *((operation, PORTAL, "is no blob storage, but 200 with an HTML page") for operation in OPERATIONS),
]


@pytest.mark.usefixtures("few_attempts")
@pytest.mark.parametrize(("operation", "kind", "wanted"), LASTING)
def test_what_lasts_is_one_clear_error(operation: str, kind: str, wanted: str, target: str) -> None:
    do, _ = OPERATIONS[operation]
    shares: Any = {kind: 1.0}
    with fault_proxy(target, FaultPlan(1, **shares, stall_s=5, drip_s=0.02, retry_after_s=0)) as proxy:
        began = time.monotonic()
        with pytest.raises((InputError, OutputError), match=wanted) as caught:
            do(container(proxy.endpoint))
    assert time.monotonic() - began < 60  # and not for good
    check_clear(caught.value)


def check_clear(error: LoadcastError) -> None:
    assert "\n" not in str(error)
    assert SIGNATURE not in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None


# --- lists ----------------------------------------------------------------------------------------------------------

NO_LISTS = {
    "an HTML page": (b"<!DOCTYPE html><html><body><p>Log in</body></html>", "text/html"),
    "well-formed HTML": (b"<html><body>Log in</body></html>", "text/html"),
    "HTML as XML": (b"<html><body>Log in</body></html>", "application/xml"),
    "JSON": (b'{"EnumerationResults": "log in"}', "application/json"),
    "nothing": (b"", "application/xml"),
    "nothing of no kind": (b"", ""),
    "another list": (LISTED.replace(b"EnumerationResults", b"ListBucketResult"), "application/xml"),
    "a cut list": (LISTED[:200], "application/xml"),
    "a list cut in its first line": (LISTED[:20], "application/xml"),
    "a list without its middle": (LISTED[:150] + LISTED[200:], "application/xml"),
    "a list with a number that is none": (LISTED.replace(b"th>10240", b"th>1O240"), "application/xml"),
    "a list with a date that is none": (LISTED.replace(b"2026", b"2O26"), "application/xml"),
    "a list with a broken character": (LISTED.replace(b"a.csv", b"a\xff.csv"), "application/xml"),
    "an empty list of nothing": (b"<EnumerationResults></EnumerationResults>", "application/xml"),
}


@pytest.mark.usefixtures("few_attempts")
@pytest.mark.parametrize("marked", [True, False], ids=["by a blob server", "by something else"])
@pytest.mark.parametrize("name", NO_LISTS)
def test_what_is_no_list_is_asked_again_and_then_one_clear_error(name: str, marked: bool) -> None:
    body, kind = NO_LISTS[name]
    asked: list[str] = []

    class Wrong(BlobServer):
        right_from = 3

        def do_GET(self) -> None:
            asked.append(self.path)
            if len(asked) >= self.right_from:
                super().do_GET()
                return
            self.send_response(200)
            marks = {"x-ms-request-id": "1"} if marked else {}
            for name, text in {"Content-Type": kind, "Content-Length": str(len(body)), **marks}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)

    with serving(Wrong) as address:
        assert [blob.name for blob in container(address).list()] == [NAME]
        assert len(asked) == 3
        Wrong.right_from = 10**9
        with pytest.raises(InputError, match=r"Check the network|Log in to the network") as caught:
            list(container(address).list())
    check_clear(caught.value)


@pytest.mark.usefixtures("few_attempts")
def test_a_login_page_that_is_elsewhere_is_no_blob_server() -> None:
    class Portal(BlobServer):
        def do_GET(self) -> None:
            if self.path.startswith("/login"):
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
            else:
                self.send_response(302)
                self.send_header("Location", f"http://{self.headers['Host']}/login")
            self.send_header("Content-Length", "0")
            self.end_headers()

    with serving(Portal) as address:
        for do in (lambda: list(container(address).list()), lambda: container(address).get(NAME)):
            with pytest.raises(InputError, match="is no blob storage"):
                do()


@pytest.mark.parametrize("kind", [*KINDS, OUTAGE])
def test_each_fault_is_one_of_the_sdks_errors_to_who_calls_the_sdk(kind: str, target: str) -> None:
    shares: Any = {"outages": ((1, 5),)} if kind == OUTAGE else {kind: 1.0}
    with fault_proxy(target, FaultPlan(1, **shares, stall_s=5, drip_s=0.02, retry_after_s=0)) as proxy:
        blob = container(proxy.endpoint)._client.sdk.get_blob_client(NAME)
        try:  # a request whose answer has no body
            blob.delete_blob()
        except AzureError:
            return
    assert kind in {TRUNCATED, FLIPPED}  # what has no body cannot be damaged


# --- other protocols ------------------------------------------------------------------------------------------------


def test_https_on_an_http_port_says_so_at_once(target: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "Policy", lambda: Policy(sleep=pytest.fail))
    with pytest.raises(InputError, match=r"was asked by https and does not speak it\. Write http://"):
        list(container(target.replace("http:", "https:")).list())


@pytest.fixture
def secure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The address of a blob server that speaks TLS, with a certificate that is trusted."""
    certificate = make_certificate(tmp_path)
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(certificate))
    with serving(BlobServer, server_context(certificate)) as address:
        yield address


def test_http_on_an_https_port_says_so_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "Policy", lambda: Policy(sleep=pytest.fail))

    class Alert(BlobServer):
        def handle(self) -> None:
            self.connection.recv(1 << 16)
            self.wfile.write(b"\x15\x03\x03\x00\x02\x02\x46")  # what OpenSSL says to HTTP

    with serving(Alert) as address, pytest.raises(InputError, match="was asked by http and speaks https"):
        list(container(address).list())


@pytest.mark.usefixtures("few_attempts")
@pytest.mark.parametrize("operation", OPERATIONS)
def test_https_is_the_same(operation: str, secure: str) -> None:
    do, wanted = OPERATIONS[operation]
    assert do(container(secure)) == wanted


@pytest.mark.usefixtures("few_attempts")
def test_a_drip_by_https_ends_as_well(secure: str, monkeypatch: pytest.MonkeyPatch) -> None:
    def drip(self: BlobServer) -> None:
        self.send_response(200)
        self.send_header("x-ms-request-id", "1")
        self.end_headers()
        for _ in range(200):
            self.wfile.write(b"<")
            time.sleep(0.02)

    monkeypatch.setattr(BlobServer, "do_GET", drip)
    with pytest.raises(InputError, match="too slowly"):
        list(container(secure).list())


# --- time and damage ------------------------------------------------------------------------------------------------


def test_a_body_that_moves_and_does_not_end_ends_with_the_operation(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "Policy", lambda: Policy(Patience(0.5, 0.5)))
    monkeypatch.setattr(pace, "WINDOW_BYTES", 0)

    class Endless(BlobServer):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("x-ms-request-id", "1")
            self.send_header("Content-Length", str(10**9))
            self.end_headers()
            while True:
                self.wfile.write(b"<" * 100)
                time.sleep(0.01)

        def handle(self) -> None:
            try:
                super().handle()
            except ConnectionError:
                return

    with serving(Endless) as address:
        for do in (lambda: list(container(address).list()), lambda: container(address).get(NAME)):
            with pytest.raises(InputError, match="too slowly"):
                do()


@pytest.mark.usefixtures("few_attempts")
def test_damage_on_the_way_is_not_blamed_on_the_blob(target: str) -> None:
    reads = lambda request: request.method == "GET" and "comp=list" not in request.path  # noqa: E731
    with fault_proxy(target, FaultPlan(3, flipped=1.0, applies=reads)) as proxy:
        at = container(proxy.endpoint)
        for do in (lambda: at.get(NAME), partial(downloaded, at)):
            with pytest.raises(InputError, match="damaged on the way") as caught:
                do()
            assert "Upload" not in str(caught.value)
            check_clear(caught.value)


def test_damage_of_the_blob_is_told_as_that(target: str) -> None:
    with pytest.raises(InputError, match=r"does not have the MD5 that is stored with it.* Upload the blob again"):
        downloaded(container(target), hashlib.md5(b"other").digest())
