"""Reading a blob as a file: ranges of a few MB, asked for ahead of the reader, all of one state of the blob."""

from __future__ import annotations

import hashlib
import io
import re
from base64 import b64decode
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import AbstractContextManager
from typing import Any, NoReturn

from azure.core.exceptions import HttpResponseError

from loadcast.errors import InputError
from loadcast.storage.blob.access import Access
from loadcast.storage.blob.client import RANGE_BYTES, Client, connect
from loadcast.storage.blob.errors import BlobChangedError, error_code, status_of
from loadcast.storage.blob.faults import explained
from loadcast.storage.blob.location import BlobLocation
from loadcast.storage.blob.policy import Attempts, BrokenAnswerError

#: What is on its way while a range is read.
_AHEAD_BYTES = 2 * RANGE_BYTES
#: The least that is asked for: a look at a file's head or for a line's end costs one request.
_SMALLEST_RANGE = 256 << 10
#: Bytes handed over by urllib3 at once: they stay near the processor until they are copied into place.
_PIECE_BYTES = 256 << 10
#: Slower than this, a range is given up after the policy's patience.
_SLOWEST_BYTES_PER_S = 64 << 10
_LARGEST_SMALL_BLOB = 64 << 20
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class _Abandoned(Exception):
    """Nobody wants the range any more."""


class RangeReader:
    """Reads byte ranges of one blob in the state told by its size and ETag. Safe to use from several threads."""

    def __init__(self, root: BlobLocation, access: Access, name: str, size: int, etag: str) -> None:
        self._root, self._access, self._name = root, access, name
        self.size, self.etag = size, etag

    @property
    def url(self) -> str:
        """The blob's URL, without secrets."""
        return self._root.at(self._name).url

    @property
    def client(self) -> Client:
        """The process's connections."""
        return connect(self._root, self._access)

    def explained(self) -> AbstractContextManager[None]:
        """Turns errors of the libraries into those for users."""
        return explained(self._root.at(self._name), self._access)

    def fill(self, view: memoryview, start: int, abandoned: Callable[[], bool] = lambda: False) -> None:
        """Read bytes of the blob from `start` until the view is full; goes on where a broken answer has ended.

        Raises BlobChangedError, or an error of the libraries.
        """
        filled = 0

        def attempt(attempts: Attempts) -> None:
            nonlocal filled
            if abandoned():
                raise _Abandoned
            begin, stop = start + filled, start + len(view)
            headers = {"x-ms-range": f"bytes={begin}-{stop - 1}", "If-Match": self.etag}
            response = self.client.get(self._name, headers, attempts.stall_timeout_s)
            body = response.internal_response
            try:
                self._check(response, begin, stop)
                while filled < len(view):
                    if abandoned():
                        raise _Abandoned
                    if attempts.out_of_time:
                        raise BrokenAnswerError("the server sends too slowly")
                    data = body.raw.read(min(_PIECE_BYTES, len(view) - filled), decode_content=False)
                    if not data:
                        raise BrokenAnswerError(f"the server sent {filled:,} bytes of {len(view):,}")
                    view[filled : filled + len(data)] = data
                    filled += len(data)
            finally:
                body.close()

        if len(view) > 0:
            policy = self.client.policy
            policy.has_answered()  # to whoever found the blob, maybe in another process: it gave the ETag
            policy.call(attempt, policy.patience.deadline_s + len(view) / _SLOWEST_BYTES_PER_S)

    def check(self) -> None:
        """Raise BlobChangedError, or an error of the libraries, unless the blob is still in its first state."""

        def attempt(attempts: Attempts) -> None:
            response = self.client.get(self._name, {"If-Match": self.etag}, attempts.stall_timeout_s)
            try:
                if response.status_code != 200:
                    self._raise_for(response)
            finally:
                response.internal_response.close()

        self.client.policy.call(attempt)

    def _check(self, response: Any, begin: int, stop: int) -> None:
        status, headers = response.status_code, response.headers
        if status == 206:
            match = _CONTENT_RANGE.fullmatch(headers.get("Content-Range", ""))
            if headers.get("ETag", self.etag).strip('"') != self.etag.strip('"'):
                self._raise_changed("written anew")
            if match is None or [int(number) for number in match.groups()] != [begin, stop - 1, self.size]:
                raise BrokenAnswerError(f"the server sent another range than the bytes {begin:,} to {stop - 1:,}")
            return
        if status == 200:
            raise BrokenAnswerError("the server sent the whole blob where a range was asked for")
        self._raise_for(response)

    def _raise_for(self, response: Any) -> NoReturn:
        error = HttpResponseError(response=response)
        if status_of(error) == 404 and error_code(error) in {"BlobNotFound", ""}:
            self._raise_changed("deleted")
        if status_of(error) in {412, 416}:
            self._raise_changed("written anew")
        raise error

    def _raise_changed(self, what: str) -> NoReturn:
        raise BlobChangedError(f"{self.url} was {what} while it was being read")


