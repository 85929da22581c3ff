"""The search of a tuning: which folds of which trials are done, within which time, and the same after a kill."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tunings
from loadcast.errors import InputError
from loadcast.kernels.tuning import plan
from loadcast.kernels.tuning.plan import NEWEST, TOGETHER, Unit
from loadcast.kernels.tuning.tally import TrialTally
from loadcast.tuning.journal import Journal, open_journal

TRIALS = tunings.SPACE.trials(19)
CONTROLS = tunings.SPACE.controls


def finished(trials: int) -> set[Unit]:
    """The units of a whole search, said another way: the newest fold of all, all of controls and better halves."""
    on_all = {*range(min(CONTROLS, trials))}
    for begin in range(CONTROLS, trials, plan.BRACKET):
        bracket = range(begin, min(begin + plan.BRACKET, trials))
        by_loss = sorted(bracket, key=lambda trial: tunings.tally((trial, NEWEST)).log_loss)
        on_all |= {*by_loss[: -(-len(by_loss) // 2)]}
    newest = {(trial, NEWEST) for trial in range(trials)}
    return newest | {(trial, fold) for trial in on_all for fold in range(1, tunings.FOLDS + 1)}


@settings(max_examples=25)
@given(st.integers(1, 19), st.integers(1, 5), st.randoms(use_true_random=False))
def test_whatever_ends_first_the_same_units_are_done(trials: int, slots: int, random: object) -> None:
    schedule, losses = tunings.schedule(TRIALS[:trials]), dict[Unit, float]()
    running: list[list[Unit]] = []
    while True:
        while len(running) < slots:
            busy = {unit for units in running for unit in units}
            units = schedule.next_units(losses, busy)
            assert not {*units} & (busy | losses.keys())
            assert len(units) <= TOGETHER
            assert len({(schedule.groups[trial], fold) for trial, fold in units}) <= 1
            if not units:
                break
            running.append(units)
        if not running:
            break
        done = running.pop(random.randrange(len(running)))  # type: ignore[attr-defined]
        losses |= {unit: tunings.tally(unit).log_loss for unit in done}
    assert losses.keys() == finished(trials)
    assert len(losses) == schedule.units


def test_the_first_bracket_ends_before_the_second_is_begun_by_one_task_after_the_other() -> None:
    order: list[Unit] = []

    def work(units: Sequence[Unit]) -> list[TrialTally]:
        order.extend(units)
        return tunings.evaluate(units)

    with open_journal(None, tunings.HEADER, TRIALS, tunings.SERVERS) as journal:
        tunings.search(TRIALS, journal, work=work)
    end = CONTROLS + plan.BRACKET
    first = [trial < end for trial, _ in order]
    ends = len(first) - first[::-1].index(True)
    begun_early = {unit for unit in order[:ends] if unit[0] >= end}
    assert {fold for _, fold in begun_early} <= {NEWEST}  # only to fill a task that makes their rows anyway
    assert len(begun_early) < 2 * TOGETHER  # of two feature sets


class Clock:
    """Seconds that go on only as work is done."""

    def __init__(self) -> None:
        self.now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_nothing_begins_once_time_is_up_and_what_runs_ends() -> None:
    clock, begun_s = Clock(), []

    def work(units: Sequence[Unit]) -> list[TrialTally]:
        begun_s.append(clock.now_s)
        clock.now_s += 10
        return tunings.evaluate(units)

    with open_journal(None, tunings.HEADER, TRIALS, tunings.SERVERS) as journal:
        tunings.search(TRIALS, journal, budget_s=25, clock=clock, work=work)
        found = tunings.table(TRIALS, journal)
    assert begun_s == [0, 10, 20]
    tried = found["tried"]
    assert tried["untried"] > 0
    assert sum(tried[state] for state in ("complete", "stopped", "unfinished", "untried")) == len(TRIALS)
    assert found["recommended"] is None


def test_without_time_nothing_is_done() -> None:
    with open_journal(None, tunings.HEADER, TRIALS, tunings.SERVERS) as journal:
        tunings.search(TRIALS, journal, budget_s=0)
        found = tunings.table(TRIALS, journal)
    assert (found["trials"], found["tried"]["untried"]) == ([], len(TRIALS))
    assert "Time was up before any trial was tried on all folds" in found["warning"]


def test_after_a_kill_at_any_byte_the_table_is_that_of_one_run(tmp_path: Path) -> None:
    path, trials = tmp_path / "tune.jsonl", TRIALS[:9]
    wanted = tunings.whole(path, trials)
    content = path.read_bytes()
    ends = [at for at, byte in enumerate(content) if byte == ord("\n")]
    for cut in [0, 1, ends[0], *(end + off for end in ends[:9] for off in (0, 1, 2)), *range(5, len(content), 7_919)]:
        path.write_bytes(content[:cut])
        assert tunings.whole(path, trials, slots=3) == wanted
    assert path.read_bytes().count(b"\n") == len(ends)


def test_more_trials_go_on_from_fewer(tmp_path: Path) -> None:
    path = tmp_path / "tune.jsonl"
    tunings.whole(path, TRIALS[: CONTROLS + plan.BRACKET])
    assert tunings.whole(path, TRIALS) == tunings.whole(None, TRIALS)


@pytest.mark.parametrize("fewer", range(CONTROLS + 1, len(TRIALS)))
def test_more_trials_go_on_from_any_number_to_the_same_table(tmp_path: Path, fewer: int) -> None:
    """A bracket that was not full had another better half."""
    tunings.whole(tmp_path / "j", TRIALS[:fewer])
    assert tunings.whole(tmp_path / "j", TRIALS) == tunings.whole(None, TRIALS)


def test_what_was_done_before_an_error_is_kept(tmp_path: Path) -> None:
    path, calls = tmp_path / "tune.jsonl", []

    def work(units: Sequence[Unit]) -> list[TrialTally]:
        calls.append(units)
        if len(calls) == 3:
            raise InputError("no hour")
        return tunings.evaluate(units)

    with (
        pytest.raises(InputError),
        open_journal(path, tunings.HEADER, TRIALS, tunings.SERVERS) as journal,
    ):
        tunings.search(TRIALS, journal, work=work)
    with open_journal(path, tunings.HEADER, TRIALS, tunings.SERVERS) as journal:
        assert {*journal.tallies} == {unit for units in calls[:2] for unit in units}


def test_what_runs_beside_a_task_that_fails_ends_and_is_kept(tmp_path: Path) -> None:
    """Going on does not repeat it; nothing more is begun, and who fails later changes nothing."""
    path, begun, failed = tmp_path / "tune.jsonl", list[Sequence[Unit]](), threading.Event()
    together, numbers = threading.Barrier(4), itertools.count()

    def work(units: Sequence[Unit]) -> list[TrialTally]:
        number = next(numbers)
        if number > 1:
            begun.append(units)
        together.wait(10)
        if number == 0:
            failed.set()
        assert failed.wait(10)
        if number < 2:
            raise InputError("no hour")
        return tunings.evaluate(units)

    with (
        pytest.raises(InputError, match="no hour"),
        open_journal(path, tunings.HEADER, TRIALS, tunings.SERVERS) as journal,
    ):
        tunings.search(TRIALS, journal, slots=4, work=work)
    assert next(numbers) == 4
    with open_journal(path, tunings.HEADER, TRIALS, tunings.SERVERS) as journal:
        assert {*journal.tallies} == {unit for units in begun for unit in units} != set()


def test_a_journal_that_cannot_be_written_gets_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is half written must stay the last line: a reader cuts off no other."""
    added = []

    def add(journal: Journal, unit: Unit, tally: TrialTally) -> None:
        added.append(unit)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Journal, "add", add)
    with (
        pytest.raises(OSError, match="No space left"),
        open_journal(None, tunings.HEADER, TRIALS, tunings.SERVERS) as journal,
    ):
        tunings.search(TRIALS, journal, slots=3)
    assert len(added) == 1
