"""Compressed files: of several members or frames, cut, damaged, followed by something else, or made to do harm."""

from __future__ import annotations

import gzip
import io
import os
import zlib
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import scanned_files
from loadcast.errors import InputError
from loadcast.storage import compressed
from loadcast.storage.blocks import read_blocks, read_head
from loadcast.storage.compressed import is_compressed, unpacked
from loadcast.storage.files import SourceFile, Split
from loadcast.storage.sources import BlobSource

LINES = b"a line\n" * 50_000
GZIP, ZSTD = (scanned_files.PACKERS[suffix](LINES) for suffix in (".gz", ".zst"))
SKIPPED = scanned_files.SKIPPED_FRAME
#: As the command line tool writes it: a frame with a checksum (the last four bytes), of b"a line\nanother line\n".
CHECKED = bytes.fromhex("28b52ffd0458a1000061206c696e650a616e6f74686572206c696e650a228f1e01")


def read(folder: Path, name: str, data: bytes, block_bytes: int = 1000) -> bytes:
    (folder / name).write_bytes(data)
    file = scanned_files.source(folder / name)
    return b"".join(block for _, block in read_blocks(Split(file, 0, file.size), block_bytes))


@pytest.mark.parametrize(
    ("name", "wanted"),
    [("a.csv", False), ("a.gz", True), ("a.csv.zst", True), ("a.zstd", True), ("gz", False), ("a.gz/b", False)],
)
def test_the_name_says_how_a_file_is_read(name: str, wanted: bool) -> None:
    assert is_compressed(name) is wanted


WHOLE = {
    "gzip of several members": (
        "x.gz",
        gzip.compress(b"a\nb") + gzip.compress(b"") + gzip.compress(b"c\n"),
        b"a\nbc\n",
    ),
    "gzip padded with zeros": ("x.gz", gzip.compress(b"a\n") + bytes(300_000), b"a\n"),
    "gzip with zeros between": ("x.gz", gzip.compress(b"a\n") + bytes(9) + gzip.compress(b"b\n") + b"\0", b"a\nb\n"),
    "gzip of many members": ("x.gz", gzip.compress(b"0123456\n") * 10_000, b"0123456\n" * 10_000),
    "zstd of several frames": ("x.zst", ZSTD + CHECKED + ZSTD, LINES + b"a line\nanother line\n" + LINES),
    "zstd of a parallel packer": ("x.zst", (SKIPPED + ZSTD) * 3, LINES * 3),
    "zstd that ends in a skippable frame": ("x.zst", ZSTD + SKIPPED, LINES),
    "zstd of nothing but a skippable frame": ("x.zst", SKIPPED, b""),
    "zstd of many frames": ("x.zstd", CHECKED * 10_000, b"a line\nanother line\n" * 10_000),
}


@pytest.mark.parametrize("block_bytes", [7, 1000, 8 << 20])
@pytest.mark.parametrize("case", WHOLE)
def test_all_members_and_frames_are_read(tmp_path: Path, case: str, block_bytes: int) -> None:
    name, data, wanted = WHOLE[case]
    if len(wanted) < 1000 or block_bytes > 7:
        assert read(tmp_path, name, data, block_bytes) == wanted


BROKEN = {
    "gzip, cut": ("x.gz", GZIP[:-9]),
    "gzip, cut in the checksum": ("x.gz", GZIP[:-1]),
    "gzip, cut early": ("x.gz", GZIP[:30]),
    "gzip, one byte": ("x.gz", GZIP[:1]),
    "gzip, second member cut": ("x.gz", GZIP + GZIP[:-9]),
    "gzip, second header cut": ("x.gz", GZIP + GZIP[:3]),
    "gzip, wrong sum": ("x.gz", GZIP[:-8] + bytes(4) + GZIP[-4:]),
    "gzip, wrong length": ("x.gz", GZIP[:-4] + b"\1\2\3\4"),
    "gzip, damaged": ("x.gz", GZIP[:40] + b"\xff" * 20 + GZIP[60:]),
    "gzip, garbage behind": ("x.gz", GZIP + b"garbage"),
    "gzip, one byte behind": ("x.gz", GZIP + b"g"),
    "gzip, garbage behind zeros": ("x.gz", GZIP + bytes(9) + b"garbage"),
    "gzip, only zeros": ("x.gz", bytes(100)),
    "no gzip": ("x.gz", b"plain text\n"),
    "zlib": ("x.gz", zlib.compress(LINES)),
    "zstd named gzip": ("x.gz", ZSTD),
    "zstd, cut": ("x.zst", ZSTD[:-1]),
    "zstd, cut in the checksum": ("x.zst", CHECKED[:-1]),
    "zstd, cut before the checksum": ("x.zst", CHECKED[:-4]),
    "zstd, cut early": ("x.zst", ZSTD[:10]),
    "zstd, one byte": ("x.zst", ZSTD[:1]),
    "zstd, second frame cut": ("x.zst", ZSTD + ZSTD[:-1]),
    "zstd, second header cut": ("x.zst", ZSTD + ZSTD[:3]),
    "zstd, skippable frame cut": ("x.zst", ZSTD + SKIPPED[:-1]),
    "zstd, wrong sum": ("x.zst", CHECKED[:-1] + b"\0"),
    "zstd, damaged": ("x.zst", CHECKED[:12] + b"A" + CHECKED[13:]),
    "zstd, garbage behind": ("x.zst", ZSTD + b"garbage"),
    "zstd, one byte behind": ("x.zst", ZSTD + b"g"),
    "zstd, zeros behind": ("x.zst", ZSTD + bytes(8)),
    "no zstd": ("x.zst", b"plain text\n"),
    "gzip named zstd": ("x.zst", GZIP),
}