def read_whole(client: Client, name: str, attempts: Attempts) -> tuple[bytes, str]:
    """All bytes of a small blob, checked against its MD5 where it has one, and its ETag; one attempt.

    Raises InputError where it is larger than _LARGEST_SMALL_BLOB or does not have its MD5, or an error of the
    libraries.
    """
    response = client.get(name, {}, attempts.stall_timeout_s)
    body, headers = response.internal_response, response.headers
    try:
        if response.status_code != 200:
            raise HttpResponseError(response=response)
        data = body.raw.read(_LARGEST_SMALL_BLOB + 1, decode_content=False)
    finally:
        body.close()
    if len(data) > _LARGEST_SMALL_BLOB:
        raise InputError(
            f"{client.root.at(name)} has more than {_LARGEST_SMALL_BLOB >> 20} MB, so it is not what was looked for. "
            "Name another blob."
        )
    if len(data) != int(headers.get("Content-Length", -1)):
        raise BrokenAnswerError(f"the server sent {len(data):,} bytes, and not as many as it said")
    md5, actual = headers.get("Content-MD5"), md5_of(data)
    if md5 and b64decode(md5) != actual:
        if attempts.is_damaged_again(actual):
            raise InputError(damaged_blob(client.root.at(name).url))
        raise BrokenAnswerError("the bytes were damaged on the way (they do not have the blob's MD5)")
    return data, str(headers.get("ETag", ""))


def damaged_blob(url: str) -> str:
    """What to say of a blob that came twice in the same way, and not with its MD5."""
    return (
        f"{url} does not have the MD5 that is stored with it: read twice, its bytes were the same both times. "
        "Upload the blob again."
    )


def md5_of(data: bytes | memoryview) -> bytes:
    """A checksum against damage, as Azure stores it; no protection from anybody."""
    return hashlib.md5(data, usedforsecurity=False).digest()


class _Range:
    """Bytes on their way, or there."""

    def __init__(self, source: RangeReader, start: int, stop: int) -> None:
        self.start, self.stop = start, stop
        self._abandoned = False
        self._client = source.client
        self._buffer = self._client.take_buffer(stop - start)
        view = memoryview(self._buffer)[: stop - start]
        self._done: Future[None] = self._client.threads.submit(source.fill, view, start, lambda: self._abandoned)

    def copy(self, position: int, target: memoryview) -> int:
        """Wait for the bytes, and copy those from `position` on to the target; how many."""
        self._done.result()
        number = min(len(target), self.stop - position)
        begin = position - self.start
        target[:number] = memoryview(self._buffer)[begin : begin + number]
        return number

    def drop(self) -> None:
        """Stop reading; the buffer is used again when nobody writes into it any more."""
        self._abandoned = True
        self._done.cancel()
        self._done.add_done_callback(lambda _: self._client.give_back(self._buffer))


class BlobReader(io.RawIOBase):
    """A blob as a file open for reading; not for several threads.

    Reading raises BlobChangedError (an OSError) when the blob is no longer in its first state, InputError where it
    cannot be read, ConfigError where the credentials do not hold.
    """

    def __init__(self, source: RangeReader) -> None:
        super().__init__()
        self._source = source
        self._position = 0
        self._begin = 0  # where reading on without a jump began
        self._limit = source.size
        self._asked = 0
        self._coming: deque[_Range] = deque()

    def will_read(self, start: int, stop: int) -> None:
        """Say that the bytes from `start` to `stop` come next: they are asked for at once, and none behind them."""
        self._drop(len(self._coming))
        self._position = self._asked = start
        self._begin = start - _AHEAD_BYTES  # as if so much had been read already
        self._limit = min(stop, self._source.size)
        self._ask(0)

    def readable(self) -> bool:
        """Yes."""
        return True

    def seekable(self) -> bool:
        """Yes; but a jump throws away what is on its way."""
        return True

    def tell(self) -> int:
        """The offset of the next byte."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        """Go to an offset, as in any file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._source.size}[whence]
        if base + offset < 0:
            raise ValueError(f"negative seek position {base + offset}")
        self._position = base + offset
        return self._position

    def readinto(self, buffer: Any, /) -> int:
        """Fill at least a part of the buffer; the number of bytes, 0 at the blob's end."""
        if self.closed:
            raise ValueError("I/O operation on closed file")
        with memoryview(buffer).cast("B") as view:
            wanted = min(len(view), self._source.size - self._position)
            if wanted <= 0:
                if self._source.size == 0:  # no request will notice that it has grown
                    with self._source.explained():
                        self._source.check()
                return 0
            self._go_on()
            self._ask(wanted)
            with self._source.explained():
                number = self._coming[0].copy(self._position, view[:wanted])
        self._position += number
        self._go_on()
        self._ask(0)
        return number

    def close(self) -> None:
        """Leave what is on its way."""
        if not self.closed:
            self._drop(len(self._coming))
        super().close()

    def _go_on(self) -> None:
        """Drop the ranges that do not hold the position; all of them after a jump."""
        if self._coming and not self._coming[0].start <= self._position <= self._asked:
            self._drop(len(self._coming))
        while self._coming and self._coming[0].stop <= self._position:
            self._drop(1)
        if not self._coming and self._position != self._asked:
            self._begin = self._asked = self._position

    def _ask(self, wanted: int) -> None:
        """Ask for what is wanted, and for as much behind it as has been read without a jump, within limits."""
        seen = self._position - self._begin
        ahead = min(self._position + wanted + min(seen, _AHEAD_BYTES), max(self._limit, self._position + wanted))
        limit = self._source.size if ahead > self._limit else self._limit
        while self._asked < ahead:
            step = min(RANGE_BYTES, max(_SMALLEST_RANGE, ahead - self._asked, seen))
            stop = min(self._asked + step, limit)
            self._coming.append(_Range(self._source, self._asked, stop))
            self._asked = stop

    def _drop(self, number: int) -> None:
        for _ in range(number):
            self._coming.popleft().drop()
