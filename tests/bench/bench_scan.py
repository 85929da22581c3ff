"""Scan and sums per server and 5 minutes: ours through Spark, beside other engines on the same files.

41,000,000 lines (5 GB) of 200 servers and 30 days, 0.5 % of them dirty, unless told otherwise. A contender that does
not agree with ours ends the run without figures, unless it is one of the approximate ones.
"""

from __future__ import annotations

import os
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq

from bench.agreement import Agreement, compare
from bench.contender import ScanJob, save_job
from bench.data import ROOT, Arguments, Sample, make_sample, read_through
from bench.harness import Contender, Run, Scale, run_contender, summarize, take_turns
from bench.results import parse, parser, save, show, work_folder
from loadcast import schema

_ROWS = 41_000_000


@dataclass(frozen=True)
class Entry:
    """A contender: its key on the command line, name, module and variant; whether its answer has to be right."""

    key: str
    name: str
    module: str
    variant: str
    exact: bool = True
    in_ours: bool = False  # runs in the project's own environment


OURS = Entry("ours", "ours, through Spark", "contender_ours", "-", in_ours=True)
ENTRIES = (
    OURS,
    Entry("spark", "Spark's CSV reader", "contender_spark", "text", in_ours=True),
    Entry("duckdb", "DuckDB", "contender_duckdb", "repaired"),
    Entry("duckdb-text", "DuckDB, fields as text", "contender_duckdb", "text"),
    Entry("polars", "Polars, streaming", "contender_polars", "exact"),
    Entry("spark-typed", "Spark's CSV reader, unchecked", "contender_spark", "typed", exact=False, in_ours=True),
    Entry("duckdb-typed", "DuckDB, unchecked", "contender_duckdb", "typed", exact=False),
    Entry("polars-typed", "Polars, streaming, unchecked", "contender_polars", "typed", exact=False),
)


def main() -> None:
    """Make the data, let the contenders take turns, check their answers, print the table."""
    options = parser(__doc__)
    options.add_argument("--days", type=int, default=30)
    options.add_argument("--dirty", type=float, default=0.005, help="share of dirty lines (default: 0.005)")
    options.add_argument("--only", nargs="+", choices=[entry.key for entry in ENTRIES], help="measure ours and these")
    chosen = parse(options)
    entries = {entry.name: entry for entry in ENTRIES if entry is OURS or not chosen.only or entry.key in chosen.only}
    with work_folder(chosen.data) as (data, scratch):
        sample = make_sample(data, Arguments(chosen.rows or _ROWS, chosen.servers, chosen.days, chosen.dirty))
        read_through(sample)
        scan = _Scan(sample, scratch, chosen.cores, entries)
        contenders = [scan.contender(entry, chosen.bench_python) for entry in entries.values()]
        runs = take_turns(contenders, chosen.runs, scan.run)
    scale = Scale(sample.size_bytes, chosen.cores, runs[OURS.name])
    rows = [summarize(name, runs[name], scale, _note(entry)) for name, entry in entries.items()]
    title = (
        f"Scan and sums: {sample.size_bytes / 1e9:.2f} GB, {sample.arguments.rows:,} lines, {chosen.servers} servers, "
        f"{chosen.days} days; {chosen.cores} cores; medians of {chosen.runs}"
    )
    show(title, rows, [f"{name}: {agreement}" for name, agreement in scan.agreements.items()])
    agreements = {name: vars(agreement) for name, agreement in scan.agreements.items()}
    save(chosen.json, "scan", rows, runs, data=vars(sample.arguments), bytes=sample.size_bytes, agreements=agreements)


def _note(entry: Entry) -> str:
    return "" if entry.exact else "approximate"


class _Scan:
    """The job that all contenders do, and how their answers compare to ours."""

    def __init__(self, sample: Sample, scratch: Path, cores: int, entries: dict[str, Entry]) -> None:
        self.agreements: dict[str, Agreement] = {}
        self._sample, self._scratch, self._cores, self._entries = sample, scratch, cores, entries

    def contender(self, entry: Entry, bench_python: Path) -> Contender:
        """The command of an entry; writes its job."""
        python = sys.executable if entry.in_ours else str(bench_python)
        job_file = self._scratch / f"{entry.key}.json"
        save_job(self._job(entry), job_file)
        folders = [ROOT / "tests", *([ROOT / "Code"] if entry.in_ours else [])]
        environment = {"PYTHONPATH": os.pathsep.join(map(str, folders)), "POLARS_MAX_THREADS": str(self._cores)}
        return Contender(entry.name, (python, "-m", f"bench.{entry.module}", entry.variant, str(job_file)), environment)

    def run(self, contender: Contender) -> Run:
        """Run a contender and check its answer; ours comes first. Raises SystemExit where one that must not differs."""
        entry = self._entries[contender.name]
        result = self._result(entry)
        shutil.rmtree(result, ignore_errors=True)
        result.unlink(missing_ok=True)
        run = run_contender(contender, self._scratch)
        if entry is not OURS:
            agreement = compare(pq.read_table(self._result(OURS)), pq.read_table(result))
            if entry.exact and not agreement.agrees:
                raise SystemExit(f"{entry.name} {agreement}. No times are reported.")
            self.agreements[entry.name] = agreement
        return run

    def _result(self, entry: Entry) -> Path:
        return self._scratch / f"{entry.key}.parquet"

    def _job(self, entry: Entry) -> ScanJob:
        begin, end, _ = self._sample.period
        return ScanJob(
            files=[str(path) for path in self._sample.files],
            result=str(self._result(entry)),
            scratch=str(self._scratch),
            threads=self._cores,
            columns=list(schema.SESSION_COLUMNS_17),
            server=schema.SERVER,
            start=schema.SESSION_START,
            client=schema.CLIENT,
            measures=list(schema.MEASURES),
            bucket=schema.BUCKET_START,
            number=schema.NUM_SESSION,
            sums=list(schema.BUCKET_SUMS),
            bucket_seconds=schema.BUCKET_SECONDS,
            begin=begin,
            end=end,
            missing=sorted(schema.MISSING_MARKS),
            largest=schema.LARGEST_NUMBER,
        )


if __name__ == "__main__":
    main()
