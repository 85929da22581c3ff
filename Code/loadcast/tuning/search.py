"""The search: tasks side by side, each with the trials that are most urgent then, until all is done or time is up."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, as_completed, wait
from dataclasses import dataclass, field

from loadcast.kernels.tuning.plan import Schedule, Unit
from loadcast.kernels.tuning.tally import TrialTally
from loadcast.progress import Update
from loadcast.tuning.journal import Journal

#: Fits and scores units of one fold and one feature set: a tally for each. Called by several threads.
Evaluate = Callable[[Sequence[Unit]], Sequence[TrialTally]]
Clock = Callable[[], float]


@dataclass
class Search:
    """Units of a schedule, of which `slots` tasks run at once; none begins after `budget_s` seconds.

    `clock` gives seconds that only grow.
    """

    schedule: Schedule
    evaluate: Evaluate
    slots: int
    budget_s: float
    clock: Clock = time.monotonic
    _running: dict[Future[Sequence[TrialTally]], list[Unit]] = field(default_factory=dict)

    def run(self, journal: Journal, update: Update) -> None:
        """Do what the journal does not have yet, and add it there as it is done.

        Raises what `evaluate` raises first; what runs beside it then ends, and is added before.
        """
        end_s = self.clock() + self.budget_s
        with ThreadPoolExecutor(self.slots) as pool:
            while True:
                update(len(journal.tallies), self.schedule.units)
                if self.clock() < end_s:
                    self._begin(pool, journal)
                if not self._running:
                    return
                self._take(journal, self._ended())

    def _ended(self) -> Iterator[Future[Sequence[TrialTally]]]:
        """The tasks that have ended, one or more; where one has failed, all that run, as they end."""
        done, running = wait(self._running, return_when=FIRST_COMPLETED)
        yield from done
        if any(future.exception() for future in done):
            yield from as_completed(running)

    def _take(self, journal: Journal, ended: Iterable[Future[Sequence[TrialTally]]]) -> None:
        """Add what tasks came to. Raises the first error of one, once all of them are taken."""
        failed: BaseException | None = None
        for future in ended:
            units = self._running.pop(future)
            if error := future.exception():
                failed = failed or error
                continue
            for unit, tally in zip(units, future.result(), strict=True):
                journal.add(unit, tally)
        if failed is not None:
            raise failed

    def _begin(self, pool: ThreadPoolExecutor, journal: Journal) -> None:
        """Give each free slot what is most urgent."""
        losses = losses_of(journal.tallies)
        while len(self._running) < self.slots:
            running = {unit for units in self._running.values() for unit in units}
            units = self.schedule.next_units(losses, running)
            if not units:
                return
            self._running[pool.submit(self.evaluate, units)] = units


def is_left(schedule: Schedule, journal: Journal) -> bool:
    """Whether there is anything that the journal does not have yet."""
    return any(True for _ in schedule.wanted(losses_of(journal.tallies)))


def losses_of(tallies: Mapping[Unit, TrialTally]) -> dict[Unit, float]:
    """The log-loss of each unit."""
    return {unit: tally.log_loss for unit, tally in tallies.items()}
