"""quality.json, shown as a page: what was rejected and repaired, which files stand out, which servers
were seen when."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Sequence

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from loadcast.artefacts.quality import Quality, ServersQuality
from loadcast.pipeline.quality import STANDS_OUT_ROWS, STANDS_OUT_TIMES
from loadcast.printable import printable
from loadcast.schema import Reason, Repair

#: On a narrower terminal tables would have to leave out digits.
_LEAST_WIDTH = 60
#: So wide that nothing is wrapped.
_UNBOUNDED_WIDTH = 10_000
_MEANINGS: dict[str, str] = {
    Reason.FIELD_COUNT.value: "not the layout's number of fields",
    Reason.HEADER.value: "a repeated header line",
    Reason.SERVER_IP.value: "ServerIP is no IP address",
    Reason.SESSION_START.value: "SessionStart is no time",
    Reason.CONTRACT.value: "a number breaks the data contract",
}


def listing(names: Sequence[str], number: int, most: int, encoding: str = "utf-8") -> str:
    """The first `most` of `number` names, not all of which need be in `names`, and how many more there are."""
    listed = [printable(name, encoding) for name in names[:most]]
    if number > len(listed):
        listed.append(f"{'and ' if listed else ''}{number - len(listed):,} more")
    return ", ".join(listed)


def meaning(reason: str) -> str:
    """What a reason for a row's rejection means; one that is not known here is its own meaning."""
    return _MEANINGS.get(reason, reason)


def page_console() -> Console:
    """The console of a page on standard output; where that is no terminal, or a narrow one, nothing is wrapped."""
    console = Console(highlight=False)
    if not console.is_terminal or console.width < _LEAST_WIDTH:
        console.width = _UNBOUNDED_WIDTH
    return console


def show_quality(quality: Quality, title: str, console: Console, most: tuple[int, int]) -> None:
    """Print the page; `most` are the numbers of files and of servers that are listed at most, the worst first."""
    files, servers = most
    encoding = console.encoding
    parts: list[RenderableType] = [_head(quality, printable(title, encoding)), _totals(quality)]
    parts += _faults(quality)
    parts += _files(quality, files, encoding)
    parts += _servers(quality.servers, servers, encoding)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, Text))
        console.print()


def _head(quality: Quality, title: str) -> Text:
    period = f"Sessions kept are of the hours from {_hour(quality.first_time)} to {_hour(quality.last_time)}."
    only = " Only the servers of filterServers were kept (FILTER_IP)." if quality.filter_ip else ""
    return Text(f"Data quality of {title}\n", style="bold").append(period + only, style="not bold")


def _hour(time: str | None) -> str:
    return printable(time or "none")


def _totals(quality: Quality) -> Table:
    table = _table(f"{len(quality.files):,} files, {quality.bytes / 1e6:,.1f} MB", "what", ">number", ">of rows")
    for name, number in {
        "rows": quality.rows,
        "  kept": quality.good,
        "  outside the period": quality.outside_period,
        "  of other servers": quality.other_server,
        "  rejected": quality.rejected,
        "blank lines": quality.blank,
        "bad numbers, now missing": quality.repaired,
        "numbers outside the contract": quality.breaches,
    }.items():
        of_rows = _share(number, quality.rows) if name.startswith("  ") else ""
        table.add_row(name, f"{number:,}", of_rows)
    return table


