"""The YAML files of `aml_config/`: mappings of fields, taken as they are written and replaced whole."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from loadcast.errors import ConfigError, OutputError
from loadcast.plain_yaml import PlainLoader, read_yaml
from loadcast.system.small_files import replace_file

_MODE = 0o644
_WORDS = re.compile(r"(true|True|TRUE|false|False|FALSE)\Z")
_NOTHING = re.compile(r"(~|null|Null|NULL|)\Z")
_WHOLE_NUMBER = re.compile(r"(0|-?[1-9][0-9]*)\Z")


#: By the first sign of what is written.
_RESOLVERS = {
    **{sign: [("tag:yaml.org,2002:bool", _WORDS)] for sign in "tTfF"},
    **{sign: [("tag:yaml.org,2002:null", _NOTHING)] for sign in ("~", "n", "N", "")},
    **{sign: [("tag:yaml.org,2002:int", _WHOLE_NUMBER)] for sign in "-0123456789"},
}


class _WrittenLoader(PlainLoader):
    """Takes what is written: YAML 1.1 would make 8 of 010, 90 of 1:30, false of no, and a date of 2016-06-01.

    Only true and false, null, and whole numbers in their plain form are not text.
    """

    yaml_implicit_resolvers = _RESOLVERS


class _Dumper(yaml.SafeDumper):
    """Writes text with control characters as escapes: PyYAML reads some of them, such as NEL, not as it wrote them."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        style = None if text.isprintable() else '"'
        return self.represent_scalar("tag:yaml.org,2002:str", text, style)


_Dumper.add_representer(str, _Dumper.represent_text)


def read_mapping(
    path: str | os.PathLike[str], kind: str = "File", example: str = "those in aml_config"
) -> dict[str, Any]:
    """The fields of a file; none for an empty one. `kind` is what the file is called in a message.

    Raises ConfigError, one line that names the file and quotes no value.
    """
    data = read_yaml(path, kind, example, _WrittenLoader)
    if data is None:
        return {}
    if not isinstance(data, dict):
        raise ConfigError(f"{kind} {path}: found a {type(data).__name__}, wanted fields and values, as in {example}.")
    wrong = [key for key in data if not isinstance(key, str)]
    if wrong:
        raise ConfigError(f"{kind} {path}: found a field named {str(wrong[0])[:100]!r}, wanted text.")
    return data


def write_mapping(path: str | os.PathLike[str], mapping: Mapping[str, Any], heading: str) -> None:
    """Write fields in their order, below `heading` as a comment; another file of that name is replaced whole.

    Values are text, whole numbers, true and false, None, and lists and mappings of them: they are read as they were.
    Raises OutputError.
    """
    text = yaml.dump(dict(mapping), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=sys.maxsize)
    comment = "".join(f"# {line}".rstrip() + "\n" for line in heading.splitlines())
    file = Path(path)
    try:
        replace_file(file, (comment + text).encode(), _MODE)
    except OSError as error:
        raise OutputError(f"Cannot write {file}: {error.strerror or error}.") from error
