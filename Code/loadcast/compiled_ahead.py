"""Compiles all kernels into the cache: `python -m loadcast.compiled_ahead`, before workers need them."""

from __future__ import annotations

from loadcast.kernels import moments, scan
from loadcast.models import boosted_walk, forest_growth, walk


def main() -> None:
    """Compile what is not compiled yet, for this machine's processor, where compiled_cache.py keeps it."""
    scan.load()
    moments.compiled_adding()
    walk.compiled_walk()
    boosted_walk.compiled_walk()
    forest_growth.load_kernels()


if __name__ == "__main__":
    main()
