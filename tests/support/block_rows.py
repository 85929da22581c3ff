"""Rows for blocks that the scan kernel reads, and what it makes of them in a form to compare."""

from __future__ import annotations

from dataclasses import dataclass

from loadcast.kernels.buckets import Buckets
from loadcast.kernels.rows import LAYOUT_17, Layout
from loadcast.kernels.scan import Counts, Rejected, RowFilter, Scanner

SECOND = 1_464_739_500  # 2016-06-01 00:05:00
BUCKET = SECOND // 300
ALL = RowFilter(SECOND, SECOND + 3600)


@dataclass(frozen=True)
class ScanResult:
    """Sums of the kept rows of a block, its rejected rows in file order, and the counts."""

    buckets: Buckets
    rejected: list[Rejected]
    counts: Counts


def scan_block(data: bytes | bytearray, layout: Layout, keep: RowFilter) -> ScanResult:
    """Scan whole lines. `data` begins at a line's start and ends at a line's end or the file's."""
    scanner = Scanner(layout, keep)
    rejected = scanner.scan(data)
    return ScanResult(scanner.buckets(), rejected, scanner.counts())


def row(
    start: str = "2016-06-01 00:05:00", server: str = "10.0.0.1", total: str = "1", mbytes: str = "2", kind: str = "0"
) -> bytes:
    return f"{kind},{start},9,3,{mbytes},0,0,0,11,12,13,14,15,16,{total},{server},7".encode()


def scan(*lines: bytes, end: bytes = b"\n", keep: RowFilter = ALL) -> ScanResult:
    return scan_block(end.join(lines) + end, LAYOUT_17, keep)


def sums_of(result: ScanResult) -> dict[tuple[str, int], tuple[int, list[float]]]:
    """(server, buckets after BUCKET) → (sessions, sums)."""
    made = result.buckets
    places = zip(made.codes.tolist(), (made.buckets - BUCKET).tolist(), strict=True)
    values = zip(made.counts.tolist(), made.sums.tolist(), strict=True)
    return dict(zip(((made.servers[code], bucket) for code, bucket in places), values, strict=True))
