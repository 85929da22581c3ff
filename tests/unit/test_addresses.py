"""A server has one spelling everywhere, whatever Python writes of an IPv4-mapped IPv6 address."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from bundles import random_features, records
from loadcast import schema
from loadcast.kernels import rows
from loadcast.kernels.features import CLASSIC
from loadcast.serving import request_contract, statistics
from loadcast.settings import parse_settings
from published import TRAIN_BEGIN, hourly_statistics, publish

MAPPED, SPELLING = ("::ffff:1.2.3.4", "::FFFF:102:304", "0:0:0:0:0:ffff:1.2.3.4"), "::ffff:102:304"


@pytest.fixture(params=["hexadecimal", "dotted"], autouse=True)
def interpreter(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Python up to 3.12 writes mapped addresses in hexadecimal groups, later ones with dots."""

    def written(address: ipaddress.IPv6Address) -> str:
        mapped = address.ipv4_mapped
        if mapped is None:
            return ipaddress.IPv6Address._string_from_ip_int(int(address))  # type: ignore[attr-defined]
        number = int(mapped)
        return f"::ffff:{mapped}" if request.param == "dotted" else f"::ffff:{number >> 16:x}:{number & 0xFFFF:x}"

    monkeypatch.setattr(ipaddress.IPv6Address, "__str__", written)
    caches = (rows._parse_address, request_contract._shortest_address)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def in_settings(text: str) -> str:
    plain = {"dataFile": "x.csv", "output": "out", "duration": "ONE_MONTH", "filterServers": [text]}
    return parse_settings(plain).filter_servers[0]


def in_etl(text: str) -> str:
    return str(rows.parse_server(text.encode()))


def in_a_request(text: str) -> str:
    (record,) = records(random_features(1))
    return str(
        request_contract.RequestContract(CLASSIC).read_records([{**record, schema.SERVER: text}])[schema.SERVER][0]
    )


READERS = (in_settings, in_etl, in_a_request)


@pytest.mark.parametrize("read", READERS)
@pytest.mark.parametrize("text", MAPPED)
def test_a_mapped_address_is_written_in_hexadecimal_groups(text: str, read: Callable[[str], str]) -> None:
    assert read(text) == SPELLING


@pytest.mark.parametrize("text", MAPPED)
def test_the_client_finds_the_statistics_that_etl_wrote(tmp_path: Path, text: str) -> None:
    publish(tmp_path, hourly_statistics(in_etl(text), TRAIN_BEGIN, 24 * 35))
    opened, begin = statistics.open_statistics(tmp_path), TRAIN_BEGIN + timedelta(days=35)
    (source,) = statistics.scoring_features(opened, [text], begin)
    (first, *_) = source.records()
    assert (first[schema.SERVER], source.server) == (SPELLING, SPELLING)
    assert datetime.strptime(first[schema.HOUR], schema.TIME_FORMAT) == begin