@pytest.mark.parametrize("block_bytes", [1000, 8 << 20])
@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_an_error_that_names_it(tmp_path: Path, case: str, block_bytes: int) -> None:
    name, data = BROKEN[case]
    with pytest.raises(InputError, match=rf"Cannot read .*/{name}: .+ Replace the file, or leave it out of dataFile\."):
        read(tmp_path, name, data, block_bytes)


@pytest.mark.parametrize("suffix", [".gz", ".zst"])
def test_wherever_a_file_is_cut_it_is_an_error_and_no_shorter_file(tmp_path: Path, suffix: str) -> None:
    """Two members or frames: between them alone is the file whole."""
    member = scanned_files.PACKERS[suffix](os.urandom(40) + b"\n") if suffix == ".gz" else CHECKED
    for length in range(1, 2 * len(member)):
        if length != len(member):
            with pytest.raises(InputError, match="Cannot read"):
                read(tmp_path, f"x{suffix}", (member + member)[:length])


def test_a_broken_head_is_an_error(tmp_path: Path) -> None:
    for case in ("no gzip", "no zstd", "gzip, cut early", "zstd, cut early"):
        name, data = BROKEN[case]
        (tmp_path / name).write_bytes(data)
        with pytest.raises(InputError, match="Cannot read"):
            read_head(scanned_files.source(tmp_path / name))


def test_a_frame_that_wants_too_much_memory_is_an_error(tmp_path: Path) -> None:
    """Its window is said to be of two gigabytes."""
    frame = bytes.fromhex("28b52ffd00a8") + (1 | 5 << 3).to_bytes(3, "little") + b"line\n"
    with pytest.raises(InputError, match="too much memory"):
        read(tmp_path, "x.zst", frame)
    small = frame[:5] + b"\0" + frame[6:]
    assert read(tmp_path, "x.zst", small) == b"line\n"


class _Stingy(io.BytesIO):
    """A file that gives a byte at a time, and then fails."""

    fails_at = 1 << 60

    def read(self, length: int | None = -1, /) -> bytes:
        if self.tell() >= self.fails_at:
            raise OSError(5, "Input/output error")
        return super().read(min(length or 0, 1))


@pytest.mark.parametrize(("name", "packed"), [("x.gz", GZIP * 2), ("x.zst", CHECKED * 9 + SKIPPED + CHECKED * 9)])
def test_a_slow_file_is_read_whole_and_its_failure_is_told(name: str, packed: bytes) -> None:
    wanted = LINES * 2 if name == "x.gz" else b"a line\nanother line\n" * 18
    stream = unpacked(name, _Stingy(packed))
    assert b"".join(iter(lambda: stream.read(1 << 20), b"")) == wanted
    failing = _Stingy(packed)
    failing.fails_at = len(packed) // 2
    stream = unpacked(name, failing)
    with pytest.raises(OSError, match="Input/output error"):
        list(iter(lambda: stream.read(1 << 20), b""))


@pytest.mark.parametrize("piece_bytes", [1, 7, 64])
def test_a_gzip_file_is_read_whole_however_its_bytes_come(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, piece_bytes: int
) -> None:
    monkeypatch.setattr(compressed, "_PACKED_BYTES", piece_bytes)
    data = os.urandom(300) + b"\n"
    packed = gzip.compress(data) + bytes(70) + gzip.compress(data) + bytes(3)
    assert read(tmp_path, "x.gz", packed, 16) == data * 2
    with pytest.raises(InputError, match="Cannot read"):
        read(tmp_path, "x.gz", packed + b"g", 16)


def test_a_file_that_unpacks_to_very_much_is_read_block_by_block(tmp_path: Path) -> None:
    """A gigabyte of lines from few bytes; pyarrow must not unpack more at once than it is asked for."""
    frame = scanned_files.PACKERS[".zst"](b"a line\n" * (8 << 20))
    (tmp_path / "x.zst").write_bytes(frame * 17)
    file = scanned_files.source(tmp_path / "x.zst")
    before, total = pa.total_allocated_bytes(), 0
    for _, block in read_blocks(Split(file, 0, file.size)):
        assert len(block) <= 8 << 20
        assert pa.total_allocated_bytes() - before < 32 << 20
        total += len(block)
        if total > 100 << 20:
            break
    assert file.size < 200_000


# --- blobs ----------------------------------------------------------------------------------------------------------


class DamagingContainer:
    """Stands for a container whose blob arrives with one wrong bit, as often as is said."""

    def __init__(self, data: bytes, times: int) -> None:
        self.data, self.times = data, times

    def name_of(self, url: str) -> str:
        return url

    def open(self, name: str, size: int, etag: str) -> io.BytesIO:
        self.times -= 1
        middle = size // 2
        bit = int(self.times >= 0)
        return io.BytesIO(self.data[:middle] + bytes([self.data[middle] ^ bit]) + self.data[middle + 1 :])


def read_blob(name: str, data: bytes, times: int) -> bytes:
    container: Any = DamagingContainer(data, times)
    file = SourceFile(f"https://acct.blob.core.windows.net/logs/{name}", len(data), "0x1")
    return b"".join(bytes(block) for _, block in read_blocks(Split(file, 0, len(data)), 1000, BlobSource(container)))


@pytest.mark.parametrize(("name", "data"), [("x.gz", GZIP), ("x.zst", CHECKED)], ids=["gzip", "zstd"])
def test_damage_on_the_way_is_not_blamed_on_the_blob(name: str, data: bytes) -> None:
    assert read_blob(name, data, 0)
    with pytest.raises(InputError, match=rf"/{name} was damaged on the way .*read once more, it was whole"):
        read_blob(name, data, 1)
    with pytest.raises(InputError, match=rf"Cannot read .*/{name}: .*Replace the file"):
        read_blob(name, data, 2)