def _faults(quality: Quality) -> list[RenderableType]:
    """What is wrong with rows, numbers, and numbers that the contract speaks of; each only where there is something."""
    rejected = _table("Rejected rows by reason", "reason", ">rows", ">of rows", "the row")
    for reason, number in _largest_first(quality.rejected_by_reason):
        share = _share(number, quality.rows)
        rejected.add_row(Text(printable(reason)), f"{number:,}", share, _MEANINGS.get(reason, ""))
    repaired = _table("Bad numbers, now missing", "column", *(f">{kind.value}" for kind in Repair))
    for column, kinds in quality.repaired_by_column.items():
        repaired.add_row(Text(printable(column)), *(f"{kinds.get(kind.value, 0):,}" for kind in Repair))
    breaches = _table("The data contract", "column", ">min", ">max", "a breach is", ">breaches")
    for column, allowed in quality.contract.items():
        bounds = ("" if bound is None else f"{bound:,.15g}" for bound in (allowed.min, allowed.max))
        doing = {"count": "counted", "reject": "rejected"}[allowed.on_breach]
        breaches.add_row(Text(printable(column)), *bounds, doing, f"{quality.breaches_by_column.get(column, 0):,}")
    return [table for table in (rejected, repaired, breaches) if table.row_count]


def _files(quality: Quality, most: int, encoding: str) -> list[RenderableType]:
    """The worst files: first those that stand out, then by rejected rows, bad numbers and breaches."""
    worst = heapq.nsmallest(
        most, quality.files, key=lambda file: (not file.stands_out, -file.rejected, -file.repaired - file.breaches)
    )
    title = f"Files, the worst first ({len(worst):,} of {len(quality.files):,})"
    table = _table(title, "", ">rejected", ">of rows", "mostly", ">repaired", ">breaches", ">rows", "file")
    for file in worst:
        mostly = next((reason for reason, _ in _largest_first(file.rejected_by_reason)), "")
        table.add_row(
            "!" if file.stands_out else "",
            f"{file.rejected:,}",
            _share(file.rejected, file.rows),
            Text(printable(mostly)),
            *(f"{number:,}" for number in (file.repaired, file.breaches, file.rows)),
            Text(printable(file.file, encoding)),
            style="red" if file.stands_out else None,
        )
    number = len(quality.files_that_stand_out)
    note = (
        f"! {number:,} of {len(quality.files):,} files stand out: at least {STANDS_OUT_TIMES} times the reject rate "
        f"of all other files together, and at least {STANDS_OUT_ROWS} rejected rows."
    )
    return [*([table] if worst else []), Text(note, style="red") if number else Text("No file stands out.")]


def _servers(servers: ServersQuality, most: int, encoding: str) -> list[RenderableType]:
    """The servers with the most hours without data, and those that came or went."""
    gaps = [server for server in servers.listed if server.hours_without_data][:most]
    title = f"Servers by hours without data ({len(gaps):,} of {servers.number:,})"
    table = _table(title, "server", ">without data", ">observed", "first hour", "last hour")
    for server in gaps:
        table.add_row(
            Text(printable(server.server, encoding)),
            f"{server.hours_without_data:,}",
            f"{server.hours_observed:,}",
            *(Text(printable(time)) for time in (server.first_time, server.last_time)),
        )
    lines = [
        f"{servers.number:,} servers; hours without data between first and last hour: {servers.hours_without_data:,}"
    ]
    for what, number, names in (
        ("appeared a day or more after the first hour", servers.appeared_number, servers.appeared),
        ("disappeared a day or more before the last hour", servers.disappeared_number, servers.disappeared),
    ):
        lines.append(f"{number:,} {what}" + (f": {listing(names, number, most, encoding)}" if number else ""))
    return [*([table] if gaps else []), Text("\n".join(lines))]


def _table(title: str, *columns: str) -> Table:
    """An empty table; `>` before a column's name is for numbers."""
    table = Table(
        title=Text(title, style="bold"), title_justify="left", box=SIMPLE_HEAD, show_edge=False, padding=(0, 1, 0, 0)
    )
    for name in columns:
        # Folded where there is no room: no digit is ever left out.
        table.add_column(name.removeprefix(">"), justify="right" if name.startswith(">") else "left", overflow="fold")
    return table


def _share(number: int, rows: int) -> str:
    return f"{number / max(rows, 1):.2%}"


def _largest_first(counts: dict[str, int]) -> Iterable[tuple[str, int]]:
    return sorted(counts.items(), key=lambda item: -item[1])
