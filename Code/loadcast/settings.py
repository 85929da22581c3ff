"""The configuration of a run: read, typed and checked once, then frozen.

Keys keep the names of the public sample (`storageAccount`, `dataFile`, `duration`, …). An unknown key, a placeholder
(`xxx`) or a value that cannot be is a ConfigError that names the key, what was found and what is wanted.
"""

from __future__ import annotations

import json
import os
import re
from collections import Counter
from datetime import datetime, timedelta
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainSerializer,
    ValidationError,
    model_validator,
)
from pydantic.alias_generators import to_camel

from loadcast import schema
from loadcast.addresses import canonical_address
from loadcast.costs import Costs
from loadcast.errors import ConfigError
from loadcast.model_settings import BoostedSettings, ForestSettings
from loadcast.secrets import is_reference, shown
from loadcast.system.small_files import read_small_file

DEMO_SERVERS = ("115.220.193.16", "210.181.165.92")

#: Dates and thresholds that each duration stands for; a key given in the configuration wins over them.
DURATIONS: dict[str, dict[str, Any]] = {
    "ONE_MONTH": {
        "trainBegin": "2016-06-01 00:00:00",
        "trainEnd": "2016-06-30 23:59:59",
        "testSplitStart": "2016-06-29 00:00:00",
        "lowThreshold": 100.0,
        "highThreshold": 500.0,
    },
    "FULL": {
        "trainBegin": "2009-01-01 00:00:00",
        "trainEnd": "2016-06-30 23:59:59",
        "testSplitStart": "2016-06-01 00:00:00",
        "lowThreshold": 700.0,
        "highThreshold": 3500.0,
    },
    "CUSTOM": {"lowThreshold": 100.0, "highThreshold": 500.0},
}
#: A server's hours are complete from its first to its last: two stray sessions must not ask for thousands of years.
LONGEST_PERIOD_YEARS = 50
_MAX_CONFIG_BYTES = 1 << 20
_SHOWN_FAULTS = 20
_SHOWN_CHARACTERS = 100
_REQUIRED_COLUMNS = (schema.SESSION_START, schema.SERVER, *schema.MEASURES)
#: They stand in a document only where they are set: histories name runs by digests from before there were such keys.
_LATER_KEYS = (
    "label_rule",
    "low_quantile",
    "high_quantile",
    "origin_every_hours",
    "costs",
    "min_confidence",
    "boosted",
)
_PLACEHOLDER = re.compile(r"x{3,16}|<[^<>]{0,200}>", re.IGNORECASE)
_ENDPOINT = re.compile(r"https?://[A-Za-z0-9._\[\]:-]+(/[a-z0-9]+)?/?")


def parse_time(value: object) -> datetime:
    """Read one `yyyy-MM-dd HH:mm:ss` time; raises ValueError with what is wanted."""
    if isinstance(value, datetime):
        return value
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{4}(-[0-9]{2}){2} [0-9]{2}(:[0-9]{2}){2}", value):
        raise ValueError(f"wanted a time as {schema.TIME_FORMAT_HINT}")
    try:
        return datetime.strptime(value, schema.TIME_FORMAT)
    except ValueError:
        raise ValueError(f"wanted a time that exists, as {schema.TIME_FORMAT_HINT}") from None


def _known_zone(value: str) -> str:
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError("wanted a time zone name such as UTC or Europe/Oslo") from None
    return value


def _known_country(value: str) -> str:
    from holidays.utils import list_supported_countries

    if value not in list_supported_countries():
        raise ValueError("wanted an ISO 3166 country code with a holiday calendar, such as US")
    return value


def _addresses(value: tuple[str, ...]) -> tuple[str, ...]:
    try:
        return tuple(canonical_address(item) for item in value)
    except ValueError as exc:
        raise ValueError(f"wanted IP addresses: {exc}") from None


def _session_columns(value: tuple[str, ...] | None) -> tuple[str, ...] | None:
    if value is None:
        return None
    missing = [name for name in _REQUIRED_COLUMNS if name not in value]
    if missing:
        raise ValueError(f"wanted every column that is read; missing: {', '.join(missing)}")
    doubled = sorted(name for name, number in Counter(value).items() if number > 1)
    if doubled:
        raise ValueError(f"wanted each column once; repeated: {', '.join(map(repr, doubled))}")
    return value


