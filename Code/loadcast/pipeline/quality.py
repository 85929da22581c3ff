"""quality.json: what became of the input's rows, and whether that is good enough."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable
from typing import Any

from loadcast.errors import InputError, QualityError
from loadcast.kernels.scan import Counts


def quality_report(per_split: Iterable[str], sizes: dict[str, int]) -> dict[str, Any]:
    """The report, from each split's counts (JSON of scan.Counts with `file`) and the files' sizes in bytes."""
    total = Counts()
    by_file: dict[str, Counts] = defaultdict(Counts)
    for text in per_split:
        values = json.loads(text)
        file = values.pop("file")
        values.pop("start")
        counts = Counts(**values)
        total.add(counts)
        by_file[file].add(counts)
    files = [{"file": file, "bytes": sizes[file], **_summary(by_file[file])} for file in sorted(by_file)]
    return {"bytes": sum(sizes.values()), **_summary(total), "files": files}


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
    }


def check_quality(report: dict[str, Any], max_rejected_fraction: float) -> None:
    """Raise QualityError where too many rows were rejected, InputError where none was kept."""
    if report["rejectedFraction"] > max_rejected_fraction:
        reasons = ", ".join(f"{reason} {number:,}" for reason, number in report["rejectedByReason"].items())
        worst = max(report["files"], key=lambda file: file["rejected"])
        raise QualityError(
            f"{report['rejected']:,} of {report['rows']:,} rows ({report['rejectedFraction']:.1%}) could not be "
            f"placed: {reasons}. "
            f"Wanted at most maxRejectedFraction {max_rejected_fraction:.1%}; nothing was published. "
            f"The file with the most ({worst['rejected']:,}) is {worst['file']}: mend or leave out such files, "
            "name their `columns`, or raise maxRejectedFraction."
        )
    if not report["good"]:
        raise InputError(
            f"No row was kept of {report['rows']:,}: {report['rejected']:,} were rejected, "
            f"{report['outsidePeriod']:,} lie outside trainBegin … trainEnd, "
            f"{report['otherServer']:,} belong to servers not in filterServers. Check those settings and dataFile."
        )
