"""How Spark is to be started; apart from the session, so that naming the options does not import pyspark."""

from __future__ import annotations

import re
from dataclasses import field

from pydantic import ConfigDict, StrictBool
from pydantic.alias_generators import to_camel
from pydantic.dataclasses import dataclass

from loadcast.secrets import redacted

#: What Spark itself hides in its logs, and the keys of hadoop-azure.
_SECRET = re.compile(r"(?i)secret|password|token|access[.]?key|account[.]key[.]|[.]sas[.]")
#: Settings with such a word that say how, or where, a secret is to be had.
_NO_SECRET = re.compile(r"(?i)(file|path|enabled)$|provider")


@dataclass(frozen=True, config=ConfigDict(extra="forbid", alias_generator=to_camel, populate_by_name=True))
class SparkOptions:
    """How Spark is started. `extra` are Spark settings that win over ours."""

    master: str | None = None
    show_log: StrictBool = False
    extra: dict[str, str] = field(default_factory=dict)


def names_secret(setting: str) -> bool:
    """Whether a Spark setting of this name holds a secret."""
    return _SECRET.search(setting) is not None and _NO_SECRET.search(setting) is None


def holds_secret(value: str) -> bool:
    """Whether a setting's value is, or has in it, what can be told as a secret by its form."""
    return redacted(value) != value
