"""Looks for secrets where they must not be: in the process list, in what commands say, and in the files they leave.

Not called `secrets`: tests/support/ is on the import path, and would hide the standard library's module of that name.
"""

from __future__ import annotations

import base64
import gzip
import os
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import quote, quote_plus, unquote

import pyarrow as pa
import pyarrow.parquet as pq

PROC = Path("/proc")
INTERVAL_S = 0.1
WINDOW_BYTES = 8 << 20
SHORTEST = 8  # a shorter text is found by chance


@dataclass(frozen=True)
class Form:
    """One way to write a secret. What is said of a find is `name`, never `content`."""

    name: str
    content: bytes


def secret_parts(secret: str) -> Iterator[tuple[str, str]]:
    """The parts of a key, SAS or connection string that open something, with their names."""
    if "AccountKey=" in secret:
        fields = dict(part.split("=", 1) for part in secret.split(";") if part)
        yield "account key", fields["AccountKey"]
    elif "sig=" in secret:
        query = dict(part.partition("=")[::2] for part in secret.rpartition("?")[2].split("&"))
        yield "signature", unquote(query["sig"])  # its signs as they are: `+` is no space here
    else:
        yield "text", secret


def secret_forms(name: str, secret: str) -> list[Form]:
    """All forms a secret is looked for in: as it is, percent-encoded, as JSON, in base64, and decoded from base64."""
    forms: dict[bytes, str] = {}
    for part, text in secret_parts(secret):
        if len(text) < SHORTEST:
            raise ValueError(
                f"{name}: a secret of {len(text)} characters is found by chance; wanted {SHORTEST} or more."
            )
        for form, content in _written(text):
            forms.setdefault(content, f"{name}, {part}, {form}")
    return [Form(form, content) for content, form in forms.items()]


