"""What the files of `aml_config/` have in common: names, grammars of fields, and faults that name the nearest field."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, ValidationError

from loadcast.errors import ConfigError
from loadcast.secrets import shown, without_secrets

Model = TypeVar("Model", bound=BaseModel)

FOLDER = "aml_config"
#: A target or run configuration has a name of this pattern, which is that of its files as well: it can be no path.
NAME = r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}"
_LONGEST_PATH = 4096
_SHOWN_CHARACTERS = 100
_SHOWN_FAULTS = 20
#: Faults that pydantic says in words of its own.
_WANTED = {
    "missing": "found nothing, wanted a value",
    "string_type": "wanted text",
    "bool_type": "wanted true or false",
    "int_type": "wanted a whole number",
    "dict_type": "wanted a mapping of names and values",
    "tuple_type": "wanted a list",
    "list_type": "wanted a list",
    "too_short": "wanted at least one",
}

#: Frozen, strict, and silent about values in pydantic's own errors, as a value may be a secret.
CONFIG = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


def matching(pattern: str, wanted: str) -> AfterValidator:
    """A validator of text that has to match all of a pattern; `wanted` says what that is."""
    compiled = re.compile(pattern)

    def check(value: str) -> str:
        if not compiled.fullmatch(value):
            raise ValueError(f"wanted {wanted}")
        return value

    return AfterValidator(check)


def inside(wanted: str) -> AfterValidator:
    """A validator of paths that have to stay inside a folder; `wanted` says which."""

    def check(value: str) -> str:
        path = PurePosixPath(value)
        if path.is_absolute() or ".." in path.parts or value.startswith("~"):
            raise ValueError(f"wanted {wanted}")
        return value

    return AfterValidator(check)


def _number_as_text(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _list_as_tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


#: Text, for which whole numbers may stand without quotes.
Text = Annotated[str, BeforeValidator(_number_as_text)]


def _without_secret(value: str) -> str:
    if without_secrets(value) != value:
        raise ValueError("wanted no signature, key or password in it")
    return value


#: A path or command that becomes a word of a command line: no option, and nothing that could drive a terminal.
PathText = Annotated[
    Text,
    matching(rf"(?!-)[^\x00-\x1f\x7f]{{1,{_LONGEST_PATH}}}", "a path without control characters that begins with no -"),
    AfterValidator(_without_secret),
]
ListAsTuple = BeforeValidator(_list_as_tuple)


def checked_name(name: str, kind: str) -> str:
    """The name. Raises ConfigError where a `kind` cannot have it."""
    if not re.fullmatch(NAME, name):
        raise ConfigError(
            f"{kind} {shown(repr(name), _SHOWN_CHARACTERS)}: wanted a name of up to 64 letters, digits, and the signs "
            ". _ -, which begins with a letter or digit."
        )
    return name


def validated(
    model: type[Model], data: Mapping[str, Any], source: str, explained: Mapping[str, str] | None = None
) -> Model:
    """A file's fields as a model: one with nothing after it is as good as not there.

    `explained` says of fields that are not taken what to write instead.
    No message shows the values of fields with `repr=False`: they may be secrets. Raises ConfigError that names the
    source, and each fault: one on the same line, several on a line each.
    """
    try:
        return model.model_validate({name: value for name, value in data.items() if value is not None})
    except ValidationError as error:
        faults = [
            _described(fault, model, data, explained or {})
            for fault in error.errors(include_url=False, include_context=False, include_input=False)
        ]
    if len(faults) == 1:
        raise ConfigError(f"{source}: {faults[0]}.")
    more = [f"  and {len(faults) - _SHOWN_FAULTS} more"] if len(faults) > _SHOWN_FAULTS else []
    raise ConfigError(f"{source} cannot be used:", *(f"  {fault}" for fault in faults[:_SHOWN_FAULTS]), *more)


def nearest(word: str, known: list[str], kind: str = "field") -> str:
    """A hint at the known word that is nearest to one that is not known, else at all of them."""
    lowered = {name.lower(): name for name in known}
    near = difflib.get_close_matches(word.lower()[:_SHOWN_CHARACTERS], lowered, n=1, cutoff=0.6)
    return f"the nearest known {kind} is {lowered[near[0]]}" if near else f"known {kind}s: {', '.join(known)}"


def _described(fault: Any, model: type[BaseModel], data: Mapping[str, Any], explained: Mapping[str, str]) -> str:
    """One fault as `field: found …, wanted …`."""
    location = [str(part) for part in fault["loc"] if part != "[key]"]
    field = ".".join(shown(part, _SHOWN_CHARACTERS) for part in location)
    if fault["type"] == "extra_forbidden":
        if location[0] in explained:
            return f"{field}: {explained[location[0]]}"
        return f"{field}: an unknown field; {nearest(location[0], _names(model))}"
    wanted = _WANTED.get(fault["type"]) or _wanted(str(fault["msg"]))
    if not location:
        return wanted
    if fault["type"] == "missing" or _is_hidden(model, location[0]):
        return f"{field}: {wanted}"
    return f"{field}: found {shown(repr(_value_at(fault['loc'], data)), _SHOWN_CHARACTERS)}, {wanted}"


def _wanted(message: str) -> str:
    """A message of pydantic's in the words of ours."""
    message = re.sub(r"^[A-Z]\w* should be ", "wanted ", message.removeprefix("Value error, "))
    return re.sub(r"^[A-Z]\w* should ", "wanted it to ", message)


def _names(model: type[BaseModel]) -> list[str]:
    return [field.alias or name for name, field in model.model_fields.items()]


def _is_hidden(model: type[BaseModel], alias: str) -> bool:
    """Whether a field is left out of the model's repr, as what stands in it may be a secret."""
    return any(not field.repr for name, field in model.model_fields.items() if (field.alias or name) == alias)


def _value_at(location: tuple[int | str, ...], data: Any) -> Any:
    for part in location:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            break
    return data
