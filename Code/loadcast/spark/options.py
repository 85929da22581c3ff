"""How Spark is to be started; apart from the session, so that naming the options does not import pyspark."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class SparkOptions:
    """How Spark is started. `extra` are Spark settings that win over ours."""

    master: str | None = None
    show_log: bool = False
    extra: dict[str, str] = field(default_factory=dict)
