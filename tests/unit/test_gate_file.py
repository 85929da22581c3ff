"""The gate file of a running service: read anew as it changes; whatever it becomes, the service goes on."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from bundles import random_features, write_bundle
from gates import gate_for, info_of, names_of
from key_files import Clock
from loadcast.artefacts import document
from loadcast.artefacts.info import Info
from loadcast.errors import ArtefactError
from loadcast.serving import gate_file
from loadcast.serving.gate_file import LiveGate
from loadcast.serving.looks import LOOK_EVERY_S
from loadcast.system import small_files
from loadcast.system.small_files import replace_file
from published import hourly_statistics, publish

NEWEST = datetime(2016, 6, 12, 6)
ROOT = Path(__file__).resolve().parents[2]
INFO = info_of("classic")
NEXT = info_of("classic", files={"mlModel/x": "1" * 64})


def content(info: Info = INFO, newest: datetime = NEWEST, **changes: Any) -> bytes:
    return gate_for(info, newest, {}, **changes).encoded()


def write(path: Path, data: bytes) -> None:
    """Replace it whole, as `loadcast monitor` does."""
    replace_file(path, data, lasting=False)


class Running:
    """A gate as a service has it, on a clock that moves by more than a second before each look."""

    def __init__(self, path: Path) -> None:
        self.clock = Clock()
        self.gate = LiveGate(path, self.clock)

    def newest(self, info: Info = INFO) -> datetime | None:
        """The newest hour of the gate that counts for a model."""
        self.clock.now_s += 1.1
        held = self.gate.state(info).held
        return None if held is None else held.content.newest_hour

    @property
    def is_refused(self) -> bool:
        return self.gate.state(INFO).is_refused


@pytest.fixture
def path(tmp_path: Path) -> Path:
    write(tmp_path / "gate.json", content())
    return tmp_path / "gate.json"


def test_it_is_looked_at_once_a_second_and_read_when_it_has_changed(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, later = Running(path), NEWEST + timedelta(hours=1)
    looks, reads = [], []
    read = gate_file.read_small_file
    monkeypatch.setattr(gate_file, "os", SimpleNamespace(stat=lambda path: looks.append(path) or os.stat(path)))
    monkeypatch.setattr(gate_file, "read_small_file", lambda *more: reads.append(more) or read(*more))
    write(path, content(newest=later))
    running.clock.now_s += 0.9
    for _ in range(100):
        assert running.gate.state(INFO).held.content.newest_hour == NEWEST
    assert (len(looks), len(reads)) == (0, 0)
    assert running.newest() == later
    for _ in range(100):
        running.gate.state(INFO)
    assert running.newest() == later
    assert (len(looks), len(reads)) == (2, 1)


def remove(path: Path) -> None:
    path.unlink()


def put(data: bytes) -> Callable[[Path], None]:
    return lambda path: write(path, data)


def lead(target: str | Path) -> Callable[[Path], None]:
    """A symbolic link in its place."""

    def led(path: Path) -> None:
        path.unlink()
        path.symlink_to(target)

    return led


def make_folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def make_pipe(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_huge(path: Path) -> None:
    with path.open("r+b") as file:
        file.truncate(1 << 40)


def of_other_forecasts() -> bytes:
    return content(forecasts=["model", *reversed(names_of(INFO)[1:])])


FAULTS: dict[str, Callable[[Path], None]] = {
    "deleted": remove,
    "empty": put(b""),
    "cut": put(content()[:-20]),
    "no JSON": put(b"gate"),
    "another document": put(b'{"formatVersion": 1, "bands": []}'),
    "a newer format": put(b'{"formatVersion": 2}'),
    "no UTF-8": put(content().replace(b'"run"', b'"\xff\xfe"')),
    "UTF-16": put(content().decode().encode("utf-16")),
    "nested deeply": put(b'{"a":' * 100_000),
    "a number of a million digits": put(content().replace(b'"commonest": 2', b'"commonest": ' + b"2" * 1_000_000)),
    "of a terabyte": make_huge,
    "a link to nothing": lead("none"),
    "a link to itself": lead("gate.json"),
    "a device without end": lead("/dev/zero"),
    "a folder": make_folder,
    "a pipe that nobody writes": make_pipe,
    "of another model": put(content(NEXT)),
    "of other forecasts": put(of_other_forecasts()),
}


@pytest.mark.parametrize("spoil", FAULTS.values(), ids=FAULTS)
def test_whatever_becomes_of_it_the_last_good_gate_stays_and_one_warning_says_so(
    path: Path, spoil: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    running, begin_s = Running(path), time.monotonic()
    assert running.newest() == NEWEST
    assert not running.is_refused
    caplog.set_level(logging.INFO, "loadcast")
    spoil(path)
    for _ in range(5):
        assert running.newest() == NEWEST
        assert running.is_refused
    warnings = [entry for entry in caplog.records if entry.levelno > logging.INFO]
    assert len(warnings) == 1
    assert "the last good one still counts" in warnings[0].getMessage()
    assert len(warnings[0].getMessage()) < 1_000
    assert time.monotonic() - begin_s < small_files.PATIENCE_S / 2
    # It heals.
    if path.is_dir():
        path.rmdir()
    path.unlink(missing_ok=True)
    write(path, content(newest=NEWEST + timedelta(hours=1)))
    assert running.newest() == NEWEST + timedelta(hours=1)
    assert not running.is_refused
    # And spoilt again it is a change to be warned of.
    spoil(path)
    caplog.clear()
    assert running.newest() == NEWEST + timedelta(hours=1)
    assert [entry.levelno > logging.INFO for entry in caplog.records].count(True) == 1


def test_every_change_that_cannot_be_used_is_warned_of_even_if_in_the_same_words(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    running = Running(path)
    for number in range(3):
        write(path, b"[" * (number + 1))
        assert running.newest() == running.newest() == NEWEST
    assert len(caplog.records) == 3


def test_a_file_that_is_away_for_a_while_counts_again_without_being_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running = Running(path)
    away = path.with_suffix(".away")
    os.link(path, away)  # and so the file changes, once
    running.newest()
    path.unlink()
    assert (running.newest(), running.is_refused) == (NEWEST, True)
    os.rename(away, path)
    assert (running.newest(), running.is_refused) == (NEWEST, False)


def test_a_file_that_only_cannot_be_read_for_a_while_is_tried_again(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    running, later = Running(path), NEWEST + timedelta(hours=1)
    read = gate_file.read_small_file

    def failing(*more: Any) -> bytes:
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(gate_file, "read_small_file", failing)
    write(path, content(newest=later))
    assert (running.newest(), running.is_refused) == (NEWEST, True)
    monkeypatch.setattr(gate_file, "read_small_file", read)
    assert (running.newest(), running.is_refused) == (later, False)


def test_one_written_in_place_counts_once_it_is_whole(path: Path) -> None:
    running, data = Running(path), content(newest=NEWEST + timedelta(hours=2))
    with path.open("wb", buffering=0) as file:
        for begin in range(0, len(data), 500):
            assert running.newest() == NEWEST
            file.write(data[begin : begin + 500])
    assert running.newest() == NEWEST + timedelta(hours=2)


def test_models_and_gates_may_change_in_either_order(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    running, later = Running(path), NEWEST + timedelta(hours=1)
    # The model first: it answers alone until its gate is there.
    assert running.newest(INFO) == NEWEST
    assert [running.newest(NEXT) for _ in range(3)] == [None] * 3
    (warning,) = caplog.records
    assert "which answers alone" in warning.getMessage()
    write(path, content(NEXT, later))
    assert running.newest(NEXT) == later
    # The gate first: the one from before stays until the model is there.
    write(path, content(INFO, NEWEST))
    assert (running.newest(NEXT), running.newest(INFO)) == (later, NEWEST)


def test_the_start_wants_a_gate(tmp_path: Path) -> None:
    for name, make in {"pipe": os.mkfifo, "folder": os.mkdir}.items():
        make(tmp_path / name)
    huge = tmp_path / "huge"
    huge.touch()
    os.truncate(huge, document.MAX_BYTES + 1)
    for path in (tmp_path / "pipe", tmp_path / "folder", huge, tmp_path / "none", Path("a\0b"), Path("/dev/zero")):
        with pytest.raises(ArtefactError, match=r"cannot be read: .* Make it anew: loadcast monitor CONFIG --gate"):
            LiveGate(path)


def test_a_service_that_is_started_before_its_model_s_first_gate_answers(
    path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Started anew between a training and the monitor that follows it."""
    write(path, content(NEXT))
    running = Running(path)
    running.gate.check(INFO)
    assert (running.gate.state(INFO).held, running.gate.state(INFO).is_refused) == (None, True)
    (said,) = [record.message for record in caplog.records if record.levelname == "WARNING"]
    assert "does not fit the model, which answers alone" in said
    assert running.newest(NEXT) == NEWEST


