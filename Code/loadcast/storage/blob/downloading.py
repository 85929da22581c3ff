"""From a blob to a local file, which appears when it is complete; what was interrupted is taken up again."""

from __future__ import annotations

import fcntl
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from loadcast.errors import InputError, OutputError
from loadcast.storage.blob.client import RANGE_BYTES
from loadcast.storage.blob.reading import BlobReader, RangeReader, damaged_blob

_SUFFIX = ".part"
_DIGEST_CHARACTERS = 16
#: Times that a blob arrives damaged, each time in another way, before it is given up.
_MOST_DAMAGED = 5


def download_file(source: RangeReader, path: Path, md5: bytes | None, arrived: Callable[[int], None]) -> None:
    """Bring a blob to a file. Its bytes come first into a `.part` file beside it, which a later call goes on with.

    The part's name tells the blob and its state, its length how far it is: no other record can disagree with them.
    `arrived` is called with numbers of new bytes. Raises InputError where the bytes are not those that were stored,
    OutputError where another process is downloading to the same place, OSError where the file cannot be written.
    """
    mine = _digest(source.url, path.name)
    part = path.with_name(f".{mine}-{_digest(source.etag, str(source.size))}{_SUFFIX}")
    for stale in path.parent.glob(f".{mine}-*{_SUFFIX}"):
        if stale != part:
            stale.unlink(missing_ok=True)
    file = _open_alone(part, path)
    try:
        _fill_right(file, source, md5, arrived)
        os.replace(part, path)
    finally:
        if os.fstat(file).st_size == 0:  # nothing to go on with
            part.unlink(missing_ok=True)
        os.close(file)


def _fill_right(file: int, source: RangeReader, md5: bytes | None, arrived: Callable[[int], None]) -> None:
    """Fill the file until it has the blob's MD5, where there is one. Raises InputError where that is not to be.

    What was there may have been damaged in a crash, what comes may be on its way: each time it is another damage. Bytes
    that come twice in the same way are the blob's.
    """
    seen: list[bytes] = []
    while True:
        actual = _fill(file, source, arrived)
        if md5 is None or actual == md5:
            return
        os.ftruncate(file, 0)
        arrived(-source.size)
        if actual in seen:
            raise InputError(damaged_blob(source.url))
        seen.append(actual)
        if len(seen) == _MOST_DAMAGED:
            raise InputError(
                f"{source.url}: its bytes were damaged on the way, {len(seen)} times, each time in another way. "
                "Check the network and any proxy, or use https, and run again."
            )


def _open_alone(part: Path, path: Path) -> int:
    """Open the part file, locked against others who would write to it."""
    while True:
        file = os.open(part, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o666)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.fstat(file).st_nlink:  # else another has just completed it, under its name
                return file
        except BlockingIOError:
            os.close(file)
            raise OutputError(f"Another download is writing to {path}. Wait for it, or choose another place.") from None
        os.close(file)


def _fill(file: int, source: RangeReader, arrived: Callable[[int], None]) -> bytes:
    """Read on from where the file ends; the MD5 of what it now holds."""
    done = os.fstat(file).st_size
    if done > source.size:
        os.ftruncate(file, 0)
        done = 0
    digest = hashlib.md5(usedforsecurity=False)
    position = 0
    with memoryview(bytearray(max(1, min(RANGE_BYTES, source.size)))) as buffer, BlobReader(source) as reader:
        while position < done and (number := os.preadv(file, [buffer[: done - position]], position)):
            digest.update(buffer[:number])
            position += number
        arrived(position)
        reader.will_read(position, source.size)
        while number := reader.readinto(buffer):
            digest.update(buffer[:number])
            _write(file, buffer[:number], position)
            position += number
            arrived(number)
    return digest.digest()


def _write(file: int, data: memoryview, position: int) -> None:
    while data:
        number = os.pwrite(file, data, position)
        data, position = data[number:], position + number


def _digest(*texts: str) -> str:
    return hashlib.sha256("\n".join(texts).encode()).hexdigest()[:_DIGEST_CHARACTERS]
