"""quality.json: what became of the input's rows, and whether that is good enough."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from loadcast.artefacts.quality import Quality
from loadcast.errors import InputError, QualityError
from loadcast.kernels.buckets import Int64s
from loadcast.kernels.coverage import Coverage
from loadcast.kernels.scan import Counts
from loadcast.settings import AllowedRange

#: A file stands out with this many times the reject rate of all others together, and at least this many rejected rows.
STANDS_OUT_TIMES = 10
STANDS_OUT_ROWS = 10
#: Servers that a list of them holds at most; their numbers are always all.
LISTED_SERVERS = 1_000
#: A server appears, or disappears, this many hours after the run's first, or before its last.
_APART_H = 24
_EPOCH = datetime(1970, 1, 1)


def quality_report(
    per_split: Iterable[str],
    coverage: Coverage,
    sizes: dict[str, int],
    contract: Mapping[str, AllowedRange],
    filter_ip: bool,
) -> Quality:
    """The report, from each split's counts (JSON of scan.Counts with `file`), the hours in which each server was seen,
    the files' sizes in bytes, and what the sessions were held against.
    """
    total = Counts()
    by_file: dict[str, Counts] = defaultdict(Counts)
    for text in per_split:
        values = json.loads(text)
        file = values.pop("file")
        values.pop("start")
        counts = Counts(**values)
        total.add(counts)
        by_file[file].add(counts)
    files = [
        {"file": file, "bytes": sizes[file], **_summary(counts), "standsOut": _stands_out(counts, total)}
        for file, counts in sorted(by_file.items())
    ]
    return Quality.of(
        {
            "filterIp": filter_ip,
            "contract": dict(contract),
            "bytes": sum(sizes.values()),
            **_summary(total),
            **_period(coverage),
            "servers": _servers(coverage),
            "filesThatStandOut": [file["file"] for file in files if file["standsOut"]],
            "files": files,
        }
    )


def _summary(counts: Counts) -> dict[str, Any]:
    rejected = sum(counts.rejected.values())
    repaired: dict[str, dict[str, int]] = defaultdict(dict)
    for name, number in sorted(counts.repaired.items()):
        column, kind = name.split(":")
        repaired[column][kind] = number
    return {
        "rows": counts.rows,
        "blank": counts.blank,
        "good": counts.good,
        "outsidePeriod": counts.outside_period,
        "otherServer": counts.other_server,
        "rejected": rejected,
        "rejectedFraction": rejected / max(counts.rows, 1),
        "rejectedByReason": dict(sorted(counts.rejected.items())),
        "repaired": sum(counts.repaired.values()),
        "repairedByColumn": dict(repaired),
        "breaches": sum(counts.breaches.values()),
        "breachesByColumn": dict(sorted(counts.breaches.items())),
    }


def _stands_out(file: Counts, total: Counts) -> bool:
    """Whether a file's reject rate is many times that of the others; theirs counts as at least one row of all."""
    rejected, other_rows = sum(file.rejected.values()), total.rows - file.rows
    if rejected < STANDS_OUT_ROWS or not other_rows:
        return False
    other_rejected = max(1, sum(total.rejected.values()) - rejected)
    return rejected * other_rows >= STANDS_OUT_TIMES * other_rejected * file.rows


def _period(coverage: Coverage) -> dict[str, str | None]:
    """The first and the last hour with a kept session; None where there is none."""
    if not coverage.servers:
        return {"firstTime": None, "lastTime": None}
    return {"firstTime": _time(coverage.first.min()), "lastTime": _time(coverage.last.max())}


def _servers(coverage: Coverage) -> dict[str, Any]:
    """What there is to say of the servers. Lists are cut, numbers never."""
    names, without = np.array(coverage.servers, dtype=str), coverage.without_data
    late = coverage.first - min(coverage.first.tolist(), default=0) >= _APART_H
    gone = max(coverage.last.tolist(), default=0) - coverage.last >= _APART_H
    return {
        "number": len(names),
        "hoursWithoutData": int(without.sum()),
        "appearedNumber": int(late.sum()),
        "disappearedNumber": int(gone.sum()),
        "appeared": _listed(names, coverage.first, late),
        "disappeared": _listed(names, coverage.last, gone),
        "listed": [
            {
                "server": coverage.servers[index],
                "firstTime": _time(coverage.first[index]),
                "lastTime": _time(coverage.last[index]),
                "hoursObserved": int(coverage.observed[index]),
                "hoursWithoutData": int(without[index]),
            }
            for index in np.lexsort((names, -without))[:LISTED_SERVERS].tolist()
        ],
    }


def _listed(names: npt.NDArray[np.str_], hours: Int64s, chosen: npt.NDArray[np.bool_]) -> list[str]:
    """The chosen names by hour and name, as many as are listed."""
    listed: list[str] = names[chosen][np.lexsort((names[chosen], hours[chosen]))[:LISTED_SERVERS]].tolist()
    return listed


def _time(hour: np.int64) -> str:
    return str(_EPOCH + timedelta(hours=int(hour)))


def check_quality(report: Quality, max_rejected_fraction: float) -> None:
    """Raise QualityError where too many rows were rejected, InputError where none was kept."""
    if report.rejected_fraction > max_rejected_fraction:
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in report.rejected_by_reason.items())
        worst = max(report.files, key=lambda file: file.rejected)
        raise QualityError(
            f"{report.rejected:,} of {report.rows:,} rows ({report.rejected_fraction:.1%}) were "
            f"rejected: {reasons}. "
            f"Wanted at most maxRejectedFraction {max_rejected_fraction:.1%}; nothing was published. "
            f"The file with the most ({worst.rejected:,}) is {worst.file}: mend or leave out such files, "
            "name their `columns`, change the contract, or raise maxRejectedFraction."
        )
    if not report.good:
        raise InputError(
            f"No row was kept of {report.rows:,}: {report.rejected:,} were rejected, "
            f"{report.outside_period:,} lie outside trainBegin … trainEnd, "
            f"{report.other_server:,} belong to servers not in filterServers. Check those settings and dataFile."
        )
