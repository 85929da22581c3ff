"""What is searched: the settings of the model family, and feature sets, each as values or as a range; trials of it.

Trials are drawn at random, which finds as good ones as a grid does in a fraction of its trials (Bergstra and Bengio,
Random Search for Hyper-Parameter Optimization, 2012). Draws have a fixed seed: the same space gives the same trials.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from pydantic import BaseModel

from loadcast.artefacts.document import DocumentError, decode
from loadcast.errors import ConfigError
from loadcast.models.registry import check_rows
from loadcast.rules import Rules
from loadcast.secrets import shown
from loadcast.settings import Settings, parse_settings
from loadcast.system.small_files import read_small_file

FEATURE_SET, SEED = "featureSet", "seed"
_MOST_BYTES = 1 << 20
_MOST_VALUES = 1_000
_DIGITS = 3
_SEED = 1
_OTHER_SEEDS = 2
#: So many draws in a row that were all drawn before: there are no others, or hardly any.
_PATIENCE = 1_000
_WANTED = 'a list of values, or {"low": …, "high": …}, with "log": true where small values are to be drawn as finely'

#: What is searched of loadcast's own families unless a space is given.
_SPACES: dict[str, dict[str, Any]] = {
    "boosted": {
        "numRounds": {"low": 40, "high": 240, "log": True},
        "maxDepth": {"low": 2, "high": 7},
        "learningRate": {"low": 0.02, "high": 0.2, "log": True},
        "subsample": {"low": 0.3, "high": 1.0},
        "colsampleByTree": {"low": 0.1, "high": 0.8},
        "minChildWeight": {"low": 5.0, "high": 300.0, "log": True},
        "regLambda": {"low": 0.5, "high": 100.0, "log": True},
    },
    "forest": {
        "numTrees": [50, 100, 200],
        "maxDepth": {"low": 5, "high": 16},
        "featureSubsetStrategy": ["sqrt", "onethird", "0.5"],
        "minInstancesPerNode": {"low": 1, "high": 60, "log": True},
        "randomSplits": [False, True],
    },
}
_SETS = ("direct", "extended")
_WANTED_SET = (
    "wanted direct, extended, or another set that simulates cutoffs: each fold learns bounds and features anew."
)


@dataclass(frozen=True)
class Trial:
    """Settings to try: what differs from the configuration, by key; none of trial 0, the configuration as it stands.

    Controls differ in the seed alone: how much they differ says what the seed makes of any settings.
    """

    number: int
    changes: Mapping[str, Any]
    settings: Settings


@dataclass(frozen=True)
class SearchSpace:
    """By key what it may be: a list of values, or a range as `low`, `high` and `log`. Made by `of`, which checks it."""

    settings: Settings
    choices: Mapping[str, Any]

    @classmethod
    def of(cls, settings: Settings, choices: Mapping[str, Any] | None = None, source: str = "The space") -> SearchSpace:
        """The space of a configuration; None: the usual one of its family and set.

        Raises ConfigError, for settings that cannot be fitted in one process as well.
        """
        check_rows(settings)
        found = _usual(settings) if choices is None else choices
        space = cls(settings, found)
        known = space.known()
        if not found:
            raise ConfigError(f"{source}: found no key, wanted one or more of {', '.join(known)}.")
        for key, choice in found.items():
            if key not in known:
                raise ConfigError(
                    f"{source}: found the key {shown(repr(key), 100)}, wanted one or more of {', '.join(known)}: what "
                    f"can be tuned of model {settings.model}."
                )
            space._check(key, choice, source)
        return space

    def known(self) -> list[str]:
        """The keys that can be searched: those of the family's settings but the seed, and the feature set."""
        return [*(name for name in _values(_own(self.settings)) if name != SEED), FEATURE_SET]

    @property
    def controls(self) -> int:
        """How many of the first trials are the configuration as it stands, with its own and with other seeds."""
        return 1 if _own(self.settings) is None else 1 + _OTHER_SEEDS

    def trials(self, number: int) -> list[Trial]:
        """The first `number` trials, or all that there are; no two are the same, and the controls come first."""
        drawn: list[Trial] = []
        seen: set[tuple[Any, ...]] = set()
        now = {key: value_of(self.settings, key) for key in (*self.choices, *([SEED] if self.controls > 1 else []))}
        for values in self._draws():
            changes = {key: value for key, value in values.items() if value != now[key]}
            kind = tuple(changes.items())
            if kind in seen:
                continue
            seen.add(kind)
            drawn.append(Trial(len(drawn), changes, with_changes(self.settings, changes)))
            if len(drawn) == number:
                break
        return drawn

    def _draws(self) -> Iterator[dict[str, Any]]:
        """The controls, then draws without end, or until those of a while were all drawn before."""
        yield {}
        yield from self._seeds()
        random, seen, repeated = Random(_SEED), set(), 0
        while repeated < _PATIENCE:
            values = {key: self._drawn(key, choice, random.random()) for key, choice in self.choices.items()}
            kind = tuple(values.values())
            repeated = repeated + 1 if kind in seen else 0
            seen.add(kind)
            yield values

    def _seeds(self) -> list[dict[str, Any]]:
        """What the controls but the first change."""
        if self.controls == 1:
            return []
        seed = value_of(self.settings, SEED)
        # Near 2³¹, the largest seed, downwards.
        step = 1 if seed < 2**30 else -1
        return [{SEED: seed + step * number} for number in range(1, self.controls)]

    def _drawn(self, key: str, choice: Any, share: float) -> Any:
        """The value at a share from 0 to below 1 of what a key may be."""
        if isinstance(choice, list):
            return choice[int(share * len(choice))]
        low, high = choice["low"], choice["high"]
        if isinstance(value_of(self.settings, key), int):
            # Each whole number has a piece of its own.
            return min(high, max(low, round(_between(low - 0.5, high + 0.5, share, choice.get("log", False)))))
        return min(high, max(low, float(f"{_between(low, high, share, choice.get('log', False)):.{_DIGITS}g}")))

    def _check(self, key: str, choice: Any, source: str) -> None:
        """Raise ConfigError where a key may not be what its choice says."""
        where = f"{source}, {key}"
        if isinstance(choice, list):
            if not 1 <= len(choice) <= _MOST_VALUES:
                raise ConfigError(f"{where}: found {len(choice):,} values, wanted 1 to {_MOST_VALUES:,}.")
            values = choice
        else:
            values = self._ends(key, choice, where)
        for value in values:
            misplaced = isinstance(value, bool) and not isinstance(value_of(self.settings, key), bool)
            if misplaced or isinstance(value, list | dict) or value is None:
                raise ConfigError(f"{where}: found {shown(repr(value), 100)}, wanted a number or a text.")
            changed = with_changes(self.settings, {key: value}, where)
            if key == FEATURE_SET and not Rules.of(changed).features.simulates_cutoffs:
                raise ConfigError(f"{where}: found {value!r}, {_WANTED_SET}")
            self._check_fit(changed, where)

    @staticmethod
    def _check_fit(changed: Settings, where: str) -> None:
        """Raise ConfigError for settings that no trial could be fitted with, beside those that no configuration has."""
        try:
            check_rows(changed)
        except ConfigError as error:
            raise ConfigError(f"{where}: {error}") from error

    def _ends(self, key: str, choice: Any, where: str) -> list[Any]:
        """The ends of a range. Raises ConfigError for what is none."""
        is_range = isinstance(choice, dict) and {"low", "high"} <= choice.keys() <= {"low", "high", "log"}
        if not is_range or not isinstance(choice.get("log", False), bool):
            raise ConfigError(f"{where}: found {shown(repr(choice), 100)}, wanted {_WANTED}.")
        ends = [choice["low"], choice["high"]]
        now = value_of(self.settings, key)
        number = int if isinstance(now, int) else int | float
        if isinstance(now, str) or any(isinstance(end, bool) or not isinstance(end, number) for end in ends):
            kind = "a list of values" if isinstance(now, str) else f"ends that are {_kind(now)}"
            raise ConfigError(f"{where}: found {shown(repr(choice), 100)}, wanted {kind}.")
        if not ends[0] < ends[1]:
            raise ConfigError(f"{where}: found low {ends[0]} and high {ends[1]}, wanted low below high.")
        if choice.get("log") and not ends[0] > 0:
            raise ConfigError(f'{where}: found low {ends[0]} with "log": true, wanted a low above 0.')
        return ends