def _secret_reference(value: str | None) -> str | None:
    if value is not None and not is_reference(value):
        # The value may be a key: it must not be echoed.
        raise ValueError("wanted a reference, env:NAME or file:PATH, never the key itself")
    return value


def _endpoint(value: str | None) -> str | None:
    if value is not None and not _ENDPOINT.fullmatch(value):
        raise ValueError(
            "wanted the address of the account's blob service, such as https://account.blob.core.windows.net, "
            "without container or signature"
        )
    return value.rstrip("/") if value else value


def _without_nul(value: str | None) -> str | None:
    if value is not None and "\0" in value:
        raise ValueError("wanted a name without NUL characters")
    return value


def _measure(value: str) -> str:
    if value not in schema.MEASURES:
        raise ValueError(f"wanted a numeric column that is used: {', '.join(schema.MEASURES)}")
    return value


def _wall_clock(value: datetime) -> datetime:
    if value.tzinfo is not None or value.microsecond:
        raise ValueError("wanted a time of whole seconds without a zone")
    return value


def _time_text(time: datetime) -> str:
    return time.isoformat(" ")


Time = Annotated[
    datetime,
    BeforeValidator(parse_time),
    AfterValidator(_wall_clock),
    PlainSerializer(_time_text, when_used="json"),
]
Threshold = Annotated[float, Field(ge=0, allow_inf_nan=False, strict=True)]
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False, strict=True)]
Bound = Annotated[float | None, Field(allow_inf_nan=False, strict=True)]


