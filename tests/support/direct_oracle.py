"""The features of a forecast from an origin, hour by hour in plain Python."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date

from loadcast.kernels.labels import LabelRule

Value = float | None


@dataclass(frozen=True)
class Knowledge:
    """The observed loads of a server by hour, of which those after the origin are not to be known."""

    loads: dict[int, float]
    rule: LabelRule
    server: str
    origin: int

    def load(self, hour: int) -> Value:
        return self.loads.get(hour) if hour <= self.origin else None

    def position(self, hour: int) -> Value:
        load = self.load(hour)
        if load is None:
            return None
        bounds, offset = self.rule.bounds(self.server), 0.002 * self.rule.common.high
        low, high = math.log(bounds.low + offset), math.log(bounds.high + offset)
        relative = min(5.0, max(-4.0, (math.log(load + offset) - low) / max(high - low, 0.02)))
        return round(relative * 2**18) / 2**18

    def label(self, hour: int) -> Value:
        load, bounds = self.load(hour), self.rule.bounds(self.server)
        return None if load is None else 1.0 if load <= bounds.low else 2.0 if load <= bounds.high else 3.0

    def last(self, hour: int) -> Value:
        """The last observed hour up to this one, within a week."""
        return next((float(earlier) for earlier in range(hour, hour - 169, -1) if self.load(earlier) is not None), None)


def features(know: Knowledge, hour: int) -> dict[str, Value]:
    """All columns of one forecast."""
    day = 24 * (1 if hour - know.origin <= 24 else 2)
    return {
        **_same_hour(know, hour, day),
        **_weeks(know, hour, day),
        **_level(know),
        **_recent(know),
        **_blends(know, hour, day),
        **_changes(know, hour, day),
        **_weekly(know, hour, day),
    }


def _mean(values: Iterable[Value]) -> Value:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _share(values: Iterable[Value], label: int) -> Value:
    return _mean(None if value is None else float(value == label) for value in values)


def _spread(values: list[Value]) -> Value:
    mean = _mean(values)
    square = None if mean is None else _mean(None if value is None else (value - mean) ** 2 for value in values)
    return None if square is None else math.sqrt(square)


def _end(choose: object, values: Iterable[Value]) -> Value:
    return choose((value for value in values if value is not None), default=None)  # type: ignore[operator]


def _minus(a: Value, b: Value) -> Value:
    return None if a is None or b is None else a - b


def _same_hour(know: Knowledge, hour: int, day: int) -> dict[str, Value]:
    hours = [hour - day - 24 * days for days in range(28)]
    positions, labels = [know.position(one) for one in hours], [know.label(one) for one in hours]
    columns: dict[str, Value] = {f"sameHour{days}": positions[days] for days in range(7)}
    columns["sameHourClass0"] = labels[0]
    for days in (3, 7, 14, 28):
        some, classes = positions[:days], labels[:days]
        columns[f"sameHourMean{days}"], columns[f"sameHourSpread{days}"] = _mean(some), _spread(some)
        columns[f"sameHourLeast{days}"], columns[f"sameHourMost{days}"] = _end(min, some), _end(max, some)
        columns[f"sameHourLow{days}"], columns[f"sameHourHigh{days}"] = _share(classes, 1), _share(classes, 3)
    faded = [(0.8**days, value) for days, value in enumerate(positions) if value is not None]
    columns["sameHourFaded"] = (
        sum(weight * value for weight, value in faded) / sum(weight for weight, _ in faded) if faded else None
    )
    return columns


def _weeks(know: Knowledge, hour: int, day: int) -> dict[str, Value]:
    hours = [hour - 168 * weeks for weeks in (1, 2, 3, 4)]
    positions, labels = [know.position(one) for one in hours], [know.label(one) for one in hours]
    columns = {f"sameHourWeek{week + 1}": positions[week] for week in range(4)}
    columns["sameHourWeekMean"] = _mean(positions)
    columns["sameHourWeekLow"], columns["sameHourWeekHigh"] = _share(labels, 1), _share(labels, 3)
    for name, hours_ in (("Minus2h", -2), ("Minus1h", -1), ("Plus1h", 1), ("Plus2h", 2)):
        columns[f"weekBefore{name}"] = know.position(hour - 168 + hours_)
        columns[f"dayBefore{name}"] = know.position(hour - day + hours_)
    return columns


def _level(know: Knowledge) -> dict[str, Value]:
    columns: dict[str, Value] = {}
    for window in (6, 24, 72, 168, 336, 672):
        hours = range(know.origin - window + 1, know.origin + 1)
        positions, labels = [know.position(one) for one in hours], [know.label(one) for one in hours]
        columns[f"levelMean{window}"], columns[f"levelSpread{window}"] = _mean(positions), _spread(positions)
        columns[f"levelLow{window}"], columns[f"levelHigh{window}"] = _share(labels, 1), _share(labels, 3)
        if window <= 168:
            columns[f"levelMost{window}"] = _end(max, positions)
    columns["knownHours672"] = sum(value is not None for value in positions)
    for recent, before in ((6, 24), (24, 168), (168, 672)):
        columns[f"levelTrend{recent}"] = _minus(columns[f"levelMean{recent}"], columns[f"levelMean{before}"])
    for window in (24, 168):
        hours = range(know.origin - window + 1, know.origin + 1)
        for name, lag in (("hourlyChange", 1), ("dailyChange", 24)):
            moves = (_minus(know.position(one), know.position(one - lag)) for one in hours)
            square = _mean(None if move is None else move * move for move in moves)
            columns[f"{name}{window}"] = None if square is None else math.sqrt(square)
        turns = (_minus(know.label(one), know.label(one - 1)) for one in hours)
        columns[f"classChanges{window}"] = _mean(None if turn is None else float(turn != 0) for turn in turns)
    return columns


def _last(know: Knowledge) -> tuple[Value, Value, Value]:
    """Position, class and hour of the last observed hour."""
    hour = know.last(know.origin)
    return (None, None, None) if hour is None else (know.position(int(hour)), know.label(int(hour)), hour)


def _recent(know: Knowledge) -> dict[str, Value]:
    columns = {f"last{hours}": know.position(know.origin - hours) for hours in range(6)}
    position, label, hour = _last(know)
    columns |= {"lastPosition": position, "lastClass": label, "lastAge": None if hour is None else know.origin - hour}
    columns["lastAgainstYesterday"] = _minus(position, know.position(know.origin - 24))
    run = None
    if hour is not None:
        run = 0
        while run < 168:
            earlier = know.last(know.origin - run - 1)
            if earlier is None or know.label(int(earlier)) != label:
                break
            run += 1
    return columns | {"lastRun": run}


def _blends(know: Knowledge, hour: int, day: int) -> dict[str, Value]:
    position, label, _ = _last(know)
    hours = [hour - day - 24 * days for days in range(7)]
    usual = _mean(know.position(one) for one in hours)
    labels = [know.label(one) for one in hours]
    leaning = _minus(_share(labels, 3), _share(labels, 1))
    unusual = _minus(position, _mean(know.position(know.origin - 24 * days) for days in range(1, 8)))
    columns: dict[str, Value] = {}
    for tau in (2, 8, 30):
        weight = math.exp(-(hour - know.origin) / tau)
        mixed = position is not None and usual is not None
        columns[f"blendPosition{tau}"] = weight * position + (1 - weight) * usual if mixed else None  # type: ignore[operator]
        columns[f"blendChange{tau}"] = None if usual is None or unusual is None else usual + weight * unusual
        columns[f"blendClass{tau}"] = (
            None if label is None or leaning is None else weight * (label - 2) + (1 - weight) * leaning
        )
    return columns


def _changes(know: Knowledge, hour: int, day: int) -> dict[str, Value]:
    position, label, _ = _last(know)
    back = [day + 24 * days for days in range(16)]
    steps = (_minus(know.position(hour - days), know.position(know.origin - days)) for days in back)
    moved = [None if position is None or step is None else position + step for step in steps]
    upon = [know.label(hour - days) for days in back if label is not None and know.label(know.origin - days) == label]
    return {
        "changeLow": _mean(None if value is None else float(value <= 0) for value in moved),
        "changeHigh": _mean(None if value is None else float(value > 1) for value in moved),
        "changeMean": _mean(moved),
        "followedByLow": _share(upon, 1),
        "followedByHigh": _share(upon, 3),
    }


def _weekly(know: Knowledge, hour: int, day: int) -> dict[str, Value]:
    def is_weekend(at: int) -> bool:
        return date.fromordinal(date(1970, 1, 1).toordinal() + at // 24).isoweekday() > 5

    def level(at: int) -> Value:
        return _mean(know.position(one) for one in range(at - 23, at + 1)) if at <= know.origin else None

    def columns(name: str, positions: list[Value], labels: list[Value]) -> dict[str, Value]:
        return {f"{name}Mean": _mean(positions), f"{name}Low": _share(labels, 1), f"{name}High": _share(labels, 3)}

    hours = [hour - day - 24 * days for days in range(28)]
    alike = [one for one in hours if is_weekend(one) == is_weekend(hour)]
    moved: list[Value] = []
    near = [(168 * weeks, hour - 168 * weeks + beside) for beside in (-1, 0, 1) for weeks in (1, 2, 3, 4)]
    for back, one in near:
        since, position = _minus(level(know.origin), level(know.origin - back)), know.position(one)
        moved.append(None if since is None or position is None else position + since)
    labels: list[Value] = [
        None if value is None else 1.0 if value <= 0 else 2.0 if value <= 1 else 3.0 for value in moved
    ]
    return {
        **columns("dayType", [know.position(one) for one in alike], [know.label(one) for one in alike]),
        **columns("weekNear", [know.position(one) for _, one in near], [know.label(one) for _, one in near]),
        **columns("weekMoved", moved, labels),
    }
