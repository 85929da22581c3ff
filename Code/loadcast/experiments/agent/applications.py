"""Applications of YARN that a run has submitted, ended from outside."""

from __future__ import annotations

import os
import re
import shutil

from .environments import tool_output
from .state import Refused, run_folder

#: In a run's folder: which application it is; empty where that was not told yet.
APPLICATION = "application"
_ID = re.compile(r"\bapplication_[0-9]+_[0-9]+\b")
_ALIVE = "NEW,NEW_SAVING,SUBMITTED,ACCEPTED,RUNNING"


def tag_of(run: str) -> str:
    """The tag, and name, of a run's application; YARN has tags in small letters."""
    return f"loadcast-{run}".lower()


def end_application(base: str, run: str) -> None:
    """Kill a run's application, if it has submitted one. Raises Refused where YARN's command is missing or fails."""
    path = os.path.join(run_folder(base, run), APPLICATION)
    if not os.path.exists(path):  # nothing was submitted
        return
    with open(path, encoding="ascii") as file:
        named = file.read().split()
    for application in named or _find(run):
        _yarn("-kill", application)


def _find(run: str) -> list[str]:
    return sorted({*_ID.findall(_yarn("-list", "-appStates", _ALIVE, "-appTags", tag_of(run)))})


def _yarn(*words: str) -> str:
    program = shutil.which("yarn")
    if program is None:
        raise Refused("yarn: found no such command here, wanted it to end the run's application")
    return tool_output([program, "application", *words], f"yarn application {words[0]}")