class AllowedRange(BaseModel):
    """What the data contract says of a column: the bounds, themselves allowed, and what a number outside them does."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, strict=True)

    min: Bound = None
    max: Bound = None
    on_breach: Literal["count", "reject"] = "count"

    @model_validator(mode="after")
    def _check_bounds(self) -> AllowedRange:
        if self.min is None and self.max is None:
            raise ValueError("wanted min or max, or both")
        if self.min is not None and self.max is not None and self.min > self.max:
            raise ValueError("wanted min not above max")
        return self


class Settings(BaseModel):
    """One run's configuration; see Docs/CONFIGURATION.md for each key."""

    model_config = ConfigDict(frozen=True, extra="forbid", alias_generator=to_camel, hide_input_in_errors=True)

    data_file: Annotated[str, Field(min_length=1), AfterValidator(_without_nul)]
    duration: Literal["ONE_MONTH", "FULL", "CUSTOM"]
    storage_account: str | None = None
    storage_container: str | None = None
    storage_key: Annotated[str | None, AfterValidator(_secret_reference)] = Field(None, repr=False)
    storage_endpoint: Annotated[str | None, AfterValidator(_endpoint)] = None
    output: Annotated[str | None, Field(min_length=1), AfterValidator(_without_nul)] = None
    train_begin: Time
    train_end: Time
    test_split_start: Time | None = None
    low_threshold: Threshold
    high_threshold: Threshold
    label_rule: Literal["absolute", "quantile", "perServer"] = "absolute"
    low_quantile: Share = 0.5
    high_quantile: Share = 0.85
    costs: Costs | None = None
    min_confidence: Share | None = None
    filter_servers: Annotated[tuple[str, ...], Field(min_length=1), AfterValidator(_addresses)] = DEMO_SERVERS
    columns: Annotated[tuple[str, ...] | None, AfterValidator(_session_columns)] = None
    timezone: Annotated[str, AfterValidator(_known_zone)] = "UTC"
    holiday_country: Annotated[str, AfterValidator(_known_country)] = "US"
    max_rejected_fraction: float = Field(0.05, ge=0, le=1, allow_inf_nan=False, strict=True)
    keep_scanned: bool | None = Field(None, strict=True)
    contract: dict[Annotated[str, AfterValidator(_measure)], AllowedRange] = Field(default_factory=dict)
    model: str = Field("forest", pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,99}$", strict=True)
    feature_set: str = Field("classic", pattern=r"^[A-Za-z][A-Za-z0-9_]{0,63}$")
    origin_every_hours: int = Field(6, ge=1, le=schema.HORIZON_HOURS, strict=True)
    forest: ForestSettings = ForestSettings()  # type: ignore[call-arg]  # every field has a default
    boosted: BoostedSettings = BoostedSettings()  # type: ignore[call-arg]

    @model_validator(mode="before")
    @classmethod
    def _fill_from_duration(cls, data: Any) -> Any:
        if isinstance(data, dict) and isinstance(data.get("duration"), str):
            return {**DURATIONS.get(data["duration"], {}), **data}
        return data

    @model_validator(mode="after")
    def _check_order(self) -> Settings:
        if not self.train_begin < self.train_end:
            raise ValueError(f"trainBegin: found {self.train_begin}, wanted a time before trainEnd, {self.train_end}")
        if self.train_end - self.train_begin > timedelta(days=LONGEST_PERIOD_YEARS * 366):
            raise ValueError(
                f"trainBegin: found {self.train_begin}, "
                f"wanted a time at most {LONGEST_PERIOD_YEARS} years before trainEnd, {self.train_end}"
            )
        if self.test_split_start is not None and not self.train_begin < self.test_split_start <= self.train_end:
            raise ValueError(
                f"testSplitStart: found {self.test_split_start}, "
                f"wanted a time after trainBegin, {self.train_begin}, and not after trainEnd, {self.train_end}"
            )
        if not self.low_threshold < self.high_threshold:
            raise ValueError(
                f"lowThreshold: found {self.low_threshold:g}, wanted less than highThreshold, {self.high_threshold:g}"
            )
        if not self.low_quantile < self.high_quantile:
            raise ValueError(
                f"lowQuantile: found {self.low_quantile:g}, wanted less than highQuantile, {self.high_quantile:g}"
            )
        if self.output is None and not (self.storage_account and self.storage_container):
            raise ValueError(
                "output: found nothing, wanted a folder or URL for results, or storageAccount and storageContainer"
            )
        return self

    def document(self) -> dict[str, Any]:
        """The configuration as plain values with the keys of its file, fit for parse_settings.

        Defaults are included, but for those of keys that came after digests were kept; the model's own settings always.
        """
        fields = type(self).model_fields
        unset = {key for key in _LATER_KEYS if key != self.model and getattr(self, key) == fields[key].default}
        return self.model_dump(mode="json", by_alias=True, exclude=unset)

    @property
    def keeps_scanned(self) -> bool:
        """Whether the results of scanned files are kept for the next run: unless set, where scanning takes long."""
        return self.duration == "FULL" if self.keep_scanned is None else self.keep_scanned

    @property
    def split(self) -> datetime:
        """Start of the test period; a ConfigError where the configuration names none."""
        if self.test_split_start is None:
            raise ConfigError(
                f"testSplitStart: found nothing, wanted a time as {schema.TIME_FORMAT_HINT}. "
                "With duration CUSTOM, say where the test period starts."
            )
        return self.test_split_start


#: The keys that hold keys of their own, each with their model.
_NESTED: dict[object, type[BaseModel]] = {
    "forest": ForestSettings,
    "boosted": BoostedSettings,
    "contract": AllowedRange,
}


def load_settings(path: str | os.PathLike[str]) -> Settings:
    """Read and check a configuration file (JSON). Raises ConfigError."""
    try:
        content = read_small_file(path, _MAX_CONFIG_BYTES + 1)
        if len(content) > _MAX_CONFIG_BYTES:
            raise ConfigError(f"Configuration {path} is larger than a configuration can be, 1 MB.")
        text = content.decode("utf-8-sig")
    except (OSError, ValueError) as exc:
        reason = exc.strerror if isinstance(exc, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"Configuration {path}: {reason}. Wanted a JSON file such as Config/demo.json.") from exc
    try:
        data = json.loads(text, object_pairs_hook=_no_doubled_keys, parse_int=_whole_number)
    except (ValueError, RecursionError) as exc:
        raise ConfigError(f"Configuration {path} is not JSON: {str(exc)[:200]}.") from exc
    if not isinstance(data, dict):
        raise ConfigError(
            f"Configuration {path}: found a {type(data).__name__}, wanted a JSON object of keys and values."
        )
    return parse_settings(data, str(path))


