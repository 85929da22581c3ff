"""The scoring client: feature records → the service → answers that are checked against what was asked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from types import TracebackType

import requests

from loadcast.errors import LoadcastError, ServiceError
from loadcast.serving.defaults import DEFAULT_BATCH, DEFAULT_URL, MAX_BODY_BYTES, MAX_RECORDS
from loadcast.serving.keys import check_key
from loadcast.serving.remote import patience
from loadcast.serving.remote.answers import HourForecast, check_answers, explain
from loadcast.serving.remote.batches import Batch, Record, batched
from loadcast.serving.remote.connection import Connection, Reply, Unanswered, score_url, unreachable
from loadcast.serving.remote.model_page import served_versions
from loadcast.serving.remote.patience import ATTEMPTS, RESTART_ATTEMPTS, Deadline, Pace, retry_after_s
from loadcast.serving.remote.servers import Group, Outcome, ServerRecords, grouped, without_forecast
from loadcast.serving.remote.side_by_side import SideBySide

_OK = 200
_TOO_LARGE = 413
_BAD_REQUEST = 400
_FAILED = 500
#: A service that is restarted, busy, or failed at this one request; scoring changes nothing, so asking twice is safe.
_PASSING = frozenset({408, 429, 500, 502, 503, 504})
_BUSY = frozenset({429, 503})
#: Whatever is asked, these are the answer.
_FOR_ALL = frozenset({401, 403, 404, 405, 407, 415, 501, 505, 511})
_TODO = {
    401: "Name the key with --key-file, or set LOADCAST_SERVICE_KEY.",
    404: "Look at the path in --url.",
    413: "Take a smaller --batch.",
}
#: After so many requests in a row that nobody answered, however often they were sent, the service is given up.
_GIVEN_UP_AFTER = 8


class ScoringClient:
    """Talks to one scoring service over kept connections; use it in a `with` block.

    `url` is the service's address, with or without the path of its score route; `connections` are how many
    `score_servers` has at once; `deadline_s` is how long one call may take, waiting included. Raises ConfigError for an
    address that cannot be one, and for a key that no header can carry.

    An answer that is lost, cut short or wrong is asked for again, and so are 408, 429, 500, 502, 503 and 504: five
    times in all, after waits that grow, or that the service's Retry-After names, up to 30 s.
    """

    def __init__(
        self,
        url: str = DEFAULT_URL,
        key: str | None = None,
        *,
        connections: int = 1,
        deadline_s: float | None = None,
    ) -> None:
        self.url = score_url(url)
        if key:
            check_key(key)
        self._connections = [Connection(self.url, key or None) for _ in range(max(1, connections))]
        self._deadline_s = deadline_s
        self._pace = Pace()
        # A service, or a proxy before it, may take less than ours: then this shrinks.
        self._most_bytes = MAX_BODY_BYTES
        self._reached = False
        self._failed_in_a_row = 0
        self._given_up: Unanswered | None = None

    def __enter__(self) -> ScoringClient:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for connection in self._connections:
            connection.close()

    def score(self, records: Sequence[Record]) -> list[HourForecast]:
        """Answers to one batch of feature records, one each, in order. Raises ServiceError."""
        deadline = self._begin()
        batches = batched(records, MAX_RECORDS, self._most_bytes) if records else [Batch((), ())]
        return [hour for batch in batches for hour in self._asked(self._connections[0], batch, deadline)]

    def score_in_batches(self, records: Iterable[Record], batch_size: int = DEFAULT_BATCH) -> Iterator[HourForecast]:
        """Answers to all records, in order, asked for `batch_size` at a time at most. Raises ServiceError."""
        deadline = self._begin()
        for batch in batched(records, batch_size, self._most_bytes):
            yield from self._asked(self._connections[0], batch, deadline)

    def score_servers(self, servers: Sequence[ServerRecords], batch_size: int = DEFAULT_BATCH) -> Iterator[Outcome]:
        """What came of each server, in order, with as many requests under way as the client has connections.

        Up to `batch_size` records make a request, of several servers where it is long enough. Records are made when
        their turn comes. A server's fault, and an answer that never came, are that server's `error`; the others go on.
        """
        deadline = self._begin()

        def work(lane: int, sources: Sequence[ServerRecords]) -> list[Outcome]:
            return self._together(self._connections[lane], sources, batch_size, deadline)

        groups = grouped(servers, batch_size)
        with SideBySide(work, groups, len(self._connections), deadline) as results:
            for sources, outcomes in zip(groups, results, strict=True):
                yield from without_forecast(sources, _late(self.url, deadline)) if outcomes is None else outcomes

    def model_versions(self) -> list[str] | None:
        """The versions of the model that the service says it has, asked once; None where it does not say."""
        return served_versions(self._connections[0], self.url)

    def _begin(self) -> Deadline:
        self._failed_in_a_row, self._given_up = 0, None
        return Deadline(self._deadline_s)

    def _together(
        self, connection: Connection, sources: Sequence[ServerRecords], batch_size: int, deadline: Deadline
    ) -> list[Outcome]:
        """What came of servers whose records share requests."""
        if self._given_up is not None:
            return without_forecast(sources, self._given_up)
        group = Group(sources)
        begin = 0
        for batch in batched(group.records, batch_size, self._most_bytes):
            owners = group.owners[begin : begin + len(batch.records)]
            group.add(owners, self._each(connection, batch, owners, deadline))
            begin += len(owners)
        return list(group.outcomes())

    def _each(
        self, connection: Connection, batch: Batch, owners: Sequence[int], deadline: Deadline
    ) -> Sequence[HourForecast | LoadcastError]:
        """An answer to each record, or why there is none; one server's records do not cost those of another."""
        try:
            answers = self._asked(connection, batch, deadline)
        except ServiceError as error:
            self._count(error)
            if not _is_of_a_record(error) or len(set(owners)) == 1:
                return [error] * len(owners)
            middle = len(owners) // 2
            first, second = batch.halves()
            return [
                *self._each(connection, first, owners[:middle], deadline),
                *self._each(connection, second, owners[middle:], deadline),
            ]
        self._failed_in_a_row = 0
        return answers

    def _count(self, error: ServiceError) -> None:
        """Keep in mind how the service does; once it is given up, nothing more is asked."""
        if self._given_up is not None or not isinstance(error, Unanswered):
            return
        self._failed_in_a_row = 0 if error.status in (_BAD_REQUEST, _TOO_LARGE) else self._failed_in_a_row + 1
        if error.everywhere or self._failed_in_a_row >= _GIVEN_UP_AFTER:
            self._given_up = error

    def _asked(self, connection: Connection, batch: Batch, deadline: Deadline) -> list[HourForecast]:
        """The answers to a batch, which is sent again as long as that may help. Raises ServiceError."""
        attempt = 1
        while True:
            self._wait(self._pace.wait_s(), deadline)
            if self._given_up is not None:
                raise self._given_up
            try:
                return self._once(connection, batch, deadline)
            except Unanswered as error:
                if error.status == _TOO_LARGE and len(batch.records) > 1:
                    return self._halved(connection, batch, deadline)
                if deadline.passed:
                    raise _late(self.url, deadline) from error
                if attempt >= error.attempts:
                    raise
                self._wait_after(error, attempt, deadline)
                attempt += 1

    def _halved(self, connection: Connection, batch: Batch, deadline: Deadline) -> list[HourForecast]:
        halves = batch.halves()
        self._most_bytes = min(self._most_bytes, max(half.size_bytes for half in halves))
        return [hour for half in halves for hour in self._asked(connection, half, deadline)]

    def _once(self, connection: Connection, batch: Batch, deadline: Deadline) -> list[HourForecast]:
        try:
            reply = connection.ask(batch.body, len(batch.records), deadline)
        except requests.RequestException as error:
            raise unreachable(self.url, error, RESTART_ATTEMPTS if self._reached else ATTEMPTS) from error
        self._reached = True
        if reply.status != _OK:
            raise _refusal(self.url, reply, explain(connection.without_key(reply.body)))
        try:
            return check_answers(reply.body, batch.records)
        except ServiceError as error:
            # It may be the answer to another request: nothing more is read from this connection.
            connection.close()
            harmless = connection.without_key(reply.body) == reply.body
            said = error.args if harmless else ("The service's answer is wrong, and holds the key.",)
        raise Unanswered(*said, attempts=ATTEMPTS)

    def _wait_after(self, error: Unanswered, attempt: int, deadline: Deadline) -> None:
        wait_s = max(error.wait_s, patience.backoff_s(attempt))
        if error.status in _BUSY:
            self._pace.hold(error.wait_s)
        self._pace.tell(error.status, wait_s, attempt)
        try:
            self._wait(wait_s, deadline)
        except ServiceError as late:
            raise late from error

    def _wait(self, seconds: float, deadline: Deadline) -> None:
        """Wait, but never for longer than there is time."""
        if deadline.left_s() <= seconds:
            raise _late(self.url, deadline)
        if seconds > 0:
            patience.pause(seconds)


def _is_of_a_record(error: ServiceError) -> bool:
    """Whether it may be that another record of the same batch would have been answered."""
    return isinstance(error, Unanswered) and error.status in (_BAD_REQUEST, _FAILED)


def _refusal(url: str, reply: Reply, explanation: str) -> Unanswered:
    status = reply.status
    return Unanswered(
        *f"The service at {url} answered {status}: {explanation}".split("\n"),
        *([_TODO[status]] if status in _TODO else []),
        attempts=ATTEMPTS if status in _PASSING else 1,
        everywhere=status in _FOR_ALL or 300 <= status < 400,
        status=status,
        wait_s=retry_after_s(reply.headers) if status in _PASSING else 0.0,
    )


def _late(url: str, deadline: Deadline) -> ServiceError:
    return ServiceError(f"The service at {url} had not answered when the deadline of {deadline.seconds:g} s was over.")
