"""The configuration: every fault names its key, what was found and what is wanted; no secret is ever shown."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from loadcast import schema
from loadcast.errors import ConfigError
from loadcast.settings import (
    DEMO_SERVERS,
    DURATIONS,
    LONGEST_PERIOD_YEARS,
    Settings,
    load_settings,
    parse_settings,
    parse_time,
)

PLAIN: dict[str, Any] = {"dataFile": "data/*.csv", "duration": "ONE_MONTH", "output": "output"}
SECRET = "bm90IGEgcmVhbCBrZXk+PT9/3q2+7w=="
KEYS = {field.alias for field in Settings.model_fields.values()}


def fault_of(**changes: Any) -> str:
    """What is said of a configuration that is plain but for these keys."""
    with pytest.raises(ConfigError) as caught:
        parse_settings({**PLAIN, **changes})
    return str(caught.value)


def write(folder: Path, text: str | bytes) -> Path:
    path = folder / "config.json"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


# --- what is good ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("duration", ["ONE_MONTH", "FULL"])
def test_a_duration_stands_for_dates_and_thresholds(duration: str) -> None:
    settings = parse_settings({**PLAIN, "duration": duration})
    wanted = DURATIONS[duration]
    for key, value in (
        ("trainBegin", settings.train_begin),
        ("trainEnd", settings.train_end),
        ("testSplitStart", settings.split),
    ):
        assert value.strftime(schema.TIME_FORMAT) == wanted[key]
    assert (settings.low_threshold, settings.high_threshold) == (wanted["lowThreshold"], wanted["highThreshold"])


def test_a_key_wins_over_what_its_duration_stands_for() -> None:
    settings = parse_settings({**PLAIN, "trainBegin": "2016-06-02 03:04:05", "highThreshold": 700})
    assert settings.train_begin == datetime(2016, 6, 2, 3, 4, 5)
    assert (settings.low_threshold, settings.high_threshold) == (100.0, 700.0)
    assert type(settings.high_threshold) is float


def test_what_is_not_said_has_its_default() -> None:
    settings = parse_settings(PLAIN)
    assert settings.filter_servers == DEMO_SERVERS
    assert (settings.timezone, settings.holiday_country, settings.max_rejected_fraction) == ("UTC", "US", 0.05)
    assert (settings.columns, settings.storage_key, settings.forest.num_trees) == (None, None, 100)


def test_a_custom_duration_takes_the_dates_given_and_needs_them() -> None:
    dates = {"trainBegin": "2015-01-01 00:00:00", "trainEnd": "2015-02-01 00:00:00"}
    settings = parse_settings({**PLAIN, "duration": "CUSTOM", **dates})
    assert settings.test_split_start is None
    with pytest.raises(ConfigError, match="testSplitStart: found nothing, wanted a time as yyyy-MM-dd HH:mm:ss"):
        _ = settings.split
    message = fault_of(duration="CUSTOM")
    assert "trainBegin: found nothing, wanted a value" in message
    assert "trainEnd: found nothing, wanted a value" in message


def test_servers_are_kept_in_their_shortest_form() -> None:
    settings = parse_settings({**PLAIN, "filterServers": ["2001:0DB8::0:1", "10.0.0.1"]})
    assert settings.filter_servers == ("2001:db8::1", "10.0.0.1")


def test_columns_name_every_column_that_is_read_in_any_order() -> None:
    columns = ["ServerIP", "what", *schema.MEASURES, "SessionStart", "ever"]
    assert parse_settings({**PLAIN, "columns": columns}).columns == tuple(columns)


def test_settings_do_not_change() -> None:
    settings = parse_settings(PLAIN)
    with pytest.raises(ValidationError):
        settings.output = "elsewhere"
    assert hash(settings.forest) == hash(parse_settings(PLAIN).forest)


@pytest.mark.parametrize("fields", [{"storageAccount": "a", "storageContainer": "c"}, {"output": "x"}])
def test_results_go_to_a_folder_or_a_container(fields: dict[str, str]) -> None:
    parse_settings({**{key: PLAIN[key] for key in ("dataFile", "duration")}, **fields})


# --- faults: key, found, wanted -------------------------------------------------------------------------------------

ONCE_EACH = list(dict.fromkeys(schema.SESSION_COLUMNS_17))
FAULTS: list[tuple[str, Any, str]] = [
    ("dataFile", "", "wanted it to have at least 1 character"),
    ("dataFile", None, "wanted a valid string"),
    ("dataFile", ["a"], "wanted a valid string"),
    ("dataFile", "a\0b", "wanted a name without NUL characters"),
    ("output", "", "wanted it to have at least 1 character"),
    ("output", "a\0b", "wanted a name without NUL characters"),
    ("output", 7, "wanted a valid string"),
    ("duration", "MONTH", "wanted 'ONE_MONTH', 'FULL' or 'CUSTOM'"),
    ("duration", ["FULL"], "wanted 'ONE_MONTH', 'FULL' or 'CUSTOM'"),
    ("trainBegin", "2016-06-01", "wanted a time as yyyy-MM-dd HH:mm:ss"),
    ("trainBegin", "2016-06-01T00:00:00", "wanted a time as yyyy-MM-dd HH:mm:ss"),
    ("trainBegin", " 2016-06-01 00:00:00", "wanted a time as yyyy-MM-dd HH:mm:ss"),
    ("trainBegin", "2016-6-1 00:00:00", "wanted a time as yyyy-MM-dd HH:mm:ss"),
    ("trainBegin", "\uff12016-06-01 00:00:00", "wanted a time as yyyy-MM-dd HH:mm:ss"),
    ("trainBegin", 1464739200, "wanted a time as yyyy-MM-dd HH:mm:ss"),
    ("trainBegin", None, "wanted a time as yyyy-MM-dd HH:mm:ss"),
    ("trainBegin", "2016-06-31 00:00:00", "wanted a time that exists"),
    ("trainBegin", "0000-06-01 00:00:00", "wanted a time that exists"),
    ("trainEnd", "2015-02-29 00:00:00", "wanted a time that exists"),
    ("testSplitStart", "2016-06-29 24:00:00", "wanted a time that exists"),
    ("lowThreshold", -1, "wanted greater than or equal to 0"),
    ("lowThreshold", "100", "wanted a valid number"),
    ("lowThreshold", True, "wanted a valid number"),
    ("lowThreshold", None, "wanted a valid number"),
    ("lowThreshold", float("nan"), "wanted a finite number"),
    ("highThreshold", float("inf"), "wanted a finite number"),
    ("highThreshold", 10**400, "wanted a valid number"),
    ("maxRejectedFraction", float("nan"), "wanted a finite number"),
    ("maxRejectedFraction", 1.01, "wanted less than or equal to 1"),
    ("maxRejectedFraction", -0.1, "wanted greater than or equal to 0"),
    ("maxRejectedFraction", True, "wanted a valid number"),
    ("filterServers", [], "wanted it to have at least 1 item"),
    ("filterServers", "10.0.0.1", "wanted a valid tuple"),
    ("filterServers", ["10.0.0.1", "10.0.0.256"], "wanted IP addresses: '10.0.0.256'"),
    ("filterServers", ["fe80::1%eth0"], "wanted IP addresses: 'fe80::1%eth0' has a zone index"),
    ("columns", ["ServerIP"], "wanted every column that is read; missing: SessionStart, TotalLoad"),
    ("columns", [*ONCE_EACH, "HTTP1"], "wanted each column once; repeated: 'HTTP1'"),
    ("columns", "ServerIP", "wanted a valid tuple"),
    ("timezone", "Oslo", "wanted a time zone name such as UTC or Europe/Oslo"),
    ("timezone", "", "wanted a time zone name"),
    ("timezone", "../../etc/passwd", "wanted a time zone name"),
    ("timezone", "a\0b", "wanted a time zone name"),
    ("timezone", "America", "wanted a time zone name"),
    ("holidayCountry", "XX", "wanted an ISO 3166 country code"),
    ("holidayCountry", "us", "wanted an ISO 3166 country code"),
    ("forest", None, "wanted a valid dictionary"),
]


@pytest.mark.parametrize(("key", "value", "wanted"), FAULTS)
def test_a_value_that_cannot_be_is_a_fault_that_names_key_found_and_wanted(key: str, value: Any, wanted: str) -> None:
    message = fault_of(**{key: value})
    line = next(line for line in message.splitlines() if line.startswith(f"  {key}"))
    assert f": found {repr(value)[:60]}" in line or f": found {repr(value[0])[:60]}" in line
    assert wanted in line


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        (
            {"trainBegin": "2016-07-01 00:00:00"},
            "trainBegin: found 2016-07-01 00:00:00, wanted a time before trainEnd, 2016-06-30 23:59:59",
        ),
        (
            {"testSplitStart": "2016-06-01 00:00:00"},
            "testSplitStart: found 2016-06-01 00:00:00, wanted a time after trainBegin, 2016-06-01 00:00:00, and not",
        ),
        ({"testSplitStart": "2016-07-01 00:00:00"}, "and not after trainEnd, 2016-06-30 23:59:59"),
        ({"lowThreshold": 500}, "lowThreshold: found 500, wanted less than highThreshold, 500"),
        (
            {"output": None},
            "output: found nothing, wanted a folder or URL for results, or storageAccount and storageContainer",
        ),
        ({"output": None, "storageAccount": "a"}, "output: found nothing, wanted a folder"),
    ],
)
def test_values_that_do_not_fit_each_other_are_a_fault(changes: dict[str, Any], fault: str) -> None:
    assert fault in fault_of(**changes)


def test_a_period_of_more_than_50_years_is_a_fault() -> None:
    """Two sessions of one server would ask for every hour between them."""
    period = {"duration": "CUSTOM", "trainBegin": "0001-01-01 00:00:00", "trainEnd": "9999-12-31 23:59:59"}
    message = fault_of(**period)
    assert f"found 0001-01-01 00:00:00, wanted a time at most {LONGEST_PERIOD_YEARS} years before trainEnd" in message
    parse_settings({**PLAIN, **period, "trainBegin": "1970-01-01 00:00:00", "trainEnd": "2019-12-31 23:59:59"})


# --- unknown and doubled keys, placeholders -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "key", ["datafile", "data_file", "train_begin", "lowThreshhold", "", "storage_key", "__class__"]
)
def test_an_unknown_key_is_a_fault_that_names_the_known_ones(key: str) -> None:
    message = fault_of(**{key: "2016-06-02 00:00:00"})
    assert f"  {key}: an unknown key. Known keys: " in message
    assert all(str(known) in message for known in KEYS)


def test_an_unknown_key_of_the_forest_names_the_forest_s_own() -> None:
    assert "  forest.trees: an unknown key. Known keys: featureSubsetStrategy, maxBins" in fault_of(forest={"trees": 1})


@pytest.mark.parametrize("text", ["xxx", "XXXXX", "<your account>", "<>"])
@pytest.mark.parametrize("key", ["storageAccount", "dataFile", "output", "trainBegin"])
def test_a_placeholder_is_a_fault(key: str, text: str) -> None:
    assert f"  {key}: found the placeholder '{text}', wanted your own value" in fault_of(**{key: text})


def test_every_fault_is_named_at_once() -> None:
    message = fault_of(lowThreshold=-1, timezone="Nowhere", what=1, forest={"numTrees": 0})
    lines = message.splitlines()
    assert lines[0] == "Configuration configuration cannot be used:"
    assert [line.split(":")[0].strip() for line in lines[1:]] == ["lowThreshold", "timezone", "forest.numTrees", "what"]


def test_the_source_of_the_faults_is_named(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps({**PLAIN, "what": 1}))
    with pytest.raises(ConfigError, match=f"^Configuration {path} cannot be used:"):
        load_settings(path)


# --- secrets --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        *[{"storageKey": value} for value in (SECRET, [SECRET], {"key": SECRET}, f"<{SECRET}>", f"env:{SECRET}")],
        *[{key: SECRET} for key in ("storage_key", "storagekey", "StorageKey", "storageAccountKey", "key")],
        {"storageKey": SECRET, "lowThreshold": -1, "what": SECRET},
        {"storageKey": f"file:a\n{SECRET}"},
        {"storageKey": f" env:NAME {SECRET}"},
    ],
)
def test_a_key_given_literally_is_refused_and_shown_nowhere(changes: dict[str, Any]) -> None:
    try:
        parse_settings({**PLAIN, **changes})
    except ConfigError as error:
        chain = [error, error.__cause__, error.__context__]
    else:
        pytest.fail("a literal key was taken")
    assert all(SECRET not in f"{link} {link!r}" for link in chain)
    assert any(key in str(chain[0]) for key in changes)


@pytest.mark.parametrize("reference", ["env:AZURE_STORAGE_KEY", "file:/run/secrets/key"])
def test_a_reference_to_a_key_is_taken_and_not_part_of_the_text_form(reference: str) -> None:
    settings = parse_settings({**PLAIN, "storageKey": reference})
    assert settings.storage_key == reference
    assert reference not in f"{settings!r} {settings}"


def test_a_key_in_broken_json_is_shown_nowhere(tmp_path: Path) -> None:
    for text in (f'{{"storageKey": "{SECRET}",,', f'{{"a": 1, "a": 2, "storageKey": "{SECRET}"}}', f'"{SECRET}"'):
        with pytest.raises(ConfigError) as caught:
            load_settings(write(tmp_path, text))
        assert SECRET not in str(caught.value)


# --- files ----------------------------------------------------------------------------------------------------------


def test_a_file_is_read_with_and_without_a_byte_order_mark(tmp_path: Path) -> None:
    text = json.dumps(PLAIN).encode()
    assert load_settings(write(tmp_path, text)) == load_settings(write(tmp_path, b"\xef\xbb\xbf" + text))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"", "is not JSON: Expecting value"),
        (b"{", "is not JSON: Expecting property name"),
        (b"not json", "is not JSON"),
        (b'{"a": 1, "b": {"c": 1, "c": 2}}', "is not JSON: the key 'c' stands in it twice"),
        (b"[]", "found a list, wanted a JSON object"),
        (b"7", "found a int, wanted a JSON object"),
        (b"null", "found a NoneType, wanted a JSON object"),
        (b"\xff\xfe{\x00}\x00", "it is not UTF-8 text. Wanted a JSON file"),
        (b"[" * 100_000, "is not JSON: maximum recursion depth"),
        (b'{"lowThreshold": ' + b"9" * 5000 + b"}", "is not JSON: a number in it has 5,000 digits."),
        (b" " * (2 << 20), "is larger than a configuration can be, 1 MB"),
    ],
)
def test_a_file_that_is_no_configuration_is_said_in_words(tmp_path: Path, text: bytes, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_settings(write(tmp_path, text))
    assert said in str(caught.value)
    assert str(tmp_path / "config.json") in str(caught.value)


def test_a_file_that_cannot_be_read_is_said_in_words(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"No such file or directory\. Wanted a JSON file such as"):
        load_settings(tmp_path / "none.json")
    with pytest.raises(ConfigError, match="Is a directory"):
        load_settings(tmp_path)


def test_a_file_without_an_end_is_not_read_to_its_end() -> None:
    with pytest.raises(ConfigError, match="is larger than a configuration can be"):
        load_settings("/dev/zero")


MANY = 60_000
HUGE: dict[str, Callable[[], str]] = {
    "many keys": lambda: "{" + ",".join(f'"k{number}":0' for number in range(MANY)) + "}",
    "one key many times": lambda: "{" + ",".join(['"k":0'] * MANY) + "}",
    "many columns": lambda: json.dumps({**PLAIN, "columns": [f"c{number}" for number in range(MANY)]}),
    "one column many times": lambda: json.dumps({**PLAIN, "columns": [*ONCE_EACH, *["c"] * MANY]}),
    "many servers": lambda: json.dumps({**PLAIN, "filterServers": [f"s{number}" for number in range(MANY)]}),
    "a long key": lambda: json.dumps({**PLAIN, "k" * MANY: 0}),
    "a long value": lambda: json.dumps({**PLAIN, "timezone": "z" * MANY}),
    "a long list of faults": lambda: json.dumps({**PLAIN, "forest": {f"k{number}": 0 for number in range(MANY)}}),
}


@pytest.mark.parametrize("name", HUGE)
def test_a_huge_file_is_refused_quickly_and_in_few_words(tmp_path: Path, name: str) -> None:
    path = write(tmp_path, HUGE[name]())
    begin = time.perf_counter()
    with pytest.raises(ConfigError) as caught:
        load_settings(path)
    assert time.perf_counter() - begin < 5
    assert len(str(caught.value)) < 10_000


@pytest.mark.parametrize("key", ["\x1b[31mred", "line\nbreak", "\u202egnirts"])
def test_a_key_or_value_does_not_drive_the_reader_s_terminal(key: str) -> None:
    for message in (fault_of(**{key: 1}), fault_of(timezone=key), fault_of(columns=[*ONCE_EACH, key, key])):
        assert key not in message
        assert repr(key)[1:-1] in message


@pytest.mark.parametrize("value", [datetime(2016, 6, 1), "2016-06-01 00:00:00"])
def test_a_time_is_read_from_text_or_taken_as_it_is(value: object) -> None:
    assert parse_time(value) == datetime(2016, 6, 1)
