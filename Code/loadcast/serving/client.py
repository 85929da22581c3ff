"""The scoring client: feature records → the service → answers that are checked against what was asked."""

from __future__ import annotations

import ipaddress
import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from types import TracebackType
from typing import Any, NoReturn
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3.util import Retry

from loadcast import schema
from loadcast.errors import ConfigError, ServiceError
from loadcast.secrets import shown
from loadcast.serving.defaults import DEFAULT_BATCH, DEFAULT_URL

Record = Mapping[str, Any]
_CONNECT_TIMEOUT_S = 5.0
_READ_TIMEOUT_S = 60.0
_RETRIES = 4
_BACKOFF_S = 0.2
_BUSY_STATUSES = (502, 503, 504)
_MAX_ANSWER_BYTES = 4096
_MAX_BODY_BYTES = 1 << 20
_PIECE_BYTES = 64 << 10
_SHOWN_PROBLEMS = 5
_SHOWN_CHARACTERS = 500
_TOLERANCE = 1e-6


@dataclass(frozen=True)
class HourForecast:
    """The class (1 low, 2 medium, 3 high) of one server for one hour; `probabilities` in the order of the classes.

    `cold_start` says that a value of the record, such as the server, was not in the training data.
    """

    server: str
    hour: datetime
    label: int
    probabilities: tuple[float, ...]
    cold_start: bool


@dataclass(frozen=True)
class ServerForecast:
    """The forecast hours of one server, in order."""

    server: str
    hours: tuple[HourForecast, ...]

    @property
    def cold_start(self) -> bool:
        """Whether any hour is a cold start."""
        return any(hour.cold_start for hour in self.hours)


class _BearerKey(requests.auth.AuthBase):
    """Sends the key, or nothing; being set, it keeps requests from looking for credentials in .netrc or the URL."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class ScoringClient:
    """Talks to one scoring service over one kept connection; use it in a `with` block.

    `url` is the service's address, with or without the path of its score route. Raises ConfigError for an address that
    cannot be one.
    """

    def __init__(self, url: str = DEFAULT_URL, key: str | None = None) -> None:
        self.url = score_url(url)
        self._session = requests.Session()
        self._session.auth = _BearerKey(key)
        # A proxy cannot reach this machine's own loopback address.
        self._session.trust_env = not _is_loopback(self.url)
        retry = Retry(
            total=_RETRIES,
            read=False,
            status_forcelist=_BUSY_STATUSES,
            # Scoring changes nothing, so asking twice is safe.
            allowed_methods={"POST"},
            backoff_factor=_BACKOFF_S,
            # A service could ask us to wait for years.
            respect_retry_after_header=False,
            raise_on_status=False,
        )
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=retry))

    def __enter__(self) -> ScoringClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._session.close()

    def score(self, records: Sequence[Record]) -> list[HourForecast]:
        """Answers to one batch of feature records, one each, in order. Raises ServiceError."""
        try:
            with self._session.post(
                self.url,
                data=json.dumps(list(records), allow_nan=False).encode(),
                headers={"Content-Type": "application/json", "Accept": "application/json"},
                timeout=(_CONNECT_TIMEOUT_S, _READ_TIMEOUT_S),
                allow_redirects=False,
                stream=True,
            ) as response:
                status, body = response.status_code, _limited(response, len(records))
        except requests.RequestException as exc:
            self._unreachable(exc)
        if status != requests.codes.ok:
            said = f"The service at {self.url} answered {status}: {explain(body)}{_advice(status)}"
            raise ServiceError(*said.split("\n"))
        return check_answers(body, records)

    def score_in_batches(self, records: Iterable[Record], batch_size: int = DEFAULT_BATCH) -> Iterator[HourForecast]:
        """Answers to all records, in order, asked for `batch_size` at a time. Raises ServiceError."""
        rest = iter(records)
        while batch := list(islice(rest, batch_size)):
            yield from self.score(batch)

    def _unreachable(self, exc: requests.RequestException) -> NoReturn:
        if isinstance(exc, requests.exceptions.ReadTimeout):
            reason = f"gave no answer for {_READ_TIMEOUT_S:g} s"
        elif isinstance(exc, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
            reason = "is there, but its answer broke off"
        elif isinstance(exc, requests.exceptions.SSLError):
            reason = "could not prove who it is (TLS)"
        elif isinstance(exc, requests.ConnectionError):
            reason = "cannot be reached"
        else:
            reason = f"cannot be talked to ({type(exc).__name__})"
        todo = "Start it (python Code/webservice.py --model Model), or say where it is with --url."
        raise ServiceError(f"The service at {self.url} {reason}. {todo}") from exc


def score_url(url: str) -> str:
    """The address of the score route, from that of the service. Raises ConfigError."""
    wanted = f"wanted an address such as {DEFAULT_URL}"
    try:
        parts = urlsplit(url)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise ConfigError(f"url: found {shown(repr(url), 200)}, {wanted}.") from None
    if parts.username is not None or parts.password is not None:
        raise ConfigError(f"url: found one with a user or password in it, {wanted}; the key goes into a key file.")
    if parts.scheme not in ("http", "https") or not host or parts.query or parts.fragment or not url.isprintable():
        raise ConfigError(f"url: found {shown(repr(url), 200)}, {wanted}.")
    base = url.rstrip("/")
    return base if parts.path.rstrip("/").endswith("/score") else f"{base}/score"


def _is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _limited(response: requests.Response, n_records: int) -> bytes:
    """The answer's body; a longer one than any answer to so many records can be is not read to its end."""
    limit = _MAX_BODY_BYTES + n_records * _MAX_ANSWER_BYTES
    body = bytearray()
    for piece in response.iter_content(_PIECE_BYTES):
        body += piece
        if len(body) > limit:
            raise ServiceError(f"The service's answer has more than {limit} bytes, wanted {n_records} answer(s).")
    return bytes(body)