def parse_settings(data: dict[str, Any], source: str = "configuration") -> Settings:
    """Check a configuration given as a dict. Raises ConfigError that lists every fault, one to a line."""
    faults = [f"{key}: found the placeholder {value}, wanted your own value" for key, value in _placeholders(data)]
    number = len(faults)
    if not faults:
        try:
            return Settings.model_validate(data)
        except ValidationError as exc:
            number = exc.error_count()
            errors = exc.errors(include_url=False, include_context=False)
            faults = [_describe(error, data) for error in errors[:_SHOWN_FAULTS]]
    faults = faults[:_SHOWN_FAULTS] + ([f"and {number - _SHOWN_FAULTS} more"] if number > _SHOWN_FAULTS else [])
    raise ConfigError(f"Configuration {source} cannot be used:", *(f"  {fault}" for fault in faults))


def _no_doubled_keys(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    key, number = Counter(key for key, _ in pairs).most_common(1)[0] if pairs else ("", 0)
    if number > 1:
        raise ValueError(f"the key {_shown(key)} stands in it twice")
    return dict(pairs)


def _whole_number(digits: str) -> int:
    """A number of a configuration. Python's own complaint of one with thousands of digits is meant for programmers."""
    if len(digits) > _SHOWN_CHARACTERS:
        raise ValueError(f"a number in it has {len(digits):,} digits")
    return int(digits)


def _placeholders(data: dict[str, Any]) -> list[tuple[str, str]]:
    """Keys and values, as shown, that still hold a placeholder."""
    return [
        (_plain(key), "of the key" if key == "storageKey" else _shown(value))
        for key, value in data.items()
        if isinstance(value, str) and _PLACEHOLDER.fullmatch(value)
    ]


def _describe(error: Any, data: dict[str, Any]) -> str:
    """One fault as `key: found …, wanted …`."""
    location = _plain(".".join(str(part) for part in error["loc"]))
    message = _wanted(str(error["msg"]))
    if error["type"] == "extra_forbidden":
        model = _NESTED.get(error["loc"][0], Settings)
        names = [field.alias or name for name, field in model.model_fields.items()]
        return f"{location}: an unknown key. Known keys: {', '.join(sorted(names))}"
    if error["type"] == "missing":
        return f"{location}: found nothing, wanted a value"
    if not error["loc"]:
        return message
    if error["loc"][0] == "storageKey":
        return f"{location}: {message}"
    if error["loc"][-1] == "[key]":
        return f"{error['loc'][0]}: found {_shown(error['loc'][1])}, {message}"
    return f"{location}: found {_shown(_value_at(error['loc'], data))}, {message}"


def _wanted(message: str) -> str:
    """A fault's message in the words of ours."""
    message = re.sub(r" or instance of \w+$", "", message.removeprefix("Value error, "))
    message = re.sub(r"^[A-Z]\w* should be ", "wanted ", message)
    return shown(re.sub(r"^[A-Z]\w* should ", "wanted it to ", message), 3 * _SHOWN_CHARACTERS)


def _value_at(location: tuple[int | str, ...], data: Any) -> Any:
    """The value at a location in the configuration."""
    for part in location:
        known = (isinstance(data, dict) and part in data) or (isinstance(data, list) and isinstance(part, int))
        if not known:
            break
        data = data[part]
    return data


def _shown(value: object) -> str:
    try:
        text = repr(value)
    except ValueError:  # Python writes no whole number of thousands of digits
        text = "a number of thousands of digits"
    return shown(text, _SHOWN_CHARACTERS)


def _plain(key: str) -> str:
    """A key as it is, unless it could drive the reader's terminal or fill it."""
    return shown(key) if key.isprintable() and len(key) <= _SHOWN_CHARACTERS else _shown(key)
