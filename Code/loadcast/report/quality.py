"""quality.json, read back and shown as a page: what was rejected and repaired, which files stand out, which servers
were seen when."""

from __future__ import annotations

import heapq
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, ValidationError
from pydantic.alias_generators import to_camel
from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

from loadcast import paths
from loadcast.errors import ArtefactError
from loadcast.pipeline.quality import STANDS_OUT_ROWS, STANDS_OUT_TIMES, VERSION
from loadcast.schema import Reason, Repair
from loadcast.settings import AllowedRange

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


def _as_text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError("wanted a text")
    return value


#: A text that may hold what no well-formed Unicode does: a file's name need not be UTF-8.
_Name = Annotated[str, PlainValidator(_as_text)]
_Number = Annotated[int, Field(ge=0, lt=2**63, strict=True)]


class _Part(BaseModel):
    model_config = ConfigDict(frozen=True, alias_generator=to_camel)


class _Counted(_Part):
    bytes: _Number
    rows: _Number
    blank: _Number
    good: _Number
    outside_period: _Number
    other_server: _Number
    rejected: _Number
    rejected_by_reason: dict[str, _Number]
    repaired: _Number
    repaired_by_column: dict[str, dict[str, _Number]]
    breaches: _Number
    breaches_by_column: dict[str, _Number]


class _File(_Counted):
    file: _Name
    stands_out: bool


class _Server(_Part):
    server: _Name
    first_time: _Name
    last_time: _Name
    hours_observed: _Number
    hours_without_data: _Number


class _Servers(_Part):
    number: _Number
    hours_without_data: _Number
    appeared_number: _Number
    disappeared_number: _Number
    appeared: list[_Name]
    disappeared: list[_Name]
    listed: list[_Server]


class Quality(_Counted):
    """A quality.json that has all that the page shows."""

    filter_ip: bool
    contract: dict[str, AllowedRange]
    first_time: _Name
    last_time: _Name
    servers: _Servers
    files_that_stand_out: list[_Name]
    files: list[_File]


def load_quality(run: Path) -> dict[str, Any]:
    """The content of a run's quality.json. Raises ArtefactError where it is missing, broken, or of another version."""
    place = run / paths.QUALITY
    try:
        content = json.loads(place.read_bytes())
    except OSError as error:
        raise ArtefactError(
            f"{place}: {error.strerror}. Wanted the quality report of a run. Run python Code/etl.py CONFIG first."
        ) from None
    except (ValueError, RecursionError):
        raise _broken(place, "it is not JSON") from None
    if not isinstance(content, dict):
        raise _broken(place, f"found a {type(content).__name__}, wanted a JSON object")
    if content.get("version") != VERSION:
        raise _broken(place, f"found version {content.get('version')!r:.20}, wanted {VERSION}")
    return content


def parse_quality(content: dict[str, Any], run: Path) -> Quality:
    """The content of a run's quality.json, typed. Raises ArtefactError where the page needs more than is there."""
    try:
        return Quality.model_validate(content)
    except ValidationError as error:
        fault = error.errors(include_url=False, include_context=False, include_input=False)[0]
        where = ".".join(map(str, fault["loc"]))
        raise _broken(run / paths.QUALITY, f"{shown(where):.100}: {fault['msg']}") from None


def _broken(place: Path, fault: str) -> ArtefactError:
    return ArtefactError(
        f"{place} cannot be read: {fault}. It was damaged, or written by another version of loadcast. "
        "Run python Code/etl.py CONFIG again."
    )


def shown(text: str, encoding: str = "utf-8") -> str:
    """A text that cannot drive the reader's terminal: what is not printable, or not in the encoding, as escapes."""
    plain = "".join(sign if sign.isprintable() else sign.encode("unicode_escape").decode() for sign in text)
    return plain.encode(encoding, "backslashreplace").decode(encoding)


def listing(names: Sequence[str], number: int, most: int, encoding: str = "utf-8") -> str:
    """The first `most` of `number` names, not all of which need be in `names`, and how many more there are."""
    listed = [shown(name, encoding) for name in names[:most]]
    if number > len(listed):
        listed.append(f"{'and ' if listed else ''}{number - len(listed):,} more")
    return ", ".join(listed)


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
    parts: list[RenderableType] = [_head(quality, shown(title, encoding)), _totals(quality)]
    parts += _faults(quality)
    parts += _files(quality, files, encoding)
    parts += _servers(quality.servers, servers, encoding)
    for part in parts:
        console.print(part, soft_wrap=isinstance(part, Text))
        console.print()


def _head(quality: Quality, title: str) -> Text:
    period = f"Sessions kept are of the hours from {shown(quality.first_time)} to {shown(quality.last_time)}."
    only = " Only the servers of filterServers were kept (FILTER_IP)." if quality.filter_ip else ""
    return Text(f"Data quality of {title}\n", style="bold").append(period + only, style="not bold")


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
        rejected.add_row(Text(shown(reason)), f"{number:,}", share, _MEANINGS.get(reason, ""))
    repaired = _table("Bad numbers, now missing", "column", *(f">{kind.value}" for kind in Repair))
    for column, kinds in quality.repaired_by_column.items():
        repaired.add_row(Text(shown(column)), *(f"{kinds.get(kind.value, 0):,}" for kind in Repair))
    breaches = _table("The data contract", "column", ">min", ">max", "a breach is", ">breaches")
    for column, allowed in quality.contract.items():
        bounds = ("" if bound is None else f"{bound:,.15g}" for bound in (allowed.min, allowed.max))
        doing = {"count": "counted", "reject": "rejected"}[allowed.on_breach]
        breaches.add_row(Text(shown(column)), *bounds, doing, f"{quality.breaches_by_column.get(column, 0):,}")
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
            Text(shown(mostly)),
            *(f"{number:,}" for number in (file.repaired, file.breaches, file.rows)),
            Text(shown(file.file, encoding)),
            style="red" if file.stands_out else None,
        )
    number = len(quality.files_that_stand_out)
    note = (
        f"! {number:,} of {len(quality.files):,} files stand out: at least {STANDS_OUT_TIMES} times the reject rate "
        f"of all other files together, and at least {STANDS_OUT_ROWS} rejected rows."
    )
    return [*([table] if worst else []), Text(note, style="red") if number else Text("No file stands out.")]


def _servers(servers: _Servers, most: int, encoding: str) -> list[RenderableType]:
    """The servers with the most hours without data, and those that came or went."""
    gaps = [server for server in servers.listed if server.hours_without_data][:most]
    title = f"Servers by hours without data ({len(gaps):,} of {servers.number:,})"
    table = _table(title, "server", ">without data", ">observed", "first hour", "last hour")
    for server in gaps:
        table.add_row(
            Text(shown(server.server, encoding)),
            f"{server.hours_without_data:,}",
            f"{server.hours_observed:,}",
            *(Text(shown(time)) for time in (server.first_time, server.last_time)),
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
