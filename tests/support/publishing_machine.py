"""What readers find between any two steps of publishers is held against what was published, in any output."""

from __future__ import annotations

import itertools
import os
import shutil
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from loadcast import paths
from loadcast.errors import LoadcastError
from loadcast.storage import publish, publishing
from loadcast.storage.blob import output as container_output
from loadcast.storage.output import Output
from publishers import BLIND, CUT, DELAYED, LOCAL, LOST, REPEATED, Died, Publisher, gated

PUBLISHERS_AT_ONCE = 3
NOON = datetime(2016, 6, 30, 12)


class Bench(ABC):
    """An output to be published in, and a look at it that does not go through loadcast."""

    output: Output

    @abstractmethod
    def pointer(self, link: str) -> str | None:
        """The run that `current` or `model` names."""

    @abstractmethod
    def files(self) -> Mapping[str, Mapping[str, bytes | int]]:
        """Run → name of a file → what it holds, or its size in bytes."""

    @abstractmethod
    def read(self, link: str) -> Mapping[str, bytes]:
        """What a reader finds behind a pointer."""

    @abstractmethod
    def break_lock(self) -> None:
        """Take the lock away from whoever has it."""


class FolderBench(Bench):
    """An output folder."""

    def __init__(self, output: Output, folder: Path) -> None:
        self.output, self._folder = output, folder

    def pointer(self, link: str) -> str | None:
        try:
            return os.readlink(self._folder / link).rpartition("/")[2]
        except FileNotFoundError:
            return None

    def files(self) -> Mapping[str, Mapping[str, bytes | int]]:
        runs = self._folder / paths.RUNS
        return {run.name: content(run) for run in runs.glob("*") if not run.name.startswith(paths.STAGING_PREFIX)}

    def read(self, link: str) -> Mapping[str, bytes]:
        return content(publish.open_run(self.output.at_hand({link: paths.ARTEFACTS}), link))

    def break_lock(self) -> None:
        (self._folder / ".lock").unlink(missing_ok=True)


def content(folder: Path) -> dict[str, bytes]:
    """The artefacts of a run in a folder."""
    files = [file for file in folder.rglob("*") if file.is_file()]
    names = {file.relative_to(folder).as_posix(): file for file in files}
    return {name: file.read_bytes() for name, file in names.items() if not name.startswith(".")}


def artefacts(run: str, has_model: bool) -> dict[str, bytes]:
    """What a publisher writes into a run."""
    names = [f"{paths.HOURLY}/2016/06/part-0", paths.QUALITY, *([f"{paths.FOREST_MODEL}/data"] if has_model else [])]
    return {name: f"{run} {name}".encode() for name in names}


