"""Whole ETL of 1 GB from a container into a container, on Azurite, beside the same from a folder into a folder.

Azurite runs on the same cores, once with its blobs in memory and once with them on disk; how fast it delivers them to
a plain HTTP client is measured first.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from statistics import median

import pytest
import requests

from azurite import Azurite, running_azurite
from bench.data import PATTERN, Arguments, Sample, make_sample, read_through
from bench.harness import Contender, Run, Scale, run_contender, summarize, take_turns
from bench.results import parse, parser, save, show, work_folder
from bench.runs import ETL, whole_run, write_config

_ROWS = 8_000_000
_DAYS = 30
_LOCAL = "folder"
_LOGS, _RESULTS = "logs", "onemonthmodel"
_KEY_VARIABLE = "LOADCAST_BENCH_KEY"
_CONNECTIONS = (1, 2, 4)
_PIECE_BYTES = 256 << 10
_SAS_MINUTES, _TIMEOUT_S = 60, 60


def main() -> None:
    """Fill two Azurites, measure what they deliver, let the contenders take turns, print the table."""
    options = parser(__doc__)
    chosen = parse(options, other_engines=False)
    with work_folder(chosen.data) as (data, scratch), ExitStack() as servers:
        try:
            running = {
                name: servers.enter_context(running_azurite(scratch / f"{name}.txt", store=store))
                for name, store in (("Azurite, in memory", None), ("Azurite, on disk", scratch / "store"))
            }
        except pytest.skip.Exception as missing:  # told before the logs are made; no failure of the benchmarks before
            print(missing)
            return
        sample = make_sample(data, Arguments(chosen.rows or _ROWS, chosen.servers, _DAYS))
        read_through(sample)
        contenders = [whole_run(_LOCAL, ETL, write_config(sample, scratch, "local"), chosen.cores)]
        speeds = {}
        for name, azurite in running.items():
            azurite.new_container(_RESULTS)
            azurite.new_container(_LOGS)
            azurite.upload_folder(_LOGS, sample.folder)
            speeds[name] = {number: _raw_speed(azurite, sample, number) for number in _CONNECTIONS}
            contenders.append(_contender(name, azurite, sample, scratch, chosen.cores))
        runs = take_turns(contenders, chosen.runs, lambda contender: run_contender(contender, scratch))
    scale = Scale(sample.size_bytes, chosen.cores)
    rows = [summarize(name, items, scale) for name, items in runs.items()]
    lines = [*ratios(runs), *_delivered(speeds)]
    show(f"ETL, {sample.size_bytes / 1e9:.2f} GB; {chosen.cores} cores; medians of {chosen.runs}", rows, lines)
    save(chosen.json, "container", rows, runs, ratios=lines, rawMegabytesPerSecond=speeds)


def _contender(name: str, azurite: Azurite, sample: Sample, scratch: Path, cores: int) -> Contender:
    """ETL from that Azurite."""
    locations = {
        "dataFile": f"wasb://{_LOGS}@{azurite.account}/{PATTERN}",
        "storageAccount": azurite.account,
        "storageContainer": _RESULTS,
        "storageKey": f"env:{_KEY_VARIABLE}",
        "storageEndpoint": azurite.endpoint,
    }
    config = write_config(sample, scratch, name.replace(", ", "-").replace(" ", "-"), locations)
    return replace(whole_run(name, ETL, config, cores), environment={_KEY_VARIABLE: azurite.key})


def _raw_speed(azurite: Azurite, sample: Sample, connections: int) -> float:
    """MB/s of a client that reads all logs over so many connections at once, and throws them away."""
    signature = azurite.sas(_LOGS, "r", _SAS_MINUTES)
    urls = [f"{azurite.endpoint}/{_LOGS}/{name}?{signature}" for name in azurite.names(_LOGS)]
    begin = time.monotonic()
    with requests.Session() as session, ThreadPoolExecutor(connections) as pool:
        list(pool.map(lambda url: _read(session, url), urls))
    return sample.size_bytes / 1e6 / (time.monotonic() - begin)


def _read(session: requests.Session, url: str) -> None:
    with session.get(url, stream=True, timeout=_TIMEOUT_S) as response:
        response.raise_for_status()
        while response.raw.read(_PIECE_BYTES):
            pass


def ratios(runs: dict[str, list[Run]]) -> Iterator[str]:
    """Each container's seconds ÷ the folder's, in words: of each round, and the median."""
    local = runs[_LOCAL]
    for name, items in runs.items():
        if name != _LOCAL:
            times = [item.seconds / base.seconds for item, base in zip(items, local, strict=True)]
            yield f"{name}: {median(times):.2f} × the time from a {_LOCAL} ({_listed(times, '.2f')})"


def _delivered(speeds: dict[str, dict[int, float]]) -> Iterator[str]:
    for name, by_connections in speeds.items():
        numbers = ", ".join(map(str, by_connections))
        yield f"{name}, raw: {_listed(list(by_connections.values()), '.0f')} MB/s over {numbers} connections"


def _listed(values: Sequence[float], form: str) -> str:
    return ", ".join(format(value, form) for value in values)


if __name__ == "__main__":
    main()
