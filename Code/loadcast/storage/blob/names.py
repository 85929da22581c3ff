"""Glob patterns on the names of blobs: the same that storage/files has for local files."""

from __future__ import annotations

import fnmatch
import glob
import re
from collections.abc import Callable

#: Whether a part of a name fits; None stands for `**`, any number of folders.
_Part = Callable[[str], bool] | None


def fixed_prefix(pattern: str) -> str:
    """What all names that match begin with: of the pattern, all before its first sign that stands for others."""
    wildcard = re.search(r"[*?[]", pattern)
    return pattern[: wildcard.start()] if wildcard else pattern


def matcher(pattern: str) -> Callable[[str], bool]:
    """A test of names against a pattern: `*`, `?`, `[...]` within a part, `**` as a part for any number of folders.

    As for local files, names with a dot in front match only where the pattern has the dot, a `**` at the end is one
    with `/*` behind it, and a name that equals the pattern matches whatever signs it holds.
    """
    parts = [_part(text) for text in (f"{pattern}/*" if pattern.split("/")[-1] == "**" else pattern).split("/")]

    def matches(name: str) -> bool:
        return name == pattern or _fits(parts, name.split("/"))

    return matches


def _part(text: str) -> _Part:
    if text == "**":
        return None
    if not glob.has_magic(text):
        return text.__eq__
    fits = re.compile(fnmatch.translate(text)).match
    hidden = text.startswith(".")
    return lambda name: name.startswith(".") == hidden and fits(name) is not None


def _fits(parts: list[_Part], names: list[str]) -> bool:
    """Whether the parts of a pattern match those of a name, in time of at most their product."""
    reached = _skip({0}, parts)
    for name in names:
        after = set()
        for index in reached:
            part = parts[index] if index < len(parts) else _nothing
            if part is None:
                if not name.startswith("."):
                    after.add(index)
            elif part(name):
                after.add(index + 1)
        reached = _skip(after, parts)
    return len(parts) in reached


def _skip(reached: set[int], parts: list[_Part]) -> set[int]:
    """The indexes reached, with those behind `**`, which may stand for no folder at all."""
    waiting = sorted(reached)
    while waiting:
        index = waiting.pop()
        if index < len(parts) and parts[index] is None and index + 1 not in reached:
            reached.add(index + 1)
            waiting.append(index + 1)
    return reached


def _nothing(name: str) -> bool:
    return False
