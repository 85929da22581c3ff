"""The secret watcher finds what it is there to find, wherever and however it is written, and never says it."""

from __future__ import annotations

import base64
import gzip
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import quote, quote_plus

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import secret_watch
from secret_watch import PROC, SecretWatcher, secret_forms, watched_processes

# Shaped as the real ones are: base64 with both of its signs that URLs encode.
KEY = base64.b64encode(b"\xff\xef\xbe" + bytes(range(61))).decode()
SIGNATURE = base64.b64encode(b"\xff\xef\xbe" + bytes(range(30, 59))).decode()
SAS = f"se=2030-01-01T00%3A00%3A00Z&sp=rl&sv=2026-10-06&sr=c&sig={quote(SIGNATURE, safe='')}"
CONNECTION = f"DefaultEndpointsProtocol=https;AccountName=logs;AccountKey={KEY};EndpointSuffix=core.example"
needs_proc = pytest.mark.skipif(not PROC.is_dir(), reason="this system has no /proc")


@pytest.fixture
def watcher() -> SecretWatcher:
    return SecretWatcher({"key": KEY, "SAS": SAS})


def test_the_examples_hold_what_makes_them_hard() -> None:
    assert {"/", "+"} <= set(KEY)
    assert {"/", "+"} <= set(SIGNATURE)


@pytest.mark.parametrize(
    "write",
    [
        str,
        lambda text: quote(text, safe=""),
        quote,
        quote_plus,
        lambda text: quote(text, safe="").replace("%2F", "%2f").replace("%2B", "%2b").replace("%3D", "%3d"),
        lambda text: quote(quote(text, safe=""), safe=""),
        json.dumps,
        lambda text: json.dumps(text).replace("/", "\\/"),
        lambda text: text.replace("+", "-").replace("/", "_"),
        lambda text: base64.b64decode(text).hex(),
        lambda text: base64.b64encode(f"Key={text};".encode()).decode(),
        lambda text: base64.b64encode(f"The key: {text};".encode()).decode(),
        lambda text: base64.b64encode(f"The key {text}!".encode()).decode(),
        lambda text: base64.b64encode(f"sp=rl&sig={quote(text, safe='')}&x".encode()).decode(),
        lambda text: base64.b64encode(f"sig={quote(text)}".encode()).decode(),
    ],
)
@pytest.mark.parametrize(("secret", "name"), [(KEY, "key"), (SIGNATURE, "SAS")])
def test_a_secret_is_found_however_it_is_written(
    write: Callable[[str], str], secret: str, name: str, watcher: SecretWatcher
) -> None:
    watcher.add("stdout", f"GET /container?x=1&y={write(secret)} 200")
    hits = watcher.found()
    assert hits
    assert all(hit.startswith(f"stdout: {name}, ") for hit in hits)


@pytest.mark.parametrize("content", [base64.b64decode(KEY), f"Ω{KEY}".encode("utf-16")])
def test_a_secret_is_found_in_bytes(content: bytes, watcher: SecretWatcher) -> None:
    watcher.add("memory", b"\0\1\2" + content + b"\3")
    assert watcher.found()


def test_a_connection_string_counts_by_its_key_alone() -> None:
    watcher = SecretWatcher({"connection string": CONNECTION})
    watcher.add("stderr", "AccountName=logs;EndpointSuffix=core.example")
    assert watcher.found() == []
    watcher.add("stderr", f"bad key {KEY}")
    assert watcher.found() == ["stderr: connection string, account key, as it is"]


def test_a_sas_counts_by_its_signature_also_when_it_is_part_of_a_url() -> None:
    watcher = SecretWatcher({"SAS": f"https://logs.blob.core.example/c?{SAS}"})
    watcher.add("stderr", SAS.partition("&sig=")[0])
    assert watcher.found() == []
    watcher.add("stderr", SAS)
    assert watcher.found() == ["stderr: SAS, signature, percent-encoded"]