class PublishingMachine(RuleBasedStateMachine):
    """Publishers, one step at a time; `make_bench` says in what."""

    def make_bench(self) -> Bench:
        """A new output."""
        raise NotImplementedError

    made = itertools.count()

    def __init__(self) -> None:
        super().__init__()
        self.bench = self.make_bench()
        self.at_work: list[Publisher] = []
        self.late: list[Callable[[], object]] = []
        self.runs: dict[str, bool] = {}  # of all that were begun: whether they have a model
        self.order: list[str] = []  # of publishing, without those that were rolled back
        self.ever: set[str] = set()
        self._patches = self._patched()
        self._patches.__enter__()

    def teardown(self) -> None:
        try:
            self._end_well()
        finally:
            for publisher in self.at_work:
                publisher.die()
            self._patches.__exit__(None, None, None)

    # --- what happens ---------------------------------------------------------------------------------------------

    @precondition(lambda self: len(self.at_work) < PUBLISHERS_AT_ONCE)
    @rule(minutes=st.integers(-90, 90), has_model=st.booleans(), steps=st.integers(0, 30), broken=st.booleans())
    def begin(self, minutes: int, has_model: bool, steps: int, broken: bool) -> None:
        """A publisher with a clock of its own begins; the one before may have lost its lock."""
        if broken:
            self.bench.break_lock()
        self._start(self._publish, minutes, has_model)
        self._advance(self.at_work[-1], steps)

    @precondition(lambda self: self.at_work)
    @rule(which=st.integers(0, PUBLISHERS_AT_ONCE - 1), steps=st.integers(1, 30))
    def go_on(self, which: int, steps: int) -> None:
        """One of them does more."""
        self._advance(self._chosen(which), steps)

    @precondition(lambda self: self.at_work)
    @rule(
        which=st.integers(0, PUBLISHERS_AT_ONCE - 1),
        misfortune=st.sampled_from([LOST, DELAYED, REPEATED, BLIND, CUT]),
        steps=st.integers(1, 30),
    )
    def go_wrong(self, which: int, misfortune: str, steps: int) -> None:
        """One of them meets a misfortune, and goes on."""
        publisher = self._chosen(which)
        publisher.misfortune = misfortune
        self._advance(publisher, steps)

    @precondition(lambda self: self.at_work)
    @rule(which=st.integers(0, PUBLISHERS_AT_ONCE - 1))
    def die(self, which: int) -> None:
        """One of them is killed."""
        publisher = self._chosen(which)
        publisher.die()
        self._after(publisher)

    @precondition(lambda self: self.late)
    @rule()
    def arrive(self) -> None:
        """A request that was long under way arrives."""
        request = self.late.pop(0)
        try:
            request()
        except LoadcastError:
            return
        finally:
            self._observe(is_rollback=False)

    @precondition(lambda self: len(self.order) > 1 and len(self.at_work) < PUBLISHERS_AT_ONCE)
    @rule(steps=st.integers(0, 40), broken=st.booleans())
    def roll_back(self, steps: int, broken: bool) -> None:
        """Somebody goes back to the run before."""
        if broken:
            self.bench.break_lock()
        self._start(lambda _: void(self.bench.output.roll_back()), 0, False)
        self.at_work[-1].is_rollback = True
        self._advance(self.at_work[-1], steps)

    @precondition(lambda self: self.order and len(self.at_work) < PUBLISHERS_AT_ONCE)
    @rule(steps=st.integers(0, 40))
    def repair(self, steps: int) -> None:
        """Somebody repairs what is in order."""
        self._start(lambda _: void(self.bench.output.repair()), 0, False)
        self._advance(self.at_work[-1], steps)

    # --- what readers find ----------------------------------------------------------------------------------------

    @invariant()
    def readers_get_the_newest_run_whole(self) -> None:
        current, model = self.bench.pointer(paths.CURRENT), self.bench.pointer(paths.MODEL)
        for link, run in {paths.CURRENT: current, paths.MODEL: model}.items():
            if run is not None:
                assert self.bench.read(link) == artefacts(run, self.runs[run])
        self.bench.output.runs()

    def _check(self) -> None:
        """What must be there between any two steps."""
        files = self.bench.files()
        pointers = {link: self.bench.pointer(link) for link in (paths.CURRENT, paths.MODEL)}
        assert pointers[paths.CURRENT] == (self.order[-1] if self.order else None)
        assert pointers[paths.MODEL] is None or self.runs[pointers[paths.MODEL]]
        for run in {*self._promised(), *filter(None, pointers.values())}:
            assert run in self.ever, f"{run} was never published"
            wanted = artefacts(run, self.runs[run])
            found = files.get(run, {})
            assert {name: size_of(found.get(name, b"")) for name in wanted} == {
                name: len(data) for name, data in wanted.items()
            }, f"{run} is not whole"

    def _promised(self) -> list[str]:
        return [*self.order[-2:], *[run for run in self.order if self.runs[run]][-2:]]

    # --- how ------------------------------------------------------------------------------------------------------

    def _start(self, work: Callable[[Publisher], None], minutes: int, has_model: bool) -> None:
        self.at_work.append(Publisher(work, timedelta(minutes=minutes), has_model))

    def _publish(self, publisher: Publisher) -> None:
        with self.bench.output.stage() as staging:
            publisher.wait()
            for name, data in artefacts(publisher.run, publisher.has_model).items():
                (staging.folder / name).parent.mkdir(parents=True, exist_ok=True)
                (staging.folder / name).write_bytes(data)
            publisher.wait()

    def _chosen(self, which: int) -> Publisher:
        return self.at_work[which % len(self.at_work)]

    def _advance(self, publisher: Publisher, steps: int) -> None:
        for _ in range(steps):
            if publisher.is_done:
                break
            publisher.step()
            if publisher.wrote:
                publisher.wrote = False
                self._observe(publisher.is_rollback)
        if publisher.is_done:
            self._after(publisher)

    def _observe(self, is_rollback: bool) -> None:
        current = self.bench.pointer(paths.CURRENT)
        if current is not None and (not self.order or current != self.order[-1]):
            if is_rollback or current in self.ever:
                assert current in self.order, f"{current} was current, and was not to be gone back to"
                self.order = self.order[: self.order.index(current) + 1]
            else:
                self.order.append(current)
                self.order = [run for run in self.order if run in self._promised()]
                self.ever.add(current)
        self._check()

    def _after(self, publisher: Publisher) -> None:
        """A publisher has ended: what it says of its run is so."""
        self.at_work.remove(publisher)
        error = publisher.error
        if error is None:
            assert not publisher.run or publisher.run in self.ever
        elif not isinstance(error, Died | LoadcastError):
            raise error
        elif isinstance(error, LoadcastError) and publisher.run and not publisher.was_tampered:
            assert publisher.run not in self.ever, error
            assert publisher.run not in self.bench.files(), error
            assert "\n" not in str(error)

    def _end_well(self) -> None:
        """All is quiet again: the next publishers succeed, and leave nothing but what is to be kept."""
        for publisher in [*self.at_work]:
            publisher.die()
            self._after(publisher)
        while self.late:
            self.arrive()
        for has_model in (False, True, False):
            self.bench.break_lock()
            self._start(self._publish, 0, has_model)
            publisher = self.at_work[-1]
            self._advance(publisher, 1000)
            assert publisher.error is None
            assert self.bench.pointer(paths.CURRENT) == publisher.run
            models = [run for run in self.order if self.runs[run]]
            assert not models or self.bench.pointer(paths.MODEL) == models[-1]
        assert {*self.bench.files()} == {*self._promised()}
        assert [run.name for run in self.bench.output.runs()] == [run for run in self.order if run in self._promised()]
        assert self.bench.output.problems() == []

    @contextmanager
    def _patched(self) -> Iterator[None]:
        rmtree = shutil.rmtree

        def removed_by_the_living(*arguments: Any, **options: Any) -> None:
            publisher = getattr(LOCAL, "publisher", None)
            if publisher is None or not publisher.is_dead:
                rmtree(*arguments, **options)

        with (
            patch.object(publish, "FolderStore", gated(publish.FolderStore, self.late)),
            patch.object(publish.shutil, "rmtree", removed_by_the_living),
            patch.object(publishing, "new_run_name", self._new_run_name),
        ):
            yield

    def _new_run_name(self) -> str:
        publisher: Publisher = LOCAL.publisher
        number = next(self.made)
        time = NOON + timedelta(milliseconds=number) + publisher.clock_ahead
        publisher.run = f"{time:%Y%m%dT%H%M%S%f}Z-{number:06x}"
        self.runs[publisher.run] = publisher.has_model
        return publisher.run


class ContainerMachine(PublishingMachine):
    """Publishers of a container."""

    @contextmanager
    def _patched(self) -> Iterator[None]:
        store = gated(container_output.ContainerStore, self.late)
        with super()._patched(), patch.object(container_output, "ContainerStore", store):
            yield


def size_of(content: bytes | int) -> int:
    """The size of a file of which the content is known, or only that."""
    return content if isinstance(content, int) else len(content)


def void(_: object) -> None:
    """Nothing of a result."""
