"""Reading blobs: answers that are wrong, ranges that are asked for ahead, and what is on its way after a jump."""

from __future__ import annotations

import hashlib
import io
from base64 import b64encode
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from azure.core.exceptions import HttpResponseError
from urllib3.exceptions import ProtocolError

from loadcast.errors import InputError
from loadcast.storage.blob import reading
from loadcast.storage.blob.access import Access
from loadcast.storage.blob.errors import BlobChangedError
from loadcast.storage.blob.location import BlobLocation
from loadcast.storage.blob.policy import BrokenAnswerError, Policy
from loadcast.storage.blob.reading import BlobReader, RangeReader, read_whole

ROOT = BlobLocation("https://acct.blob.core.windows.net", "logs")
KEY = Access("key", "a2V5")
Answer = Callable[[], Any]

# --- answers --------------------------------------------------------------------------------------------------------

DATA = bytes(range(256)) * 40
ETAG = '"0x1"'


class Body(io.BytesIO):
    """The body of an answer; it may end in an error."""

    def __init__(self, data: bytes, end: Exception | None = None) -> None:
        super().__init__(data)
        self.end = end

    def read(self, size: int | None = -1, decode_content: bool = True) -> bytes:  # type: ignore[override]
        assert not decode_content  # a Content-Encoding says something of the file, not of the way
        data = super().read(size)
        if not data and self.end:
            raise self.end
        return data


class Dribble(Body):
    """A body that comes byte by byte."""

    def read(self, size: int | None = -1, decode_content: bool = True) -> bytes:  # type: ignore[override]
        return super().read(1, decode_content)


class Server:
    """Stands for a client whose server gives the answers in turn, and right ones when they are used up."""

    def __init__(self, *answers: Answer, data: bytes = DATA) -> None:
        self.now = 0.0
        self.policy = Policy(sleep=self.sleep, clock=lambda: self.now)
        self.root = ROOT
        self.data = data
        self.answers = list(answers)
        self.asked: list[str] = []
        self.threads = ThreadPoolExecutor(4)

    def get(self, name: str, headers: dict[str, str], read_timeout_s: float) -> Any:
        assert name == "a.csv"
        wanted = headers.get("x-ms-range", "")
        self.asked.append(wanted)
        if self.answers:
            return self.answers.pop(0)()
        assert headers["If-Match"] == ETAG
        first, last = map(int, wanted.removeprefix("bytes=").split("-"))
        return ranged(first, last, self.data)

    def sleep(self, seconds: float) -> None:
        self.now += seconds

    def take_buffer(self, size: int) -> bytearray:
        return bytearray(reading.RANGE_BYTES)

    def give_back(self, buffer: bytearray) -> None:
        return


def sent(status: int, body: Body, **headers: str) -> Any:
    all_headers = requests.structures.CaseInsensitiveDict(
        {name.replace("_", "-"): text for name, text in headers.items()}
    )
    return SimpleNamespace(
        status_code=status,
        reason="",
        headers=all_headers,
        text=lambda: "",
        internal_response=SimpleNamespace(raw=body, close=body.close),
    )


def ranged(first: int, last: int, data: bytes = DATA, **headers: str) -> Any:
    told = {"Content_Range": f"bytes {first}-{last}/{len(data)}", "ETag": ETAG, **headers}
    return sent(206, Body(data[first : last + 1]), **told)


def refused(status: int, code: str) -> Answer:
    return lambda: sent(status, Body(b""), **{"x_ms_error_code": code})


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Server]]:
    servers: list[Server] = []

    def make(*answers: Answer, data: bytes = DATA) -> Server:
        servers.append(Server(*answers, data=data))
        monkeypatch.setattr(reading, "connect", lambda root, access: servers[-1])
        return servers[-1]

    yield make
    for server in servers:
        server.threads.shutdown()


def source(size: int = len(DATA)) -> RangeReader:
    return RangeReader(ROOT, KEY, "a.csv", size, ETAG)


def read(start: int, length: int) -> bytes:
    data = bytearray(length)
    source().fill(memoryview(data), start)
    return bytes(data)


WRONG_ANSWERS = {
    "whole blob": lambda: sent(200, Body(DATA), ETag=ETAG),
    "no Content-Range": lambda: sent(206, Body(DATA[10:110]), ETag=ETAG),
    "another range": lambda: ranged(0, 99),
    "a longer range": lambda: ranged(10, 110),
    "another size": lambda: ranged(10, 109, Content_Range=f"bytes 10-109/{len(DATA) + 1}"),
    "nonsense": lambda: ranged(10, 109, Content_Range="bytes */*"),
    "short body": lambda: sent(206, Body(DATA[10:50]), ETag=ETAG, Content_Range=f"bytes 10-109/{len(DATA)}"),
    "no body": lambda: sent(206, Body(b""), ETag=ETAG, Content_Range=f"bytes 10-109/{len(DATA)}"),
    "cut body": lambda: sent(
        206, Body(DATA[10:50], ProtocolError("cut")), ETag=ETAG, Content_Range=f"bytes 10-109/{len(DATA)}"
    ),
    "stalled body": lambda: sent(
        206, Body(DATA[10:50], TimeoutError()), ETag=ETAG, Content_Range=f"bytes 10-109/{len(DATA)}"
    ),
    "busy": refused(503, "ServerBusy"),
}