def test_a_find_is_told_without_the_secret(tmp_path: Path, watcher: SecretWatcher) -> None:
    (tmp_path / f"sig={quote(SIGNATURE, safe='')}").write_text(KEY)
    watcher.add("stdout", f"{KEY} {SAS}")
    hits = watcher.found(tmp_path)
    assert len(hits) > 3
    told = "\n".join(hits).encode()
    assert [form.name for form in watcher.forms if form.content in told] == []


def test_files_are_searched_whole_and_unpacked(tmp_path: Path, watcher: SecretWatcher) -> None:
    hidden = f'{{"url": "http://x/?{SAS}"}}'.encode() * 50
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "deep" / "er" / ".plain").write_bytes(b"\xff" * 5000 + hidden)
    (tmp_path / "log.gz").write_bytes(gzip.compress(hidden))
    for codec in ("zstd", "lz4"):
        with pa.output_stream(str(tmp_path / f"events.{codec}"), compression=codec) as file:
            file.write(hidden)
    table = pa.table({"file": [f"http://x/?{SAS}", None] * 9, "row": pa.array([KEY.encode(), None] * 9)})
    pq.write_table(table, tmp_path / "rejected.parquet", compression="zstd", write_statistics=False)
    (tmp_path / "clean").write_text("nothing here")
    hits = watcher.found(tmp_path)
    assert {hit.partition(": ")[0].removeprefix(f"{tmp_path.name}/") for hit in hits} == {
        "deep/er/.plain",
        "log.gz",
        "events.zstd",
        "events.lz4",
        "rejected.parquet",
    }


def test_names_and_targets_are_searched_also_of_links_that_lead_nowhere(tmp_path: Path, watcher: SecretWatcher) -> None:
    (tmp_path / f"part-{quote(SIGNATURE, safe='')}").mkdir()
    (tmp_path / "link").symlink_to(f"nowhere?sig={quote(SIGNATURE, safe='')}")
    assert watcher.found(tmp_path) == [
        f"a file of {tmp_path.name}, its name: SAS, signature, percent-encoded",
        f"{tmp_path.name}/link, its target: SAS, signature, percent-encoded",
    ]


def test_a_secret_that_lies_across_two_windows_is_found(
    tmp_path: Path, watcher: SecretWatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(secret_watch, "WINDOW_BYTES", 16)
    (tmp_path / "log").write_text("." * 13 + KEY + "." * 13)
    assert watcher.found(tmp_path) == [f"{tmp_path.name}/log: key, text, as it is"]


def test_texts_without_secrets_are_clean(tmp_path: Path, watcher: SecretWatcher) -> None:
    watcher.add("stdout", KEY[:-20] + SIGNATURE[10:])
    (tmp_path / "random").write_bytes(os.urandom(1 << 20))
    (tmp_path / "empty").touch()
    assert watcher.found(tmp_path) == []


def test_a_folder_that_is_not_there_is_no_clean_folder(tmp_path: Path, watcher: SecretWatcher) -> None:
    with pytest.raises(NotADirectoryError):
        watcher.found(tmp_path / "gone")


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="by chance"):
        secret_forms("key", "abc")


@needs_proc
def test_a_command_line_is_seen_while_its_process_lives(watcher: SecretWatcher) -> None:
    with watched_processes(watcher):
        argv = [sys.executable, "-c", "input()", f"--key={KEY}"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE) as process:
            looks = watcher.looks
            while watcher.looks < looks + 2:
                time.sleep(0.01)
            process.communicate(b"\n")
    assert "command line: key, text, as it is" in watcher.found()


@needs_proc
def test_the_environment_is_no_command_line(watcher: SecretWatcher) -> None:
    argv = [sys.executable, "-c", "input()"]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, env={**os.environ, "STORAGE_KEY": KEY}) as process:
        watcher.look()
        process.communicate(b"\n")
    assert watcher.command_lines
    assert watcher.found() == []
