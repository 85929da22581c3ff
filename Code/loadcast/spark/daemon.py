"""Where Spark's Python workers come from on one machine: a process that has imported what they need, and forks them.

Spark's own daemon forks bare workers, each of which then spends a second or two on the same imports.
Named in `spark.python.daemon.module`.
"""

from __future__ import annotations

import gc

import pyarrow as pa
import pyspark.worker  # noqa: F401
from pyspark.daemon import manager

import loadcast.spark.encoding
import loadcast.spark.scan  # noqa: F401
from loadcast.kernels import moments as moment_kernel
from loadcast.kernels import scan as scan_kernel
from loadcast.log_relay import send_to_driver


def main() -> None:
    """Fork workers for Spark until it ends."""
    send_to_driver()
    pa.array([0])  # pyarrow imports pandas with its first array
    scan_kernel.load()
    moment_kernel.compiled_adding()
    # Spark's daemon collects garbage after every task: a tenth of a second, were all that was imported looked at.
    gc.freeze()
    manager()


if __name__ == "__main__":
    main()
