"""`init` and `run` of a tree's webservice.py in process: microseconds of a batch, the best of many."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

from webservice import init, run

_ROUNDS, _BATCHES = 15, 40


def main() -> None:
    """Score the body in a file with the model in a folder, and say how long it took."""
    model, body = sys.argv[1], Path(sys.argv[2]).read_bytes()
    init(model)
    rounds = []
    for _ in range(_ROUNDS):
        begin_s = time.perf_counter()
        for _ in range(_BATCHES):
            run(body)
        rounds.append((time.perf_counter() - begin_s) / _BATCHES)
    print(json.dumps({"microseconds": min(rounds) * 1e6}))


if __name__ == "__main__":
    main()