def _written(text: str) -> Iterator[tuple[str, bytes]]:
    yield "as it is", text.encode()
    for encoded in (quote(text, safe=""), quote(text), quote_plus(text), quote(quote(text, safe=""), safe="")):
        yield "percent-encoded", encoded.encode()
        yield "percent-encoded in lower case", _lower_escapes(encoded).encode()
    yield "percent-decoded", unquote(text).encode()
    yield "JSON", text.replace("/", "\\/").encode()
    yield "UTF-16", text.encode("utf-16-le")
    yield "base64 for URLs", text.replace("+", "-").replace("/", "_").encode()
    for encoded in (text, quote(text, safe=""), quote(text)):
        for shift in range(3):  # base64 of a longer text that holds it: what of it does not depend on its neighbours
            whole = base64.b64encode(b"\0" * shift + encoded.encode())
            yield "inside base64", whole[(shift * 8 + 5) // 6 : (shift + len(encoded)) * 8 // 6]
    try:
        decoded = base64.b64decode(text, validate=True)
    except ValueError:
        return
    if len(decoded) >= SHORTEST:
        yield "decoded from base64", decoded
        yield "hexadecimal", decoded.hex().encode()
        yield "hexadecimal in capitals", decoded.hex().upper().encode()


def _lower_escapes(encoded: str) -> str:
    head, *rest = encoded.split("%")
    return "%".join([head, *(part[:2].lower() + part[2:] for part in rest)])


class SecretWatcher:
    """Remembers command lines and texts, and says where in them, and in files, the secrets are."""

    def __init__(self, secrets: Mapping[str, str]) -> None:
        self.forms = [form for name, secret in secrets.items() for form in secret_forms(name, secret)]
        self.command_lines: set[bytes] = set()
        self.looks = 0
        self._texts: list[tuple[str, bytes]] = []

    def look(self) -> None:
        """Remember the command line of every process of the machine at this moment."""
        for entry in PROC.iterdir():
            if entry.name.isdigit():
                try:
                    self.command_lines.add((entry / "cmdline").read_bytes())
                except OSError:  # it has ended meanwhile
                    continue
        self.looks += 1

    def add(self, place: str, text: str | bytes) -> None:
        """Remember what a command said."""
        self._texts.append((place, text.encode() if isinstance(text, str) else text))

    def found(self, *folders: Path) -> list[str]:
        """Where secrets are, without the secrets: in what is remembered, and in and below `folders`."""
        hits = [f"command line: {name}" for line in self.command_lines for name in self._in(line)]
        hits += [f"{place}: {name}" for place, text in self._texts for name in self._in(text)]
        for folder in folders:
            if not folder.is_dir():
                raise NotADirectoryError(f"{folder}: nothing to search, so nothing is known of it.")
            hits += [hit for path in sorted(folder.rglob("*")) for hit in self._in_path(path, folder)]
        return sorted(set(hits))

    def _in(self, text: bytes) -> list[str]:
        return [form.name for form in self.forms if form.content in text]

    def _in_path(self, path: Path, folder: Path) -> Iterator[str]:
        # The name may hold the secret that is looked for.
        name = path.relative_to(folder).as_posix()
        shown = f"a file of {folder.name}" if self._in(os.fsencode(name)) else f"{folder.name}/{name}"
        yield from (f"{shown}, its name: {hit}" for hit in self._in(os.fsencode(name)))
        if path.is_symlink():
            yield from (f"{shown}, its target: {hit}" for hit in self._in(os.fsencode(os.readlink(path))))
        elif path.is_file():
            yield from (f"{shown}: {hit}" for hit in self._in_chunks(file_chunks(path)))

    def _in_chunks(self, chunks: Iterable[bytes]) -> set[str]:
        overlap = max(len(form.content) for form in self.forms) - 1
        hits: set[str] = set()
        before = b""
        for chunk in chunks:
            window = before + chunk
            hits.update(self._in(window))
            before = window[-overlap:]
        return hits


def file_chunks(path: Path) -> Iterator[bytes]:
    """A file's bytes, and then what is in it if it is compressed (gzip, zstd, lz4) or a Parquet file."""
    with path.open("rb") as file:
        magic = file.read(4)
        file.seek(0)
        yield from _chunks(file)
        file.seek(0)
        if magic[:2] == b"\x1f\x8b":
            with gzip.open(file) as unpacked:
                yield from _chunks(unpacked)
        elif magic in (b"\x28\xb5\x2f\xfd", b"\x04\x22\x4d\x18"):
            codec = "zstd" if magic[0] == 0x28 else "lz4"
            with pa.input_stream(pa.PythonFile(file, mode="r"), compression=codec) as unpacked:
                yield from _chunks(unpacked)
        elif magic == b"PAR1":
            yield from _parquet_texts(path)


def _chunks(file: BinaryIO) -> Iterator[bytes]:
    while chunk := file.read(WINDOW_BYTES):
        yield chunk


def _parquet_texts(path: Path) -> Iterator[bytes]:
    """All texts of a table, column by column: in the file they are compressed."""
    with pq.ParquetFile(path) as file:
        for group in range(file.num_row_groups):
            for column in file.read_row_group(group).columns:
                if pa.types.is_large_string(column.type) or pa.types.is_string(column.type):
                    yield "\n".join(text for text in column.unique().to_pylist() if text is not None).encode()
                elif pa.types.is_binary(column.type) or pa.types.is_large_binary(column.type):
                    yield b"\n".join(text for text in column.unique().to_pylist() if text is not None)


@contextmanager
def watched_processes(watcher: SecretWatcher) -> Iterator[SecretWatcher]:
    """Look at the process list several times a second as long as this lasts."""
    stop = threading.Event()

    def look_again_and_again() -> None:
        while not stop.wait(INTERVAL_S):
            watcher.look()

    thread = threading.Thread(target=look_again_and_again)
    watcher.look()
    thread.start()
    try:
        yield watcher
    finally:
        stop.set()
        thread.join()
