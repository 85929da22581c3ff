"""What all tests share: the way to import, the hypothesis profile, and one Spark session."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import hypothesis
import pytest

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

ROOT = Path(__file__).resolve().parent.parent
IMPORT_FOLDERS = (ROOT / "Code", ROOT / "tests", ROOT / "tests" / "support", ROOT)

# Spark's Python workers are new processes: they must find what the tests found.
os.environ["PYTHONPATH"] = os.pathsep.join(map(str, IMPORT_FOLDERS))
os.environ["PYSPARK_PYTHON"] = os.environ["PYSPARK_DRIVER_PYTHON"] = sys.executable
# Tests' forests are small: without the optimizing compiler, which takes a core for itself, a JVM has grown them sooner.
os.environ.setdefault("SPARK_SUBMIT_OPTS", "-XX:TieredStopAtLevel=1")

hypothesis.settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
hypothesis.settings.register_profile(
    "search", max_examples=int(os.environ.get("HYPOTHESIS_EXAMPLES", "2000")), deadline=None, print_blob=True
)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "ci"))


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    """One Spark on two cores for all tests, with its files in a temporary folder."""
    from loadcast.spark.session import SparkOptions, create_session

    folder = tmp_path_factory.mktemp("spark")
    options = SparkOptions(
        master="local[2]",
        extra={
            "spark.sql.warehouse.dir": str(folder / "warehouse"),
            "spark.local.dir": str(folder / "local"),
            "spark.sql.shuffle.partitions": "2",
            "spark.default.parallelism": "2",
        },
    )
    session = create_session("loadcast-tests", options)
    yield session
    session.stop()


# A shell's background job ignores SIGINT, one under nohup SIGHUP, and all that it starts inherits that, as would the
# commands that these tests stop.
for _signum, _default in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    if signal.getsignal(_signum) is signal.SIG_IGN:
        signal.signal(_signum, _default)
