"""Sample data: session logs as the original data is, seeded and reproducible."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from loadcast.sample.spec import SampleSpec
    from loadcast.sample.write import SampleSummary, write_sample

__all__ = ["SampleSpec", "SampleSummary", "write_sample"]


def __getattr__(name: str) -> Any:
    # Writing needs numpy, which a command's help text must not wait for.
    from importlib import import_module

    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module("loadcast.sample.spec" if name == "SampleSpec" else "loadcast.sample.write"), name)
