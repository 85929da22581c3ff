"""Blocks of shell in our pages, run line by line in this process: MLflow, which takes seconds, is imported once."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path

from click.testing import CliRunner

from loadcast.cli.main import main

_VARIABLE = re.compile(r"\$\{?(\w+)\}?")
_ASSIGNED = re.compile(r"(?:(export) )?(\w+)=\$\((.*)\)")


def block_after(page: Path, anchor: str) -> list[str]:
    """The lines of the first shell block after an anchor, continued ones joined."""
    text = page.read_text(encoding="utf-8").partition(f'<a id="{anchor}">')[2]
    block = text.partition("```sh\n")[2].partition("```")[0]
    return [line for line in block.replace("\\\n", " ").splitlines() if line.strip()]


class DocShell:
    """Knows `cd`, `NAME=$(loadcast …)`, `export`, and `loadcast …`; anything else is an error."""

    def __init__(self, folder: Path, chdir: Callable[[Path], None], setenv: Callable[[str, str], None]) -> None:
        self._folder, self._chdir, self._setenv = folder, chdir, setenv
        self.variables: dict[str, str] = {}
        chdir(folder)

    def run(self, line: str) -> str:
        """Run a line, which has to end well; returns what it says."""
        assigned = _ASSIGNED.fullmatch(line.strip())
        if assigned:
            value = self._command(assigned[3]).strip()
            self.variables[assigned[2]] = value
            if assigned[1]:
                self._setenv(assigned[2], value)
            return value
        if line.startswith("cd "):
            self._folder = Path(os.path.normpath(self._folder / line[3:].strip()))
            self._chdir(self._folder)
            return ""
        return self._command(line)

    def _command(self, line: str) -> str:
        program, *words = shlex.split(_VARIABLE.sub(lambda match: self.variables[match[1]], line))
        assert program == "loadcast", line
        done = CliRunner().invoke(main, words)
        assert done.exit_code == 0, (line, done.output, done.exception)
        return done.stdout
