"""The service that the demo starts and stops."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from loadcast.cli.demo import _service

SLOW_TO_STOP = """
import signal, sys, time
def stop(*_):
    for number in range(20):
        print("stopping", number, file=sys.stderr, flush=True)
        time.sleep(0.01)
    sys.exit()
signal.signal(signal.SIGTERM, stop)
print("http://127.0.0.1:1", flush=True)
while True:
    time.sleep(1)
"""


def test_what_a_service_says_as_it_stops_is_passed_on(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with _service([sys.executable, "-c", SLOW_TO_STOP], tmp_path) as address:
        assert address == "http://127.0.0.1:1"
    assert capsys.readouterr().err.endswith("stopping 19\n")
