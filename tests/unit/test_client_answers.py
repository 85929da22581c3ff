"""What the scoring client takes for an answer, how it words what it does not, and the addresses that it asks."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fake_scoring import (
    record,
    right_body,
)
from loadcast import schema
from loadcast.errors import ConfigError, ServiceError
from loadcast.serving.remote import answers
from loadcast.serving.remote.answers import check_answers, explain
from loadcast.serving.remote.connection import score_url
from published import answer_to


def refusal(body: bytes, records: list[dict[str, Any]]) -> str:
    """What is said of answers that are not taken."""
    with pytest.raises(ServiceError) as caught:
        check_answers(body, records)
    return str(caught.value)


def test_a_lost_answer_is_noticed() -> None:
    assert "1 answer(s) to 2 record(s)" in refusal(right_body([record(0)]), [record(0), record(1)])


def test_answers_in_another_order_are_noticed() -> None:
    answers = json.loads(right_body([record(0), record(1)]))
    body = json.dumps(dict(reversed(answers.items()))).encode()
    assert "in order" in refusal(body, [record(0), record(1)])


WRONG: dict[str, dict[str, Any]] = {
    "another server": {schema.SERVER: "10.0.0.9"},
    "another hour": {schema.HOUR: "2016-07-01 05:00:00"},
    "an unknown class": {schema.PREDICTION: 4},
    "a class that is true": {schema.PREDICTION: True},
    "a class in text": {schema.PREDICTION: "1"},
    "a list as class": {schema.PREDICTION: [1]},
    "a name of another class": {schema.LABEL: "high"},
    "no probabilities": {"probability": None},
    "two probabilities": {"probability": {"low": 0.5, "medium": 0.5}},
    "a probability above one": {"probability": {"low": 1.5, "medium": -0.5, "high": 0.0}},
    "probabilities that are no whole": {"probability": {"low": 0.5, "medium": 0.1, "high": 0.1}},
    "a class that is not the likeliest": {"probability": {"low": 0.1, "medium": 0.8, "high": 0.1}},
    "NaN": {"probability": {"low": float("nan"), "medium": 0.5, "high": 0.5}},
    "a probability in text": {"probability": {"low": "1", "medium": 0, "high": 0}},
    "a huge probability": {"probability": {"low": 10**400, "medium": 0, "high": 0}},
    "a cold start in text": {"cold_start": "no"},
}


@pytest.mark.parametrize("fields", WRONG.values(), ids=WRONG.keys())
def test_an_answer_that_is_wrong_is_refused_and_its_field_named(fields: dict[str, Any]) -> None:
    body = json.dumps({"0": answer_to(record()) | fields}).encode()
    message = refusal(body, [record()])
    assert message.startswith("The service's answer to record 0: ")
    assert next(iter(fields)) in message


def answered(check: Callable[..., Any], body: bytes) -> Any:
    """The answers to two records that `check` reads in a body; None where it refuses them."""
    try:
        return check(body, [record(0), record(1)])
    except ServiceError:
        return None


PIECES = st.sampled_from(
    [
        b'"0":',
        b'"1":',
        b"{",
        b"}",
        b",",
        b"1e999",
        b"18446744073709551617",
        b"-0",
        b"1.0",
        b"NaN",
        b"true",
        b'"\\ud800"',
    ]
)


@given(st.lists(st.tuples(st.integers(0, 400), st.integers(0, 3), PIECES), max_size=3))
def test_the_same_answers_are_taken_as_before_orjson(changes: list[tuple[int, int, bytes]]) -> None:
    body = right_body([record(0), record(1)])
    for position, removed, piece in changes:
        body = body[:position] + piece + body[position + removed :]
    with pytest.MonkeyPatch.context() as patch:
        taken = answered(check_answers, body)
        patch.setattr(answers, "_decoded", json.loads)  # as it was before
        assert taken == answered(check_answers, body)


NO_ANSWERS = [b"", b"<html>", b"[" * 100_000, b"\xff\xfe", b"[]", b"null", b'{"0": null}', b'{"0": 1}']


@pytest.mark.parametrize("body", NO_ANSWERS)
def test_a_body_that_holds_no_answers_is_refused(body: bytes) -> None:
    refusal(body, [record()])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
FIELDS = (schema.SERVER, schema.HOUR, schema.PREDICTION, schema.LABEL, "probability", "cold_start")


@given(st.dictionaries(st.sampled_from(FIELDS), JSON))
def test_whatever_stands_in_an_answer_it_is_taken_or_refused(fields: dict[str, Any]) -> None:
    body = json.dumps({"0": answer_to(record()) | fields}).encode()
    try:
        (answer,) = check_answers(body, [record()])
    except ServiceError:
        return
    assert answer.label in schema.CLASS_NAMES
    assert answer.hour == datetime(2016, 7, 1)


@given(st.binary())
def test_whatever_an_error_body_holds_its_explanation_is_printable(body: bytes) -> None:
    assert all(line.isprintable() for line in explain(body).split("\n"))


def test_an_explanation_carries_no_sign_that_drives_a_terminal() -> None:
    body = json.dumps({"error": {"message": "\x1b[2Jgone\r", "problems": [{"record": "\x1b]0;x\x07"}, 7]}}).encode()
    assert explain(body) == " [2Jgone \n  record  ]0;x "


def test_an_explanation_is_short() -> None:
    problems = [{"record": number, "found": "x" * 10_000} for number in range(100)]
    assert len(explain(json.dumps({"error": {"message": "y" * 10_000, "problems": problems}}).encode())) < 4000


# --- addresses -------------------------------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("url", "wanted"),
    [
        ("http://127.0.0.1:5000", "http://127.0.0.1:5000/score"),
        ("http://127.0.0.1:5000/", "http://127.0.0.1:5000/score"),
        ("https://example.org/api/v1/service/x/score", "https://example.org/api/v1/service/x/score"),
        ("http://[::1]:5000/base", "http://[::1]:5000/base/score"),
    ],
)
def test_the_score_route_follows_from_the_address(url: str, wanted: str) -> None:
    assert score_url(url) == wanted


NO_ADDRESSES = ["", "127.0.0.1:5000", "ftp://x", "file:///x", "http://", "http://x:port", "http://[x"]


@pytest.mark.parametrize("url", [*NO_ADDRESSES, "http://x/?a=1", "http://x/#a", "http://x\n"])
def test_what_is_no_address_of_a_service_is_refused(url: str) -> None:
    with pytest.raises(ConfigError, match="url: found"):
        score_url(url)


def test_a_password_in_an_address_is_refused_and_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        score_url("http://me:hunter2@example.org")
    assert "hunter2" not in str(caught.value)
