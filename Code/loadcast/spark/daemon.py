"""Where Spark's Python workers come from on one machine: a process that has imported what they need, and forks them.

Spark's own daemon forks bare workers, each of which then spends a second or two on the same imports. This one is ETL's.
Named in `spark.python.daemon.module`.
"""

from __future__ import annotations

import loadcast.spark.encoding
import loadcast.spark.scan  # noqa: F401
from loadcast.kernels import moments as moment_kernel
from loadcast.kernels import scan as scan_kernel
from loadcast.spark.forking import fork_workers


def main() -> None:
    """Fork workers for ETL until Spark ends."""
    fork_workers(_prepare)


def _prepare() -> None:
    scan_kernel.load()
    moment_kernel.compiled_adding()


if __name__ == "__main__":
    main()
