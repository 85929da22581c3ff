"""What a target is asked to do for a script: pure, so that it can be looked at without any machine."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

#: A word of a command line: a text, or texts, paths on the target and the run's id, put together there.
Word = str | Sequence[str | Mapping[str, str]]

#: The run's id.
RUN_ID: Mapping[str, str] = {"id": "run"}
#: The words that call the agent there, before the command.
AGENT: tuple[Word, ...] = (({"id": "python"},), ({"id": "agent"},), ({"at": ""},))


def at(path: str) -> Mapping[str, str]:
    """A path below the agent's folder; `@run` is the run's own, and what begins with / or ~ any path of the machine."""
    return {"at": path}


@dataclass(frozen=True)
class Plan:
    """A command line, the variables it gets, and what ends it where it works elsewhere than in its own processes."""

    argv: tuple[Word, ...]
    environment: Mapping[str, Word] = field(default_factory=dict)
    on_cancel: tuple[tuple[Word, ...], ...] = ()

    def request(self, entries: Sequence[tuple[str, str, bool]]) -> dict[str, Any]:
        """As the agent is asked, with the files [path, sha256, executable] of the working directory."""
        return {
            "argv": [*self.argv],
            "environment": dict(self.environment),
            "onCancel": [[*words] for words in self.on_cancel],
            "entries": [[*entry] for entry in entries],
        }