def load_space(path: str | os.PathLike[str], settings: Settings) -> SearchSpace:
    """The space that a file (JSON) says. Raises ConfigError."""
    source = f"--space {shown(path)}"
    try:
        content = read_small_file(path, _MOST_BYTES + 1)
        if len(content) > _MOST_BYTES:
            raise DocumentError("it is larger than a space can be, 1 MB")
        choices = decode(content)
    except (OSError, ValueError) as error:  # a DocumentError is one
        reason = str(error) if isinstance(error, DocumentError) else getattr(error, "strerror", None) or "no such file"
        raise ConfigError(
            f"{source} cannot be read: {reason}. Wanted a JSON object of keys, each with {_WANTED}."
        ) from error
    return SearchSpace.of(settings, choices, source)


def with_changes(settings: Settings, changes: Mapping[str, Any], source: str = "of a trial") -> Settings:
    """The configuration with other values of keys of a space. Raises ConfigError for values that cannot be."""
    return parse_settings(nested(settings.document(), changes, settings.model), source) if changes else settings


def nested(document: Mapping[str, Any], changes: Mapping[str, Any], model: str) -> dict[str, Any]:
    """A configuration's document with other values of keys of a space, at their places."""
    own = {key: value for key, value in changes.items() if key != FEATURE_SET}
    sets = {FEATURE_SET: changes[FEATURE_SET]} if FEATURE_SET in changes else {}
    return {**document, **sets, **({model: {**document.get(model, {}), **own}} if own else {})}