@pytest.mark.parametrize("name", WRONG_ANSWERS)
def test_a_wrong_answer_is_asked_again(name: str, serve: Callable[..., Server]) -> None:
    server = serve(WRONG_ANSWERS[name], WRONG_ANSWERS["busy"])
    assert read(10, 100) == DATA[10:110]
    assert len(server.asked) == 3


@pytest.mark.parametrize("name", WRONG_ANSWERS)
def test_an_answer_that_stays_wrong_is_an_error(name: str, serve: Callable[..., Server]) -> None:
    # What has arrived counts, so that a body that breaks off is asked again from there: here it never goes on.
    stuck = [WRONG_ANSWERS[name]] + [WRONG_ANSWERS[name if "body" not in name else "no Content-Range"]] * 500
    server = serve(*stuck)
    with pytest.raises((BrokenAnswerError, HttpResponseError)):
        read(10, 100)
    # Whoever has found the blob was given an answer, so the server is no stranger.
    assert 230 < server.now <= 241


def test_a_body_that_breaks_off_is_asked_again_from_there(serve: Callable[..., Server]) -> None:
    server = serve(WRONG_ANSWERS["cut body"])
    assert read(10, 100) == DATA[10:110]
    assert server.asked == ["bytes=10-109", "bytes=50-109"]


@pytest.mark.parametrize(
    ("given", "wanted"),
    [
        (refused(412, "ConditionNotMet"), "written anew"),
        (refused(416, "InvalidRange"), "written anew"),
        (refused(404, "BlobNotFound"), "deleted"),
        (lambda: ranged(10, 109, ETag='"0x2"'), "written anew"),
    ],
)
def test_a_blob_that_is_no_longer_the_same_is_an_error_at_once(
    given: Answer, wanted: str, serve: Callable[..., Server]
) -> None:
    server = serve(given)
    with pytest.raises(BlobChangedError, match=f"a.csv was {wanted}"):
        read(10, 100)
    assert len(server.asked) == 1


def test_a_container_that_is_gone_is_no_changed_blob(serve: Callable[..., Server]) -> None:
    serve(refused(404, "ContainerNotFound"))
    with BlobReader(source()) as reader, pytest.raises(InputError, match="There is no container 'logs'"):
        reader.read(10)


def test_an_etag_without_quotes_is_the_same(serve: Callable[..., Server]) -> None:
    serve(lambda: ranged(0, 9, ETag="0x1"))
    assert read(0, 10) == DATA[:10]


def test_a_body_that_dribbles_ends_with_the_deadline(serve: Callable[..., Server]) -> None:
    seconds = iter(range(0, 10**6, 10))
    server = serve(*[lambda: sent(206, Dribble(DATA), ETag=ETAG, Content_Range=f"bytes 0-99/{len(DATA)}")] * 3)
    server.policy.clock = lambda: float(next(seconds))
    with pytest.raises(BrokenAnswerError, match="too slowly"):
        read(0, 100)
    assert len(server.asked) == 1


# --- reading on -----------------------------------------------------------------------------------------------------

LONG = bytes(range(251)) * 20_000


