"""The server kernel as Spark calls it: batches of packed sums in, whatever their sizes; Spark isn't started."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest

from loadcast import schema
from loadcast.kernels import buckets as bucket_kernel
from loadcast.kernels.calendar import CalendarRule
from loadcast.kernels.features import Thresholds

server = pytest.importorskip("loadcast.spark.server")
scan = pytest.importorskip("loadcast.spark.scan")

BEGIN = 1_464_739_200 // schema.BUCKET_SECONDS
TASK = server.ServerTask(CalendarRule(datetime(2016, 6, 1), frozenset()), Thresholds(100.0, 500.0), None)


def pieces(name: str, number: int, buckets: int, seed: int) -> list[pa.RecordBatch]:
    """Sums of one server, cut from `number` pieces of the input that all reach over the same time."""
    rng = np.random.default_rng(seed)
    batches = []
    for _ in range(number):
        places = np.flatnonzero(rng.random(buckets) < 0.7)
        values = rng.integers(0, 1000, (len(places), len(schema.MEASURES))) / 8
        sums = bucket_kernel.sum_rows((name,), np.zeros(len(places), dtype=np.int64), BEGIN + places, values)
        names, payloads = bucket_kernel.pack(sums)
        kinds = pa.array([scan.KIND_BUCKETS] * len(names), pa.int32())
        batches.append(pa.RecordBatch.from_arrays([names, kinds, payloads], schema=scan.SCAN_SCHEMA))
    return batches


def rows(batches: list[pa.RecordBatch]) -> pa.Table:
    return pa.Table.from_batches(TASK(iter(batches)), schema=server.WIDE_SCHEMA)


def of_kind(table: pa.Table, kind: str) -> pa.Table:
    return table.filter(pc.equal(table.column("kind"), kind)).combine_chunks()


@pytest.mark.parametrize("bound", [1, 10_000, 100_000])
def test_a_server_with_most_rows_in_many_pieces_gives_the_same_in_little_memory(
    bound: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    large = pieces("10.0.0.2", 200, 800, 2)
    batches = [*pieces("10.0.0.1", 3, 50, 1), *large, *pieces("10.0.0.3", 3, 50, 3)]
    wanted = rows(batches)
    held = []
    cut = server._cut_last_server

    def watched(sums: pa.Table) -> tuple[pa.Table, pa.Table]:
        held.append(sums.nbytes)
        return cut(sums)

    monkeypatch.setattr(server, "_WORK_BYTES", bound)
    monkeypatch.setattr(server, "_cut_last_server", watched)
    found = rows(batches)
    for kind in (server.ROW_HOUR, server.ROW_DAY):
        assert of_kind(found, kind).num_rows >= 5
        assert of_kind(found, kind).equals(of_kind(wanted, kind))
    whole = 800 * bucket_kernel.RECORD.itemsize
    assert max(held) < 3 * whole + bound + large[0].nbytes < sum(batch.nbytes for batch in large) / 4


def test_a_partition_without_sums_gives_nothing() -> None:
    assert rows([]).num_rows == 0
