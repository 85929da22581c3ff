"""The checksums that an `info` lists, read without the rest of it."""

from __future__ import annotations

import hashlib
import io

import pytest

from loadcast.artefacts.document import DocumentError
from loadcast.storage.checksum import listed_sums, sha256_of


@pytest.mark.parametrize(
    ("info", "listed"),
    [
        (b'{"files": {"mlModel/a": "00"}}', {"mlModel/a": "00"}),
        (b'{"formatVersion": 99, "files": {"a": "00"}, "more": []}', {"a": "00"}),
        (b'{"files": {}}', {}),
        (b"{}", {}),
    ],
)
def test_of_an_info_of_any_format_the_files_are_read(info: bytes, listed: dict[str, str]) -> None:
    assert listed_sums(info) == listed


@pytest.mark.parametrize(
    "info",
    [
        b"",
        b"\x80\x04}.",
        b"[]",
        b'{"files": [["a", "00"]]}',
        b'{"files": null}',
        b'{"files": {"a": "00", "a": "11"}}',
        b'{"files": {"a": "00"}',
        b'{"files": ' * 100_000,
    ],
)
def test_an_info_that_cannot_be_read_is_an_error(info: bytes) -> None:
    with pytest.raises(DocumentError):
        listed_sums(info)


def test_a_checksum_is_that_of_the_rest_of_the_file() -> None:
    data = bytes(range(256)) * 10_000
    file = io.BytesIO(data)
    file.seek(3)
    assert sha256_of(file) == hashlib.sha256(data[3:]).hexdigest()
