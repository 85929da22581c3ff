"""The service beside the core of an earlier commit, on many batches, mutated ones included: the same answers.

`python -m bench.serve_agreement --before COMMIT --rows 1000000`: each tree scores the same batches in a process of its
own, and says the SHA-256 of each answer, fault messages included; differing ones are shown.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from bench.bench_serve import example
from bench.data import ROOT
from commits import unpack_commit

_RECORDS = 100
_VALUES: tuple[Any, ...] = (0, 1, -0.0, 7.0, True, None, "7", [], {}, 2**70, 1e308, -1e308, 1e-320, float("nan"), "")
_ASK = """
import hashlib, json, sys
from loadcast.errors import RequestError
from webservice import init, run
init(sys.argv[1])
for line in open(sys.argv[2], "rb"):
    try:
        said = run(line.rstrip(b"\\n"))
    except RequestError as error:
        said = [str(error), error.problems]
    print(hashlib.sha256(json.dumps(said).encode()).hexdigest(), type(said).__name__)
"""


def main() -> None:
    """Make the batches, let both trees answer, compare."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--before", metavar="COMMIT", required=True)
    options.add_argument("--rows", type=int, default=1_000_000)
    options.add_argument("--model", type=Path, default=ROOT / "Model")
    options.add_argument("--seed", type=int, default=1)
    chosen = options.parse_args()
    with TemporaryDirectory(prefix="loadcast-bench-") as name:
        folder = Path(name)
        batches = folder / "batches"
        with batches.open("wb") as file:
            file.writelines(body + b"\n" for body in _bodies(chosen.rows // _RECORDS, random.Random(chosen.seed)))
        trees = [ROOT, unpack_commit(chosen.before, folder / "before")]
        asked = [_ask(tree, chosen.model, batches) for tree in trees]
        ours, before = (process.communicate()[0].splitlines() for process in asked)
        if any(process.returncode for process in asked):
            raise SystemExit("a tree did not answer")
        lines = batches.read_bytes().splitlines()
    differing = [number for number, pair in enumerate(zip(ours, before, strict=True)) if pair[0] != pair[1]]
    for number in differing[:5]:
        print(ours[number], before[number], lines[number][:300])
    refused = sum(line.endswith("list") for line in ours)
    print(f"{len(lines):,} batches, {len(lines) * _RECORDS:,} records; {refused:,} refused; {len(differing)} differ")
    sys.exit(bool(differing))


def _ask(tree: Path, model: Path, batches: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(tree / "Code")}
    command = [sys.executable, "-c", _ASK, str(model), str(batches)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, text=True)


def _bodies(number: int, draw: random.Random) -> Iterator[bytes]:
    plain = example()
    names = list(plain)
    servers = ["115.220.193.16", "10.0.0.1", "::ffff:1.2.3.4", "2001:DB8::1", plain["ServerIP"]]
    for _ in range(number):
        batch = [_record(plain, servers, draw) for _ in range(_RECORDS)]
        if draw.random() < 0.3:
            record = draw.choice(batch)
            record[draw.choice([*names, "key", "peakLoad", "strange"])] = draw.choice(_VALUES)
        if draw.random() < 0.1:
            del draw.choice(batch)[draw.choice(names[2:])]
        body = json.dumps(batch, separators=draw.choice([(",", ":"), (", ", ": ")])).encode()
        if draw.random() < 0.1:
            at = draw.randrange(len(body))
            body = body[:at] + draw.choice([b"", b'"', b",", b"0", b"}", b"\\u0041"]) + body[at + 1 :]
        yield body


def _record(plain: dict[str, Any], servers: list[str], draw: random.Random) -> dict[str, Any]:
    record = {name: draw.uniform(-10, 4_000) if isinstance(value, float) else value for name, value in plain.items()}
    record |= {"ServerIP": draw.choice(servers), "linearTrend": draw.random()}
    day, hour = draw.randrange(1, 31), draw.randrange(24)
    record["SessionStartHourTime"] = (
        f"{draw.choice(['2016', '0099', '9999'])}-06-{day:02d}{draw.choice(' T')}{hour:02d}:00:00"
    )
    calendar = {"month": 12, "weekofyear": 53, "dayofmonth": 31, "dayofweek": 7}
    record |= {name: draw.randint(1, most) for name, most in calendar.items()}
    return record | {"hourofday": hour, "Holiday": draw.randrange(2), "Morning": draw.randrange(2)}


if __name__ == "__main__":
    main()
