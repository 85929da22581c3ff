"""Whole ETL and whole training by our scripts on 1 and 5 GB, and on 20 GB with --large; FILTER_IP on the smallest.

8, 41 and 164 million lines of 30, 150 and 600 days and 200 servers. With --rows, the smallest has that many lines and
the others as many times more as they would.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from bench.data import Arguments, make_sample, read_through
from bench.harness import Run, Scale, Summary, run_contender, summarize, take_turns
from bench.results import offer_before, parse, parser, save, show, work_folder
from bench.runs import ETL, FILTER_IP, TRAINING, trees, whole_run, write_config

_ROWS = 8_000_000
#: GB → lines and days.
_SIZES = {1: (_ROWS, 30), 5: (41_000_000, 150), 20: (164_000_000, 600)}
#: Words of the option → what is run, in this order: training needs what ETL has made.
_KINDS = {"etl": ETL, "training": TRAINING, "filtered": FILTER_IP}


def main() -> None:
    """Measure one size after the other, print the table and how time grows."""
    options = parser(__doc__)
    options.add_argument("--gigabytes", type=int, nargs="+", choices=_SIZES, default=[1, 5], help="default: 1 5")
    options.add_argument("--large", action="store_true", help="20 GB, too")
    options.add_argument("--kinds", nargs="+", choices=_KINDS, default=[*_KINDS], help="default: all")
    offer_before(options)
    chosen = parse(options)
    sizes = sorted({*chosen.gigabytes, *([20] if chosen.large else [])})
    rows: list[Summary] = []
    runs: dict[str, list[Run]] = {}
    with work_folder(chosen.data) as (data, scratch):
        for size in sizes:
            kinds = [kind for name, kind in _KINDS.items() if name in chosen.kinds]
            if size != sizes[0] and FILTER_IP in kinds:
                kinds.remove(FILTER_IP)
            measured, summaries = _measure(size, kinds, chosen, (data, scratch))
            rows += summaries
            runs |= measured
    lines = growth(rows, sizes)
    show(f"Whole runs; {chosen.servers} servers; {chosen.cores} cores; medians of {chosen.runs}", rows, lines)
    save(chosen.json, "whole", rows, runs, growth=lines)


def _measure(
    size: int, kinds: Sequence[str], chosen: argparse.Namespace, folders: tuple[Path, Path]
) -> tuple[dict[str, list[Run]], list[Summary]]:
    """All rounds of one size."""
    data, scratch = folders
    lines, days = _SIZES[size]
    sample = make_sample(data, Arguments((chosen.rows or _ROWS) * lines // _ROWS, chosen.servers, days))
    read_through(sample)
    contenders = []
    kind_of = {}
    runnable = trees(chosen.before, scratch / str(size))
    for kind in kinds:
        for number, (suffix, root) in enumerate(runnable):
            # FILTER_IP must not replace what training reads.
            config = write_config(sample, scratch, f"{'few' if kind == FILTER_IP else 'all'}-{size}-{number}")
            contenders.append(whole_run(_title(kind, size) + suffix, kind, config, chosen.cores, root))
            kind_of[contenders[-1].name] = kind
    runs = take_turns(contenders, chosen.runs, lambda contender: run_contender(contender, scratch))
    note = f"{sample.size_bytes / 1e9:.2f} GB, {sample.arguments.rows:,} lines, {days} days"
    summaries = []
    for name, items in runs.items():
        kind = kind_of[name]
        ours = runs[_title(kind, size)] if chosen.before else None
        # Training reads what ETL made of the logs, not the logs.
        scale = Scale(None if kind == TRAINING else sample.size_bytes, chosen.cores, ours)
        summaries.append(summarize(name, items, scale, note))
    return runs, summaries


def _title(kind: str, size: int) -> str:
    return f"{kind}, {size} GB"


def growth(rows: Sequence[Summary], sizes: Sequence[int]) -> list[str]:
    """How many times longer each size takes than the one before it, in words."""
    seconds = {row.name: row.seconds for row in rows}
    lines = []
    for kind in (ETL, TRAINING):
        for small, large in pairwise(sizes):
            if _title(kind, large) not in seconds:
                continue
            ratio = seconds[_title(kind, large)] / seconds[_title(kind, small)]
            lines.append(f"{kind}: {large} GB takes {ratio:.2f} × the time of {small} GB")
    return lines


if __name__ == "__main__":
    main()
