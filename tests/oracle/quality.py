"""What quality.json says of files and servers, the slow way (Docs/DATA.md, section 8)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from fractions import Fraction

from oracle.rows import Reading, Session

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def seen_hours(sessions: Iterable[Session]) -> dict[str, set[datetime]]:
    """The hours in which each server has a session."""
    seen: dict[str, set[datetime]] = {}
    for session in sessions:
        seen.setdefault(session.server, set()).add(session.start.replace(minute=0, second=0))
    return seen


def coverage(sessions: Iterable[Session]) -> dict:
    """firstTime, lastTime and servers, for at most a thousand servers; nothing where there is no session."""
    seen = seen_hours(sessions)
    if not seen:
        return {}
    begin, end = min(min(hours) for hours in seen.values()), max(max(hours) for hours in seen.values())
    listed = [
        {
            "server": server,
            "firstTime": min(hours).isoformat(sep=" "),
            "lastTime": max(hours).isoformat(sep=" "),
            "hoursObserved": len(hours),
            "hoursWithoutData": (max(hours) - min(hours)) // HOUR + 1 - len(hours),
        }
        for server, hours in seen.items()
    ]
    appeared = [(min(hours), server) for server, hours in seen.items() if min(hours) >= begin + DAY]
    disappeared = [(max(hours), server) for server, hours in seen.items() if max(hours) <= end - DAY]
    return {
        "firstTime": begin.isoformat(sep=" "),
        "lastTime": end.isoformat(sep=" "),
        "servers": {
            "number": len(seen),
            "hoursWithoutData": sum(entry["hoursWithoutData"] for entry in listed),
            "appearedNumber": len(appeared),
            "disappearedNumber": len(disappeared),
            "appeared": [server for _, server in sorted(appeared)],
            "disappeared": [server for _, server in sorted(disappeared)],
            "listed": sorted(listed, key=lambda entry: (-entry["hoursWithoutData"], entry["server"])),
        },
    }


def stand_out(readings: Mapping[str, Reading]) -> list[str]:
    """Files with ten rejected rows or more, at ten times the rate of all others or more (which count as one of all)."""
    standing_out = []
    for name, reading in readings.items():
        others = [other for other_name, other in readings.items() if other_name != name]
        rows, rejected = sum(other.rows for other in others), sum(len(other.rejected) for other in others)
        if len(reading.rejected) >= 10 and rows:
            rate = Fraction(len(reading.rejected), reading.rows)
            if rate >= 10 * Fraction(max(rejected, 1), rows):
                standing_out.append(name)
    return sorted(standing_out)
