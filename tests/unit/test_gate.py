"""Who may ask, and how often: two keys, a rate for each, and what goes without. About 1 s."""

from __future__ import annotations

from typing import Any

import pytest
from flask.testing import FlaskClient
from hypothesis import given
from hypothesis import strategies as st

from loadcast.errors import AuthError, ConfigError
from loadcast.serving.app import create_app
from loadcast.serving.faults import RateError
from loadcast.serving.gate import Gate, RateLimit
from loadcast.serving.keys import Keys
from loadcast.serving.problems import PROBLEM_JSON
from published import HourPredictor

KEYS = Keys.parse(b"first\nsecond\n", "keys")


def headers(key: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {key}"}


def asked(value: str) -> dict[str, Any]:
    return {"HTTP_AUTHORIZATION": value}


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_the_gate_says_which_key_it_was() -> None:
    gate = Gate(KEYS, None)
    assert gate.enter(asked("Bearer first")) == "primary"
    assert gate.enter(asked("bearer  second ")) == "secondary"
    assert Gate(None, None).enter({}) is None


@given(st.text(st.characters(max_codepoint=255), max_size=20))
def test_whatever_else_is_sent_is_refused(value: str) -> None:
    for sent in (value, f"Bearer {value}", f"Basic {value}"):
        if sent.split(" ")[-1].strip() not in ("first", "second") or sent.startswith("Basic"):
            with pytest.raises(AuthError):
                Gate(KEYS, None).enter(asked(sent))


def test_keys_that_change_count_at_once() -> None:
    class File:
        keys = KEYS

        def current(self) -> Keys:
            return self.keys

    file = File()
    client = create_app(HourPredictor(), keys=file, name="loadcast").test_client()
    assert client.get("/", headers=headers("first")).status_code == 200
    file.keys = Keys.parse(b"third\nsecond", "keys")
    statuses = [client.get("/", headers=headers(key)).status_code for key in ("first", "second", "third")]
    assert statuses == [401, 200, 200]


@given(st.floats(0.1, 50), st.lists(st.floats(0, 3), max_size=60))
def test_no_second_takes_more_than_the_rate_and_what_was_saved(rate: float, steps: list[float]) -> None:
    clock = Clock()
    limit = RateLimit(rate, clock)
    waits: list[float] = []
    for step in steps:
        clock.now += step
        try:
            limit.take("primary")
        except RateError as error:
            waits.append(error.wait_s)
            clock.now += error.wait_s + 1e-9
            limit.take("primary")
    assert all(0 < wait_s <= 1 / rate + 1e-9 for wait_s in waits)
    assert len(steps) <= max(1.0, rate) + rate * clock.now + 1e-6


def test_each_key_has_a_rate_of_its_own() -> None:
    limit = RateLimit(2, Clock())
    for key in ("primary", "secondary"):
        limit.take(key)
        limit.take(key)
        with pytest.raises(RateError):
            limit.take(key)


@pytest.mark.parametrize("rate", [0, -1, float("nan"), float("inf")])
def test_a_rate_that_is_none_is_refused(rate: float) -> None:
    with pytest.raises(ConfigError, match="rate limit"):
        RateLimit(rate)


def limited(rate: float) -> FlaskClient:
    return create_app(HourPredictor(), keys=KEYS, name="loadcast", rate_limit=rate).test_client()


def test_who_asks_too_often_is_told_when_to_ask_again() -> None:
    client = limited(0.01)
    assert client.post("/score", json=[], headers=headers("first")).status_code == 200
    refused = client.post("/score", json=[], headers=headers("first"))
    assert (refused.status_code, refused.mimetype) == (429, PROBLEM_JSON)
    assert 1 <= int(refused.headers["Retry-After"]) <= 100
    assert refused.json["type"] == "/problems/rate"
    assert client.post("/score", json=[], headers=headers("second")).status_code == 200
    # Wrong keys take nothing of the right ones, and probes take nothing at all.
    assert client.post("/score", json=[], headers=headers("wrong")).status_code == 401
    assert {client.get("/health/ready").status_code for _ in range(5)} == {200}
