"""Whether the service's memory stays flat over a million scored records and a hundred thousand faulty requests.

Private memory of both workers, after a warm-up and then after each tenth of the requests.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

from bench.bench_serve import HOURS, LUA, batch, children, example, private_megabytes, running, service
from bench.data import ROOT

_STEPS = 10
_CONNECTIONS = 4


def main() -> None:
    """Ask, measure, print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--records", type=int, default=1_000_000)
    options.add_argument("--faults", type=int, default=100_000)
    chosen = options.parse_args()
    plain = batch(example())
    faulty = [*plain[:3], {**plain[3], "hourofday": "x", "strange": 1}]
    with (
        TemporaryDirectory(prefix="loadcast-bench-") as name,
        running(service("", ROOT, ROOT / "Model")) as (port, _, process),
    ):
        url = f"http://127.0.0.1:{port}/score"
        for title, records, number in (
            ("scored", plain, -(-chosen.records // HOURS)),
            ("refused", faulty, chosen.faults),
        ):
            script = _script(Path(name), title, records)
            _ask(script, url, number // _STEPS)
            sizes = [_megabytes(process)]
            for _ in range(_STEPS):
                _ask(script, url, number // _STEPS)
                sizes.append(_megabytes(process))
            print(f"{number:,} requests {title}: {', '.join(f'{size:.1f}' for size in sizes)} MB", flush=True)


def _script(folder: Path, title: str, records: list[dict[str, object]]) -> Path:
    body = folder / f"{title}.json"
    body.write_text(json.dumps(records))
    script = folder / f"{title}.lua"
    script.write_text(LUA.format(body=body))
    return script


def _ask(script: Path, url: str, number: int) -> None:
    """At least so many requests: wrk counts seconds, not requests."""
    asked = 0
    while asked < number:
        command = ["wrk", "-t1", f"-c{_CONNECTIONS}", "-d2s", "-s", str(script), url]
        said = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        asked += next(int(line.split()[0]) for line in said.splitlines() if " requests in " in line)


def _megabytes(process: subprocess.Popen[bytes]) -> float:
    return sum(private_megabytes(pid) for pid in children(process.pid))


if __name__ == "__main__":
    sys.exit(main())