def tuned_configuration(settings: Settings, changes: Mapping[str, Any]) -> bytes:
    """A configuration file: the keys that `settings` were given, with `changes` as `nested` gives them. Raises
    ConfigError for changes that cannot be."""
    given = settings.model_dump(mode="json", by_alias=True, exclude_unset=True)
    merged = {
        key: {**given.get(key, {}), **value} if isinstance(value, Mapping) else value for key, value in changes.items()
    }
    document = {**given, **merged}
    parse_settings(document, "with the tuned settings")
    return (json.dumps(document, indent=2) + "\n").encode()


def value_of(settings: Settings, key: str) -> Any:
    """What the configuration says of a key of a space."""
    own = _own(settings)
    return settings.feature_set if key == FEATURE_SET or own is None else _values(own)[key]


def _values(own: BaseModel | None) -> dict[str, Any]:
    """All settings of a family by key, those too that stand in a document only where they are set."""
    fields = {} if own is None else type(own).model_fields
    return {field.alias or name: getattr(own, name) for name, field in fields.items()}


def _own(settings: Settings) -> BaseModel | None:
    """The settings of the family; None of one without."""
    own = getattr(settings, settings.model, None) if settings.model in _SPACES else None
    return own if isinstance(own, BaseModel) else None


def _usual(settings: Settings) -> dict[str, Any]:
    sets = {FEATURE_SET: list(_SETS)} if settings.feature_set in _SETS else {}
    return {**_SPACES.get(settings.model, {}), **sets}


def _between(low: float, high: float, share: float, log: bool) -> float:
    """The number at a share of the way from low to high."""
    if log:
        return math.exp(math.log(low) + share * (math.log(high) - math.log(low)))
    return low + share * (high - low)


def _kind(value: object) -> str:
    return "whole numbers" if isinstance(value, int) else "numbers"
