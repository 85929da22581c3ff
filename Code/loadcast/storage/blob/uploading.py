"""From a local file to a blob: in blocks, some at a time, each checked on arrival."""

from __future__ import annotations

import hashlib
import os
import secrets
from collections import deque
from concurrent.futures import Future
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from azure.storage.blob import BlobBlock, BlobClient, ContentSettings

from loadcast.errors import OutputError
from loadcast.storage.blob.client import Client

#: Bytes sent at once.
BLOCK_BYTES = 8 << 20
_MOST_BLOCKS = 50_000
_BLOCKS_AT_A_TIME = 4


@dataclass(frozen=True)
class Sent:
    """What a blob is to be: its size in bytes, and the MD5 that it has been given, if any."""

    size: int
    md5: bytes | None


def upload_file(client: Client, blob: BlobClient, path: Path) -> Sent:
    """Make the blob hold what the file holds, with its MD5; the blob appears, or is replaced, at the end.

    Raises OutputError where the file changes meanwhile, OSError where it cannot be read, or an error of the libraries.
    """
    with path.open("rb", buffering=0) as file:
        state = os.fstat(file.fileno())
        block_bytes = max(BLOCK_BYTES, -(-state.st_size // _MOST_BLOCKS))
        if state.st_size <= block_bytes:
            sent = _upload_at_once(client, blob, _read_block(file, block_bytes + 1), state.st_size)
        else:
            sent = _upload_blocks(client, blob, file, block_bytes, state)
    if sent is None:
        raise OutputError(f"{path} changed while it was being uploaded. Run again when it is complete.")
    return sent


def _upload_at_once(client: Client, blob: BlobClient, data: bytes, size: int) -> Sent | None:
    if len(data) != size:
        return None
    md5 = hashlib.md5(data, usedforsecurity=False).digest()
    settings = _settings(md5)
    client.policy.call(
        lambda _: blob.upload_blob(data, overwrite=True, content_settings=settings, validate_content=True)
    )
    return Sent(size, md5)


def _upload_blocks(
    client: Client, blob: BlobClient, file: BinaryIO, block_bytes: int, state: os.stat_result
) -> Sent | None:
    """What was sent; None where the file did not stay as it was: then nothing is made of the blocks."""
    token = secrets.token_hex(4)
    numbers: list[str] = []
    digest, size = hashlib.md5(usedforsecurity=False), 0
    coming: deque[Future[object]] = deque()
    try:
        while data := _read_block(file, block_bytes):
            digest.update(data)
            size += len(data)
            number = f"{token}-{len(numbers):06}"
            numbers.append(number)
            coming.append(client.threads.submit(_stage, client, blob, number, data))
            if len(coming) >= _BLOCKS_AT_A_TIME:
                coming.popleft().result()
        for block in coming:
            block.result()
    finally:
        for block in coming:
            block.cancel()
    now = os.fstat(file.fileno())
    if (size, now.st_mtime_ns) != (state.st_size, state.st_mtime_ns):
        return None
    settings = _settings(digest.digest())
    blocks = [BlobBlock(number) for number in numbers]
    client.policy.call(lambda _: blob.commit_block_list(blocks, content_settings=settings))
    return Sent(size, digest.digest())


def _stage(client: Client, blob: BlobClient, number: str, data: bytes) -> None:
    client.policy.call(lambda _: blob.stage_block(number, data, validate_content=True))


def _read_block(file: BinaryIO, length: int) -> bytes:
    parts = []
    while length > 0 and (part := file.read(length)):
        parts.append(part)
        length -= len(part)
    return parts[0] if len(parts) == 1 else b"".join(parts)


def _settings(md5: bytes) -> ContentSettings:
    return ContentSettings(content_type="application/octet-stream", content_md5=bytearray(md5))
