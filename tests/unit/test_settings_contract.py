"""The data contract in the configuration: what can be, and what is said of what cannot."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from loadcast import schema
from loadcast.errors import ConfigError
from loadcast.settings import load_settings, parse_settings

PLAIN: dict[str, Any] = {"dataFile": "data/*.csv", "duration": "ONE_MONTH", "output": "output"}


def fault_of(contract: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        parse_settings({**PLAIN, "contract": contract})
    lines = str(caught.value).splitlines()
    assert len(lines) == 2
    return lines[1].strip()


def test_without_a_contract_nothing_is_said_of_any_column() -> None:
    assert parse_settings(PLAIN).contract == {}
    assert parse_settings({**PLAIN, "contract": {}}).contract == {}


def test_every_numeric_column_may_have_bounds_and_breaches_are_counted_unless_said() -> None:
    given = {name: {"min": index, "max": 10.5 * index} for index, name in enumerate(schema.MEASURES)}
    contract = parse_settings({**PLAIN, "contract": given}).contract
    assert {name: (allowed.min, allowed.max, allowed.on_breach) for name, allowed in contract.items()} == {
        name: (float(index), 10.5 * index, "count") for index, name in enumerate(schema.MEASURES)
    }


@pytest.mark.parametrize(
    "allowed",
    [{"min": 0}, {"max": -1.5}, {"min": 3, "max": 3}, {"min": None, "max": 1}, {"max": 1e308, "onBreach": "reject"}],
)
def test_one_bound_is_enough_and_both_may_be_the_same(allowed: dict[str, Any]) -> None:
    actual = parse_settings({**PLAIN, "contract": {schema.TOTAL_LOAD: allowed}}).contract[schema.TOTAL_LOAD]
    assert (actual.min, actual.max) == (allowed.get("min"), allowed.get("max"))
    assert actual.on_breach == allowed.get("onBreach", "count")


def test_a_range_does_not_change() -> None:
    allowed = parse_settings({**PLAIN, "contract": {schema.MBYTES: {"max": 1}}}).contract[schema.MBYTES]
    with pytest.raises(ValidationError):
        allowed.max = 2.0


@pytest.mark.parametrize(
    ("allowed", "fault"),
    [
        ({}, "contract.TotalLoad: found {}, wanted min or max, or both"),
        ({"onBreach": "reject"}, "contract.TotalLoad: found {'onBreach': 'reject'}, wanted min or max, or both"),
        ({"min": None}, "contract.TotalLoad: found {'min': None}, wanted min or max, or both"),
        ({"min": 2, "max": 1}, "contract.TotalLoad: found {'min': 2, 'max': 1}, wanted min not above max"),
        ({"min": float("nan")}, "contract.TotalLoad.min: found nan, wanted a finite number"),
        ({"max": float("inf")}, "contract.TotalLoad.max: found inf, wanted a finite number"),
        ({"max": "7"}, "contract.TotalLoad.max: found '7', wanted a valid number"),
        ({"max": True}, "contract.TotalLoad.max: found True, wanted a valid number"),
        ({"max": 1, "onBreach": "stop"}, "contract.TotalLoad.onBreach: found 'stop', wanted 'count' or 'reject'"),
        ({"max": 1, "on_breach": "count"}, "contract.TotalLoad.on_breach: an unknown key. Known keys: max, min, onB"),
        ({"max": 1, "most": 3}, "contract.TotalLoad.most: an unknown key. Known keys: max, min, onBreach"),
        (7, "contract.TotalLoad: found 7, wanted a valid dictionary"),
        (None, "contract.TotalLoad: found None, wanted a valid dictionary"),
        ([1, 2], "contract.TotalLoad: found [1, 2], wanted a valid dictionary"),
    ],
)
def test_a_range_that_cannot_be_is_a_fault_that_names_key_found_and_wanted(allowed: Any, fault: str) -> None:
    assert fault_of({schema.TOTAL_LOAD: allowed}).startswith(fault)


def test_a_number_too_large_for_a_double_is_a_fault() -> None:
    assert "wanted a valid number" in fault_of({schema.TOTAL_LOAD: {"max": 10**400}})


@pytest.mark.parametrize(
    "name", ["ServerIP", "HTTP1", "totalload", "SumTotalLoad", "", "[key]", "\x1b[31m", "x" * 9999]
)
def test_only_columns_that_are_read_as_numbers_have_a_range(name: str) -> None:
    fault = fault_of({name: {"min": 0}})
    assert fault.startswith(f"contract: found {repr(name)[:90]}")
    assert all(column in fault for column in schema.MEASURES)
    assert fault.isprintable()
    assert len(fault) < 500


@pytest.mark.parametrize("contract", [None, [], "TotalLoad", 3])
def test_a_contract_is_an_object(contract: Any) -> None:
    assert fault_of(contract) == f"contract: found {contract!r}, wanted a valid dictionary"


def test_a_column_named_twice_or_sixty_thousand_columns_are_refused_in_few_words(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    many = ",".join(f'"c{number}":7' for number in range(60_000))
    for contract in ('{"TotalLoad": {"min": 0}, "TotalLoad": {"max": 9}}', "{" + many + "}"):
        path.write_text(json.dumps(PLAIN)[:-1] + f', "contract": {contract}}}')
        with pytest.raises(ConfigError) as caught:
            load_settings(path)
        assert len(str(caught.value)) < 10_000
