"""What a run was asked to be: its command line and variables as they are here, and what ends it elsewhere."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from typing import IO, Any

from .state import below, read_json

#: The exit code of a command that could not end what works elsewhere; with others that is gone already, or was never.
NOT_ENDED = 75
#: Seconds that each command has which ends a run elsewhere.
_ELSEWHERE_S = 60.0
#: What a script is told about its run, in variables: its id, where it logs to, and not to keep its output back.
LOG_VARIABLE = "LOADCAST_RUN_LOG"
OF_THE_RUN = ("LOADCAST_RUN_ID", LOG_VARIABLE, "PYTHONUNBUFFERED")


class Request:
    """The request in a run's folder."""

    def __init__(self, base: str, folder: str) -> None:
        self._base, self._folder = base, folder
        self.content: dict[str, Any] = read_json(os.path.join(folder, "request.json"))

    def argv(self) -> list[str]:
        """The command line."""
        return [self._word(word) for word in self.content["argv"]]

    def environment(self) -> dict[str, str]:
        """The script's variables: the machine's, those of its run, the request's."""
        run, log, unbuffered = OF_THE_RUN
        own = {run: os.path.basename(self._folder), log: os.path.join(self._folder, "logged.jsonl"), unbuffered: "1"}
        asked = {name: self._word(word) for name, word in self.content.get("environment", {}).items()}
        return {**os.environ, **own, **asked}

    def end_elsewhere(self, log: IO[bytes]) -> bool:
        """Run what ends the script where it works elsewhere: in a container, as an application of a cluster.

        Returns whether nothing says that it may still be there.
        """
        is_ended = True
        commands: Sequence[Sequence[Any]] = self.content.get("onCancel", [])
        for words in commands:
            argv = [self._word(word) for word in words]
            try:
                done = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, timeout=_ELSEWHERE_S)
                is_ended &= done.returncode != NOT_ENDED
            except (OSError, subprocess.TimeoutExpired) as error:
                log.write(f"{argv[0]}: {error}\n".encode("utf-8", "replace"))
                is_ended &= isinstance(error, OSError)  # what is not there has started nothing
        return is_ended

    def _word(self, word: Any) -> str:
        """A word of a command line as it is here: a text, or parts, some of them {"at": path} or {"id": name}.

        `run` is the run's id; `python` and `agent` are what runs the agent, and its file.
        """
        return word if isinstance(word, str) else "".join(map(self._part, word))

    def _part(self, part: Any) -> str:
        if isinstance(part, str):
            return part
        if "at" in part:
            return self._path(part["at"])
        known = {"run": os.path.basename(self._folder), "python": sys.executable, "agent": os.path.abspath(sys.argv[0])}
        return known[part["id"]]

    def _path(self, path: str) -> str:
        if path.startswith(("/", "~")):
            return os.path.expanduser(path)
        first, _, rest = path.partition("/")
        root = self._folder if first == "@run" else self._base
        inside = rest if first == "@run" else path
        return below(root, inside) if inside else root
