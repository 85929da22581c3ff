"""The driver on a cluster's node and the receiver on its head node, each as it is, joined by a network that fails."""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadcast.experiments.agent import driver
from loadcast.experiments.agent.driver import other_half
from loadcast.experiments.agent.receiving import Receiver

TOKEN = secrets.token_hex(32)
SCRIPT = """
import json, os, sys
with open("outputs/said.json", "w") as file:
    json.dump([sys.argv[1:], os.environ["PLAIN"], os.environ["SECRET"], "LOADCAST_SEALED" in os.environ], file)
with open(os.environ["LOADCAST_RUN_LOG"], "w") as file:
    file.write("logged")
os.symlink("/etc/passwd", "outputs/link")
print("first", flush=True)
print("second", file=sys.stderr, flush=True)
sys.exit(3)
"""
COUNTING = """
import time
for number in range(60):
    print("line", number, "x" * 2000, flush=True)
    time.sleep(0.01)
"""
HOSTILE = ["two words", "$(id)", "'\"", "ü", "-x", "a\nb", ";", ""]


class Node:
    """A container's working directory, with the driver's job and project in it."""

    def __init__(self, folder: Path, script: str) -> None:
        self.folder = folder
        (folder / "project" / "Code").mkdir(parents=True)
        (folder / "project" / "Code" / "a.py").write_text(script)

    def start(self, port: int, words: list[str], **job: Any) -> subprocess.Popen[bytes]:
        secret = json.dumps({"SECRET": "sesame"}).encode()
        pad = secrets.token_bytes(len(secret))
        content = {
            **{"run": "run-1", "words": ["Code/a.py", *words], "variables": {"PLAIN": "a $(id) 'b'"}},
            **{"addresses": ["127.0.0.1"], "port": port, "token": TOKEN, "pad": pad.hex(), **job},
        }
        (self.folder / "job.json").write_text(json.dumps(content))
        environment = {**os.environ, "LOADCAST_SEALED": other_half(secret, pad).hex()}
        return subprocess.Popen([sys.executable, driver.__file__], cwd=self.folder, env=environment)


class Network:
    """A way to a port that can be cut: all connections over it end, and new ones are made by whoever wants to."""

    def __init__(self, port: int) -> None:
        self._port, self._ends = port, [socket.create_server(("127.0.0.1", 0))]
        self.port: int = self._ends[0].getsockname()[1]
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                near, _ = self._ends[0].accept()
                far = socket.create_connection(("127.0.0.1", self._port))
                self.connections += 1
                self._ends += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._pump, args=(source, target), daemon=True).start()

    def _pump(self, source: socket.socket, target: socket.socket) -> None:
        with suppress(OSError):
            while block := source.recv(4096):
                target.sendall(block)
            target.shutdown(socket.SHUT_WR)

    def cut(self) -> None:
        for end in self._ends[1:]:
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
            end.close()
        del self._ends[1:]

    def close(self) -> None:
        self.cut()
        self._ends[0].close()


@pytest.fixture
def heard() -> bytearray:
    return bytearray()


@pytest.fixture
def receiver(heard: bytearray) -> Iterator[Receiver]:
    with Receiver(TOKEN, heard.extend) as running:
        yield running


def wait_until(holds: Callable[[], object]) -> None:
    until = time.monotonic() + 60
    while not holds():
        assert time.monotonic() < until
        time.sleep(0.01)


def test_arguments_variables_and_secrets_arrive_and_log_results_and_code_come_back(
    receiver: Receiver, heard: bytearray, tmp_path: Path
) -> None:
    node = Node(tmp_path, SCRIPT)
    with node.start(receiver.port, HOSTILE) as process:
        assert process.wait(60) == 3
    assert receiver.ended.is_set()
    assert (receiver.code, bytes(heard)) == (3, b"first\nsecond\n")
    receiver.results.seek(0)
    with tarfile.open(fileobj=receiver.results) as archive:
        assert sorted(archive.getnames()) == ["logged.jsonl", "outputs/said.json"]  # no link
        said = archive.extractfile("outputs/said.json")
        assert said is not None
        assert json.load(said) == [HOSTILE, "a $(id) 'b'", "sesame", False]
    assert b"sesame" not in (tmp_path / "job.json").read_bytes()


def test_a_log_over_a_network_that_is_cut_again_and_again_is_whole(
    receiver: Receiver, heard: bytearray, tmp_path: Path
) -> None:
    network = Network(receiver.port)
    with Node(tmp_path, COUNTING).start(network.port, []) as process:
        for share in (10_000, 40_000, 80_000):
            wait_until(lambda share=share: len(heard) > share or process.poll() is not None)
            network.cut()
        assert process.wait(60) == 0
    network.close()
    assert network.connections > 1
    assert bytes(heard).decode() == "".join(f"line {number} {'x' * 2000}\n" for number in range(60))


def test_nobody_is_heard_without_the_token(receiver: Receiver, heard: bytearray) -> None:
    for said in (b"0" * 64 + b"L\0\0\0\1x", b"", b"\0" * 1000, TOKEN.encode()[:-1] + b"?"):
        with socket.create_connection(("127.0.0.1", receiver.port)) as stranger:
            stranger.sendall(said)
            with suppress(OSError):  # it may be gone already
                stranger.shutdown(socket.SHUT_WR)
                assert stranger.recv(10) == b""
    assert not heard


@pytest.mark.parametrize("frame", [b"L\xff\xff\xff\xff", b"?\0\0\0\0", b"X\0\0\0\1?", b"L\0\0\0\5x"])
def test_a_broken_frame_ends_its_connection_and_nothing_else(
    receiver: Receiver, heard: bytearray, frame: bytes
) -> None:
    with socket.create_connection(("127.0.0.1", receiver.port)) as node:
        node.sendall(TOKEN.encode())
        assert node.recv(8) == bytes(8)
        node.sendall(frame)
        with suppress(OSError):
            node.shutdown(socket.SHUT_WR)
            assert node.recv(10) == b""
    assert (receiver.code, bytes(heard)) == (None, b"")


def test_an_answer_that_was_lost_is_given_again_and_loses_nothing(receiver: Receiver, heard: bytearray) -> None:
    frames = b"L\0\0\0\3log" + b"R\0\0\0\3tar" + b"X\0\0\0\0017"
    for offset in (0, 3):
        with socket.create_connection(("127.0.0.1", receiver.port)) as node:
            node.sendall(TOKEN.encode())
            assert node.recv(8) == offset.to_bytes(8, "big")
            node.sendall(frames)
            if offset:
                assert node.recv(1) == b"K"
            else:
                wait_until(receiver.ended.is_set)
    receiver.results.seek(0)
    assert (receiver.code, bytes(heard), receiver.results.read()) == (7, b"log", b"tar")


@given(st.binary(max_size=200))
def test_two_halves_make_the_whole(whole: bytes) -> None:
    half = secrets.token_bytes(len(whole))
    assert other_half(other_half(whole, half), half) == whole
