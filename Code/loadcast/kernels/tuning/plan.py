"""Which folds of which trials are to be done: all trials on the newest fold, the better half of each bracket on all.

A bracket is a few trials, in the order they were drawn, whatever the machine: so what is done does not depend on how
many tasks run side by side, brackets that are done hold trials that were tried on all folds, whenever time is up, and
more trials can follow later. Source: successive halving (Jamieson and Talwalkar, 2016), of one step.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass

#: How many trials are compared on the newest fold before half of them are given up.
BRACKET = 8
#: How many trials one task fits at most, whose rows it makes once.
TOGETHER = 4
#: The configuration as it stands.
BASE = 0
NEWEST = 1

#: A trial and a fold; folds are numbered from 1, the newest.
Unit = tuple[int, int]
#: The log-loss of each unit that is done.
Losses = Mapping[Unit, float]


@dataclass(frozen=True)
class Schedule:
    """Trials are numbered from 0; the first `controls` of them, BASE before all, are tried on all folds in any case.

    `groups` (trials,) say whose rows are the same: the feature set of each.
    """

    groups: Sequence[str]
    folds: int
    controls: int

    @property
    def brackets(self) -> list[range]:
        """The trials that are compared with one another on the newest fold."""
        ends = range(self.controls, len(self.groups), BRACKET)
        return [range(begin, min(begin + BRACKET, len(self.groups))) for begin in ends]

    @property
    def units(self) -> int:
        """How many units there are to do."""
        kept = min(self.controls, len(self.groups)) + sum((len(bracket) + 1) // 2 for bracket in self.brackets)
        return len(self.groups) + kept * (self.folds - 1)

    def given_up(self, losses: Losses) -> set[int]:
        """The trials that are known not to be among the better half of their bracket."""
        known = [bracket for bracket in self.brackets if all((trial, NEWEST) in losses for trial in bracket)]
        return {trial for bracket in known for trial in set(bracket) - _better_half(bracket, losses)}

    def wanted(self, losses: Losses) -> Iterator[Unit]:
        """The units that can be done as far as it is known now, the most urgent first; those of `losses` are done."""
        first = range(min(self.controls, len(self.groups)))
        for bracket in self.brackets or [range(0)]:
            together = [*first, *bracket]
            yield from _missing(together, NEWEST, losses)
            if all((trial, NEWEST) in losses for trial in together):
                kept = [*first, *sorted(_better_half(bracket, losses))]
                for fold in range(NEWEST + 1, self.folds + 1):
                    yield from _missing(kept, fold, losses)
            first = range(0)

    def next_units(self, losses: Losses, running: Collection[Unit]) -> list[Unit]:
        """What a task should do next: up to TOGETHER units of one fold and one group; none where none can begin."""
        free = [unit for unit in self.wanted(losses) if unit not in running]
        if not free:
            return []
        trial, fold = free[0]
        same = [unit for unit in free if unit[1] == fold and self.groups[unit[0]] == self.groups[trial]]
        return same[:TOGETHER]


def _missing(trials: Sequence[int], fold: int, losses: Losses) -> Iterator[Unit]:
    return ((trial, fold) for trial in trials if (trial, fold) not in losses)


def _better_half(bracket: Sequence[int], losses: Losses) -> set[int]:
    """The trials of a bracket that lost least on the newest fold; of equals the earlier."""
    ranked = sorted(bracket, key=lambda trial: (losses[trial, NEWEST], trial))
    return set(ranked[: (len(bracket) + 1) // 2])
