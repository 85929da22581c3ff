"""Work on many jobs side by side, with results in the order of the jobs."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Generic, TypeVar

from loadcast.serving.remote.patience import Deadline

Job = TypeVar("Job")
Result = TypeVar("Result")
#: So many jobs may be begun whose results nobody has taken yet: one that takes long does not stop the others.
_AHEAD = 512
#: For threads whose work is done, but that have not ended yet.
_LAST_WORDS_S = 1.0
# A wait without end could not be told from one that a signal has to end.
_LONGEST_WAIT_S = 3600.0


class SideBySide(Generic[Job, Result]):
    """Runs `work(lane, job)` for each job in `threads` threads; `lane` numbers the thread from 0.

    Use it in a `with` block and iterate: results come in the order of the jobs, None for those that are not done as
    the deadline passes. A job is begun when a thread is free for it, and only so far ahead of the results that were
    taken that these do not pile up. What `work` raises is raised where its result would come. The threads are daemons:
    one that hangs holds nothing up.
    """

    def __init__(
        self, work: Callable[[int, Job], Result], jobs: Sequence[Job], threads: int, deadline: Deadline
    ) -> None:
        self._work = work
        self._jobs = jobs
        self._deadline = deadline
        self._results: dict[int, Result | BaseException] = {}
        self._begun = self._taken = 0
        self._ended = False
        self._changed = threading.Condition()
        self._threads = [
            threading.Thread(target=self._run, args=(lane,), name=f"score-{lane}", daemon=True)
            for lane in range(min(threads, len(jobs)))
        ]

    def __enter__(self) -> SideBySide[Job, Result]:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with self._changed:
            self._ended = True
            self._changed.notify_all()
        if kind is not None:
            return  # a signal, perhaps: nothing is waited for
        end_s = time.monotonic() + _LAST_WORDS_S
        for thread in self._threads:
            thread.join(max(0.0, end_s - time.monotonic()))

    def __iter__(self) -> Iterator[Result | None]:
        for number in range(len(self._jobs)):
            result = self._result(number)
            if isinstance(result, BaseException):
                raise result
            yield result

    def _result(self, number: int) -> Result | BaseException | None:
        with self._changed:
            while number not in self._results and (left_s := self._deadline.left_s()) > 0:
                self._changed.wait(min(left_s, _LONGEST_WAIT_S))
            self._taken = number + 1
            self._ended = self._ended or self._deadline.passed
            self._changed.notify_all()
            return self._results.pop(number, None)

    def _next(self) -> int | None:
        """The number of the next job, once it may be begun; None where there is none."""
        with self._changed:
            while not self._ended and self._begun < len(self._jobs) and self._begun >= self._taken + _AHEAD:
                self._changed.wait()
            if self._ended or self._begun == len(self._jobs):
                return None
            self._begun += 1
            return self._begun - 1

    def _run(self, lane: int) -> None:
        while (number := self._next()) is not None:
            result: Result | BaseException
            try:
                result = self._work(lane, self._jobs[number])
            except BaseException as error:  # the consumer's to judge
                result = error
            with self._changed:
                self._results[number] = result
                self._changed.notify_all()
