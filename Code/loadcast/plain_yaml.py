"""YAML that people write by hand: plain values, read whole and within bounds.

Aliases are refused, as what stands for other parts of a file could make it grow without bounds; so are keys that stand
in a mapping twice.
"""

from __future__ import annotations

import os
from collections.abc import Hashable
from typing import Any

import yaml

from loadcast.errors import ConfigError
from loadcast.system.small_files import read_small_file

#: No file of settings that somebody wrote is larger.
MAX_BYTES = 64 << 10
_LONGEST_REASON = 200
#: What people write by hand has a few levels; PyYAML takes seconds for thousands of them.
_MOST_LEVELS = 100


class PlainLoader(yaml.SafeLoader):
    """Numbers, words, lists and mappings, each written out where it stands."""

    _levels = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.YAMLError("an alias (*name) stands in it; write the value itself")
        if self._levels == _MOST_LEVELS:
            raise yaml.YAMLError(f"it is too deep, more than {_MOST_LEVELS} levels")
        self._levels += 1
        node = super().compose_node(parent, index)
        self._levels -= 1
        return node

    def construct_object(self, node: yaml.Node, deep: bool = False) -> Any:
        try:
            return super().construct_object(node, deep)
        except (AttributeError, LookupError) as error:  # PyYAML looks into a value that a tag says nothing true of
            raise yaml.YAMLError(f"a tag (!!name) does not fit its value, line {node.start_mark.line + 1}") from error

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else ():
            if not isinstance(key, yaml.ScalarNode):
                raise yaml.YAMLError("a list or mapping stands in it as a key; wanted text")
            if key.value in keys:
                raise yaml.YAMLError(f"the key {key.value[:100]!r} stands in it twice")
            keys.add(key.value)
        return super().construct_mapping(node, deep)


def read_yaml(
    path: str | os.PathLike[str], kind: str, example: str, loader: type[yaml.SafeLoader] = PlainLoader
) -> Any:
    """What stands in a file of at most MAX_BYTES; None for an empty one.

    Raises ConfigError, which begins with `kind` and the path, names the `example` where there is no file, and quotes
    no value, as that may be a secret.
    """
    try:
        content = read_small_file(path, MAX_BYTES + 1)
        if len(content) > MAX_BYTES:
            raise ConfigError(f"{kind} {path}: larger than such a file can be, {MAX_BYTES >> 10} kB.")
        return yaml.load(content.decode("utf-8-sig"), loader)
    except OSError as error:
        raise ConfigError(f"{kind} {path}: {error.strerror}. Wanted a YAML file such as {example}.") from error
    except (yaml.YAMLError, ValueError) as error:
        raise ConfigError(f"{kind} {path}: the file is not plain YAML: {_reason(error)}.") from error


def _reason(error: Exception) -> str:
    """Why YAML could not be read, on one line, without what stands in the file."""
    if isinstance(error, yaml.MarkedYAMLError) and error.problem_mark:
        said = " ".join(filter(None, (error.context, error.problem)))[:_LONGEST_REASON]
        return f"{said}, line {error.problem_mark.line + 1}"
    if type(error) is ValueError:  # as Python says it of a number of thousands of digits
        return "a number or date in it cannot be"
    return str(error).splitlines()[0][:_LONGEST_REASON]
