"""As daemon.py, for the workers of training: they score, and do not scan."""

from __future__ import annotations

import loadcast.spark.scoring  # noqa: F401
from loadcast.models import walk
from loadcast.spark.forking import fork_workers


def main() -> None:
    """Fork workers for training until Spark ends."""
    fork_workers(walk.load)


if __name__ == "__main__":
    main()
