"""Serving for real: the key, the address that is bound, and the command on a free port."""

from __future__ import annotations

import http.client
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

from bundles import random_features, records, write_bundle
from loadcast.errors import ConfigError, EnvironmentNotReadyError
from loadcast.kernels.features import CLASSIC
from loadcast.serving import http_server
from loadcast.serving.keys import Keys
from loadcast.serving.predictor import Predictor
from loadcast.serving.request_contract import RequestContract

ROOT = Path(__file__).parents[2]
BATCH = records(random_features(3, seed=9, servers=("10.0.0.1", "192.0.2.1")))
KEY = "s3cret-key"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("server") / "bundle", random_features(300))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_without_a_key_only_loopback_is_bound(host: str) -> None:
    with pytest.raises(ConfigError, match="no key is set"):
        http_server.open_socket(host, 0, loopback_only=True)


@pytest.mark.parametrize("host", ["", "no.such.host.invalid", "300.1.1.1", "x" * 300])
def test_a_host_that_does_not_exist_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match="wanted an address of this machine"):
        http_server.open_socket(host, 0, loopback_only=False)


def test_a_port_in_use_is_said_at_once() -> None:
    with http_server.open_socket("127.0.0.1", 0, loopback_only=True) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(EnvironmentNotReadyError, match=f"port {port}: Address already in use"):
            http_server.open_socket("127.0.0.1", port, loopback_only=True)


def test_an_address_of_another_machine_cannot_be_bound() -> None:
    with pytest.raises(EnvironmentNotReadyError, match="Cannot serve on"):
        http_server.open_socket("192.0.2.1", 0, loopback_only=False)


def test_the_options_do_not_show_the_key() -> None:
    options = http_server.ServeOptions("Model", keys=Keys.parse(KEY.encode(), "key"))
    assert KEY not in repr(options)
    assert KEY not in http_server.start_lines(options, 5000)


def test_workers_do_without_pandas_from_the_first_table_on() -> None:
    # Red before: pyarrow took None among sys.modules for pandas, and the first request of a worker failed.
    program = """
import sys
from loadcast.serving.http_server import _keep_pandas_out
_keep_pandas_out(None, None)
import pyarrow, pyarrow.dataset
pyarrow.array([1]), pyarrow.table({"a": [1]})
sys.exit("pandas" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_command_is_a_skin_of_at_most_thirty_lines() -> None:
    assert len((ROOT / "Code" / "webservice.py").read_text().splitlines()) <= 30


def start(*options: str, key: str = "") -> subprocess.Popen[str]:
    command = [sys.executable, "Code/webservice.py", *options]
    environment = {**os.environ, http_server.KEY_VARIABLE: key}
    return subprocess.Popen(
        command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def stop(process: subprocess.Popen[str]) -> tuple[str, str]:
    process.send_signal(signal.SIGTERM)
    return process.communicate(timeout=30)


@pytest.fixture(scope="module")
def served(bundle: Path) -> Iterator[str]:
    process = start("--model", str(bundle), "--port", "0", "--name", "mine", key=KEY)
    assert process.stdout is not None
    line = process.stdout.readline()
    try:
        yield line.partition(" at ")[2].partition("/score")[0]
    finally:
        _, errors = stop(process)
    # As every command: 128 + SIGTERM, and one line.
    assert process.returncode == 143
    *requests, last = errors.splitlines()
    assert last == "loadcast: Stopped by SIGTERM."
    assert all(re.search(" INFO    A request was (answered|refused)", line) for line in requests)


@pytest.mark.integration
def test_the_command_serves_on_a_real_port(served: str, bundle: Path) -> None:
    expected = Predictor.load(bundle).predict(RequestContract(CLASSIC).read_records(BATCH))
    headers = {"Authorization": f"Bearer {KEY}"}
    with requests.Session() as session:
        for path in ("/score", "/api/v1/service/mine/score"):
            answer = session.post(served + path, json=BATCH, headers=headers, timeout=10)
            assert (answer.status_code, answer.json()) == (200, expected)
        assert session.post(served + "/score", json=BATCH, timeout=10).status_code == 401
        assert session.get(served + "/health/ready", timeout=10).status_code == 200


@pytest.mark.integration
def test_each_worker_tells_what_all_have_counted(served: str) -> None:
    headers = {"Authorization": f"Bearer {KEY}"}
    told = set()
    for _ in range(10):  # connections, so both workers answer some
        requests.get(served + "/v2", headers=headers, timeout=10)
        text = requests.get(served + "/metrics", headers=headers, timeout=10).text
        told.add(re.search(r'^loadcast_requests_total{route="/v2",status="200"} (\S+)$', text, re.MULTILINE)[1])
    assert told == {f"{number}.0" for number in range(1, 11)}


@pytest.mark.integration
def test_a_body_without_a_length_is_limited_too(served: str) -> None:
    host = served.removeprefix("http://")
    connection = http.client.HTTPConnection(host, timeout=10)
    headers = {"Authorization": f"Bearer {KEY}", "Content-Type": "application/json"}
    try:
        connection.request("POST", "/score", iter([b" " * (1 << 20)] * 9), headers, encode_chunked=True)
        answer = connection.getresponse()
        assert (answer.status, answer.headers["Content-Type"]) == (413, "application/problem+json")
        answer.read()
    finally:
        connection.close()


@pytest.mark.integration
def test_the_service_binds_what_was_asked_and_nothing_else(served: str) -> None:
    port = int(served.rpartition(":")[2])
    with socket.socket() as probe, pytest.raises(ConnectionRefusedError):
        probe.connect(("127.0.0.2", port))


@pytest.mark.integration
@pytest.mark.parametrize(
    ("options", "code", "message"),
    [
        (["--model", "no-such-folder"], 7, "There is no model in no-such-folder"),
        (["--host", "0.0.0.0"], 2, "no key is set"),
        (["--key-file", "no-such-file"], 2, "cannot be read"),
        (["--name", "a/b"], 2, "letters, digits"),
    ],
)
def test_the_command_says_in_one_line_why_it_cannot_serve(
    bundle: Path, options: list[str], code: int, message: str
) -> None:
    process = start("--model", str(bundle), "--port", "0", *options)
    output, errors = process.communicate(timeout=30)
    assert (process.returncode, output) == (code, "")
    assert message in errors
    assert errors.startswith("loadcast: ")
    assert len(errors.splitlines()) == 1


@pytest.mark.integration
def test_the_command_says_that_the_port_is_in_use(bundle: Path) -> None:
    with http_server.open_socket("127.0.0.1", 0, loopback_only=True) as taken:
        process = start("--model", str(bundle), "--port", str(taken.getsockname()[1]))
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 3
    assert "Address already in use" in errors
