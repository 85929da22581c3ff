"""What counts as a drip, and what as a slow line."""

from __future__ import annotations

import io

import pytest

from loadcast.storage.blob import pace
from loadcast.storage.blob.pace import OutOfTimeError, Pace, PacedReader, SlowTransferError, ends_within
from patience import VirtualClock


class Ticking(VirtualClock):
    """A clock that transfers move."""

    def move(self, pace: Pace, number: int, seconds: float) -> None:
        began = self.now
        self.now += seconds
        pace.moved(number, began)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Ticking:
    monkeypatch.setattr(pace, "WINDOW_S", 10.0)
    return Ticking()


def seconds_of_a_drip(ticking: Ticking, slow: Pace) -> float:
    began = ticking.now
    with pytest.raises(SlowTransferError):
        _ = [ticking.move(slow, 1, 1.0) for _ in range(1000)]
    return ticking.now - began


def test_a_drip_ends_soon(ticking: Ticking) -> None:
    assert seconds_of_a_drip(ticking, Pace(ticking)) <= 12


def test_a_drip_after_megabytes_ends_as_soon(ticking: Ticking) -> None:
    slow = Pace(ticking)
    for _ in range(1000):
        ticking.move(slow, 1 << 20, 0.1)
    assert seconds_of_a_drip(ticking, slow) <= 21


def test_a_slow_line_is_given_its_time(ticking: Ticking) -> None:
    slow = Pace(ticking)
    for _ in range(10_000):
        ticking.move(slow, 2048, 1.0)


def test_the_wait_for_the_first_bytes_and_a_reader_that_rests_do_not_count(ticking: Ticking) -> None:
    slow = Pace(ticking)
    ticking.move(slow, 1, 29.0)
    for _ in range(100):
        ticking.now += 60
        ticking.move(slow, 1, 0.01)


def test_an_operation_that_is_out_of_time_moves_nothing_more() -> None:
    with ends_within(-1), pytest.raises(OutOfTimeError):
        PacedReader(io.FileIO("/dev/zero")).read(10)
    with PacedReader(io.FileIO("/dev/zero")) as reader:
        assert reader.read(10) == bytes(10)