def explain(body: bytes) -> str:
    """What an error body says, fit for a terminal: its message and its first problems, else its text."""
    text = body.decode("utf-8", "replace").strip()
    try:
        data = json.loads(text)
    except (ValueError, RecursionError):
        return _plain(text) or "nothing"
    error = data.get("error", data) if isinstance(data, dict) else data
    if not isinstance(error, dict):
        return _plain(str(error))
    problems = error.get("problems")
    listed = [item for item in problems if isinstance(item, dict)] if isinstance(problems, list) else []
    lines = [_plain(str(error.get("message", text)))]
    for item in listed[:_SHOWN_PROBLEMS]:
        problem = ", ".join(f"{name} {item[name]}" for name in ("record", "field", "found", "wanted") if name in item)
        lines.append(f"  {_plain(problem)}")
    return "\n".join(lines)


def _plain(text: str) -> str:
    """Text without control characters, which could drive the reader's terminal."""
    return "".join(sign if sign.isprintable() else " " for sign in text[:_SHOWN_CHARACTERS])


def _advice(status: int) -> str:
    todo = {
        401: "Name the key with --key-file, or set LOADCAST_SERVICE_KEY.",
        404: "Look at the path in --url.",
        413: "Take a smaller --batch.",
    }
    return f"\n{todo[status]}" if status in todo else ""


def check_answers(body: bytes, records: Sequence[Record]) -> list[HourForecast]:
    """The answers in a body, checked one by one against the records that were sent. Raises ServiceError."""
    try:
        answers = json.loads(body)
    except (ValueError, RecursionError):
        text = _plain(body[:100].decode("utf-8", "replace"))
        raise ServiceError(f"The service's answer is not JSON: {text}") from None
    if not isinstance(answers, dict):
        raise ServiceError(f"The service answered with a {type(answers).__name__}, wanted an object of answers.")
    if list(answers) != [str(number) for number in range(len(records))]:
        raise ServiceError(
            f"The service gave {len(answers)} answer(s) to {len(records)} record(s), wanted one for each, in order: "
            f"found the keys {_plain(', '.join(islice(answers, _SHOWN_PROBLEMS)))}."
        )
    return [_check(number, answer, records[number]) for number, answer in enumerate(answers.values())]


def _check(number: int, answer: object, record: Record) -> HourForecast:
    given = answer if isinstance(answer, dict) else {}
    for name in (schema.SERVER, schema.HOUR):
        if given.get(name) != record[name]:
            _refuse(number, name, given.get(name), record[name])
    label = given.get(schema.PREDICTION)
    if isinstance(label, bool) or not isinstance(label, int | float) or label not in schema.CLASS_NAMES:
        _refuse(number, schema.PREDICTION, label, "1, 2 or 3")
    if given.get(schema.LABEL) != schema.CLASS_NAMES[int(label)]:
        _refuse(number, schema.LABEL, given.get(schema.LABEL), schema.CLASS_NAMES[int(label)])
    if not isinstance(given.get("cold_start"), bool):
        _refuse(number, "cold_start", given.get("cold_start"), "true or false")
    shares = _probabilities(given.get("probability"))
    if shares is None or shares[int(label) - 1] < max(shares):
        _refuse(number, "probability", given.get("probability"), "three shares of 1, the largest that of the class")
    hour = datetime.strptime(record[schema.HOUR], schema.TIME_FORMAT)
    return HourForecast(record[schema.SERVER], hour, int(label), shares, given["cold_start"])


def _probabilities(answer: object) -> tuple[float, ...] | None:
    """The probabilities by class, or None where `answer` does not hold them."""
    names = tuple(schema.CLASS_NAMES.values())
    if not isinstance(answer, dict) or set(answer) != set(names):
        return None
    shares = tuple(answer[name] for name in names)
    if any(isinstance(share, bool) or not isinstance(share, (int, float)) for share in shares):
        return None
    right = all(0 <= share <= 1 for share in shares) and math.isclose(sum(shares), 1, abs_tol=_TOLERANCE)
    return tuple(map(float, shares)) if right else None


def _refuse(number: int, field: str, actual: object, wanted: str) -> NoReturn:
    shown = _plain(repr(actual))[:100]
    raise ServiceError(f"The service's answer to record {number}: {field}: found {shown}, wanted {wanted}.")


def by_server(answers: Iterable[HourForecast]) -> list[ServerForecast]:
    """Answers, which come server after server, put together for each."""
    return [ServerForecast(server, tuple(hours)) for server, hours in groupby(answers, lambda answer: answer.server)]