def test_a_time_zone_that_this_machine_does_not_know_costs_a_number_alone(path: Path) -> None:
    for zone in ("Mars/Olympus", "../../etc/passwd", "a\x7fb", "/etc/passwd"):
        write(path, content(timezone=zone))
        assert Running(path).gate.state(INFO).held.newest_hour_s is None
    write(path, content(timezone="Asia/Tokyo").replace(str(NEWEST).encode(), b"0001-01-01 00:00:00"))
    assert isinstance(Running(path).gate.state(INFO).held.newest_hour_s, float | None)


# --- a real service ---------------------------------------------------------------------------------------------------
@pytest.mark.integration
def test_a_service_follows_its_gate_file(tmp_path: Path) -> None:
    server, begin = "10.0.0.1", datetime(2016, 5, 1)
    bundle = write_bundle(tmp_path / "Model", random_features(100))
    publish(tmp_path / "output", hourly_statistics(server, begin, 900))
    info, newest, path = Info.read(bundle), begin + timedelta(hours=899), tmp_path / "gate.json"
    names = names_of(info)

    def answer_by(name: str) -> None:
        band = gate_for(info, newest, {}).bands[0].model_dump(by_alias=True)
        write(path, content(info, newest, bands=[{**band, "answeredBy": name}]))

    answer_by(names[1])
    words = ["--model", bundle, "--port", 0, "--workers", 1, "--statistics", tmp_path / "output", "--gate", path]
    command = [sys.executable, "Code/webservice.py", *map(str, words)]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        url = process.stdout.readline().partition(" at ")[2].partition("/score")[0]

        def answered_by() -> set[str]:
            reply = requests.get(f"{url}/forecast", params={"server": server}, timeout=20)
            assert reply.status_code == 200, reply.text
            return {hour["answeredBy"] for hour in reply.json()["hours"]}

        assert answered_by() == {names[1]}
        for change in (lambda: answer_by(names[2]), lambda: write(path, b"\xff"), path.unlink):
            change()
            time.sleep(LOOK_EVERY_S + 0.1)
            assert answered_by() == {names[2]}
        text = requests.get(f"{url}/metrics", timeout=20).text
        assert f'loadcast_gate_info{{model="{info.model_version}",run="run"}} 1.0' in text
        assert "loadcast_gate_refused 1.0" in text
    finally:
        process.send_signal(signal.SIGTERM)
        _, errors = process.communicate(timeout=30)
    assert process.returncode == 143
    assert errors.count("The gate file cannot be used; the last good one still counts.") == 2
    assert "Traceback" not in errors
