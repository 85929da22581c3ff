"""How long each family of models takes to fit on the same made-up rows, and to answer 48 of them.

    PYTHONPATH=tests:tests/support .venv/bin/python -m bench.fit_families [ROWS COLUMNS [FAMILY...]]

Fits take turns in one session, so all but the first find Java's code compiled; seconds of each fit are printed.
"""

from __future__ import annotations

import sys
import tempfile
import time
from datetime import datetime
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from loadcast import paths, schema
from loadcast.models.registry import family_named, load_model
from loadcast.models.saved import read_saved
from loadcast.settings import parse_settings
from loadcast.spark import fitting
from loadcast.spark.options import SparkOptions
from loadcast.spark.session import create_session

FILES, ROUNDS, ASKED = 4, 2, 300
SPLIT = datetime(2017, 1, 1)


def write_rows(folder: Path, rows: int, columns: int) -> list[str]:
    """Rows of three classes that follow from a few hidden numbers, one value in twenty missing; gives the features."""
    rng = np.random.default_rng(1)
    names = [f"f{number}" for number in range(columns)]
    weights = rng.normal(size=(6, columns))
    for number in range(FILES):
        hidden = rng.normal(size=(rows // FILES, 6))
        matrix = hidden @ weights + 1.5 * rng.normal(size=(len(hidden), columns))
        matrix[rng.random(matrix.shape) < 0.05] = schema.MISSING
        score = hidden[:, 0] + 0.7 * hidden[:, 1] * hidden[:, 2] + rng.normal(size=len(hidden))
        hours = np.datetime64("2016-01-01", "us") + np.arange(len(hidden)) % 2000 * np.timedelta64(1, "h")
        table = {schema.HOUR: hours, schema.OBSERVED: np.ones(len(hidden), bool)}
        labels = 1 + (score > 0.3).astype(np.int32) + (score > 1.3)
        pq.write_table(
            pa.table({**table, schema.LABEL: labels, **dict(zip(names, matrix.T, strict=True))}),
            folder / f"part-{number}.parquet",
        )
    return names


def answer_ms(folder: Path, columns: int) -> float:
    """The median of answering 48 rows by a saved model, in milliseconds."""
    model = load_model(read_saved(folder, [paths.FOREST_MODEL]), columns)
    model.warm()
    matrix, taken = np.random.default_rng(0).normal(size=(48, columns)), []
    for _ in range(ASKED):
        begin = time.perf_counter()
        model.predict(matrix)
        taken.append(time.perf_counter() - begin)
    return float(np.median(taken)) * 1e3


def main(rows: str = "150000", columns: str = "150", *families: str) -> None:
    settings = parse_settings({"dataFile": "none", "output": "none", "duration": "FULL"})
    with tempfile.TemporaryDirectory() as scratch:
        data = Path(scratch, "rows")
        data.mkdir()
        names = write_rows(data, int(rows), int(columns))
        spark = create_session("fit families", SparkOptions(master="local[2]"))
        training = fitting.training_rows(spark, str(data), names, SPLIT)
        for turn in range(ROUNDS):
            for name in families or ("boosted", "forest"):
                begin, folder = time.perf_counter(), Path(scratch, f"{name}-{turn}")
                save = fitting.fitting_of(family_named(name))(training, settings)
                fitted = time.perf_counter() - begin
                save((folder / paths.FOREST_MODEL).as_uri())
                print(f"{name}: fit {fitted:.1f} s, 48 rows {answer_ms(folder, len(names)):.2f} ms", flush=True)
        spark.stop()


if __name__ == "__main__":
    main(*sys.argv[1:])