@pytest.fixture
def small_ranges(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ranges small enough that a few megabytes are many."""
    monkeypatch.setattr(reading, "RANGE_BYTES", 64 << 10)
    monkeypatch.setattr(reading, "_AHEAD_BYTES", 128 << 10)
    monkeypatch.setattr(reading, "_SMALLEST_RANGE", 4 << 10)


@pytest.mark.usefixtures("small_ranges")
@pytest.mark.parametrize("step", [1000, 4096, 65536, 100_000, 10**7])
def test_a_blob_is_read_to_its_end(step: int, serve: Callable[..., Server]) -> None:
    serve(data=LONG)
    with BlobReader(source(len(LONG))) as reader:
        assert b"".join(iter(lambda: reader.read(step), b"")) == LONG
        assert reader.tell() == len(LONG)
        assert reader.read(1) == b""


@pytest.mark.usefixtures("small_ranges")
def test_a_file_object_can_be_put_on_top(serve: Callable[..., Server]) -> None:
    serve(data=LONG)
    with io.BufferedReader(BlobReader(source(len(LONG)))) as file:
        assert file.read(10) == LONG[:10]
        file.seek(-10, io.SEEK_END)
        assert file.read() == LONG[-10:]
        assert (file.seekable(), file.readable(), file.writable()) == (True, True, False)


@pytest.mark.usefixtures("small_ranges")
def test_a_look_at_the_head_asks_for_little(serve: Callable[..., Server]) -> None:
    server = serve(data=LONG)
    with BlobReader(source(len(LONG))) as reader:
        assert reader.read(100) == LONG[:100]
        assert reader.read(1) == LONG[100:101]
    assert server.asked == ["bytes=0-4095"]


@pytest.mark.usefixtures("small_ranges")
def test_nothing_behind_what_is_announced_is_asked_for(serve: Callable[..., Server]) -> None:
    server = serve(data=LONG)
    with BlobReader(source(len(LONG))) as reader:
        reader.will_read(1000, 300_000)
        data = b"".join(iter(lambda: reader.read(min(50_000, 300_000 - reader.tell())), b""))
    assert data == LONG[1000:300_000]
    ends = sorted(tuple(map(int, text.removeprefix("bytes=").split("-"))) for text in server.asked)
    assert ends[0][0] == 1000
    assert ends[-1][1] == 299_999
    assert all(before[1] + 1 == after[0] for before, after in pairwise(ends))


@pytest.mark.usefixtures("small_ranges")
def test_the_announced_end_may_be_passed(serve: Callable[..., Server]) -> None:
    serve(data=LONG)
    with BlobReader(source(len(LONG))) as reader:
        reader.will_read(0, 1000)
        assert b"".join(iter(lambda: reader.read(70_000), b"")) == LONG


def test_seeking_as_in_any_file(serve: Callable[..., Server]) -> None:
    serve()
    with BlobReader(source()) as reader:
        assert reader.seek(-5, io.SEEK_END) == len(DATA) - 5
        assert reader.read(100) == DATA[-5:]
        assert reader.seek(len(DATA) + 10) == len(DATA) + 10
        assert reader.read(10) == b""
        assert reader.seek(3) == 3
        assert reader.seek(2, io.SEEK_CUR) == 5
        assert reader.read(3) == DATA[5:8]
        with pytest.raises(ValueError, match="negative"):
            reader.seek(-1)
    with pytest.raises(ValueError, match="closed"):
        reader.read(1)


def test_an_empty_blob_is_looked_at_before_it_counts_as_empty(serve: Callable[..., Server]) -> None:
    server = serve(lambda: sent(200, Body(b""), ETag=ETAG), refused(412, "ConditionNotMet"), data=b"")
    with BlobReader(source(0)) as reader:
        assert reader.read(10) == b""
        with pytest.raises(BlobChangedError):
            reader.read(10)
    assert server.asked == ["", ""]


# --- small blobs ----------------------------------------------------------------------------------------------------


def whole(data: bytes, **headers: str) -> Answer:
    told = {"Content_Length": str(len(data)), "ETag": ETAG, **headers}
    return lambda: sent(200, Body(data), **told)


def get(server: Server) -> tuple[bytes, str]:
    client: Any = server
    return server.policy.call(lambda attempts: read_whole(client, "a.csv", attempts))


def test_a_small_blob_is_checked_by_its_md5(serve: Callable[..., Server]) -> None:
    md5 = b64encode(hashlib.md5(b"right").digest()).decode()
    server = serve(
        whole(b"wrong", Content_MD5=md5), whole(b"rig", Content_Length="5"), whole(b"right", Content_MD5=md5)
    )
    assert get(server) == (b"right", ETAG)
    assert len(server.asked) == 3


def test_damage_that_a_second_read_does_not_show_is_of_the_way(serve: Callable[..., Server]) -> None:
    md5 = b64encode(hashlib.md5(b"right").digest()).decode()
    server = serve(*[whole(b"wr%03d" % number, Content_MD5=md5) for number in range(500)])
    with pytest.raises(BrokenAnswerError, match="damaged on the way"):
        get(server)


def test_damage_that_a_second_read_shows_again_is_of_the_blob(serve: Callable[..., Server]) -> None:
    md5 = b64encode(hashlib.md5(b"right").digest()).decode()
    server = serve(*[whole(b"wrong", Content_MD5=md5)] * 3)
    with pytest.raises(InputError, match=r"a.csv does not have the MD5 that is stored with it.* Upload the blob again"):
        get(server)
    assert len(server.asked) == 2


def test_a_large_blob_is_no_small_one(serve: Callable[..., Server], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "_LARGEST_SMALL_BLOB", 1000)
    with pytest.raises(InputError, match="Name another blob"):
        get(serve(whole(bytes(1001))))
