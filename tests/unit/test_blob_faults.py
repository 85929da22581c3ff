"""What is asked again, how answers that are wrong are noticed, and what users are told."""

from __future__ import annotations

import socket
import ssl
import traceback
from collections.abc import Callable
from http.client import BadStatusLine
from types import SimpleNamespace
from typing import Any

import pytest
import requests
from azure.core.exceptions import (
    AzureError,
    ClientAuthenticationError,
    DecodeError,
    HttpResponseError,
    IncompleteReadError,
    ServiceRequestError,
    ServiceResponseError,
    ServiceResponseTimeoutError,
)
from urllib3.exceptions import MaxRetryError, NameResolutionError, ProtocolError, ReadTimeoutError

from loadcast.errors import ConfigError, InputError, LoadcastError, OutputError
from loadcast.storage.blob.access import ANONYMOUS, Access
from loadcast.storage.blob.errors import BlobChangedError
from loadcast.storage.blob.faults import explain, explained
from loadcast.storage.blob.location import BlobLocation
from loadcast.storage.blob.pace import SlowTransferError
from loadcast.storage.blob.policy import (
    Attempts,
    BrokenAnswerError,
    NotStorageError,
    Patience,
    Policy,
    is_transient,
    pause_s,
    reasons,
)

SIGNATURE = "bm90LWEtc2lnbmF0dXJl"
SAS = f"sv=2024-11-04&sr=c&sp=rl&st=2026-01-01T00:00:00Z&se=2026-01-02T00%3A00%3A00Z&sig={SIGNATURE}%3D"
KEY, LEAVE = Access("key", "a2V5"), Access("sas", SAS)
BLOB = BlobLocation("https://acct.blob.core.windows.net", "logs", "a.csv")
BEFORE, DURING, AFTER = (f"{day} 12:00:00 GMT" for day in ("Wed, 31 Dec 2025", "Thu, 01 Jan 2026", "Fri, 02 Jan 2026"))


def answer(status: int, code: str = "", **headers: str) -> HttpResponseError:
    """The SDK's error for an answer of the server."""
    all_headers = {"x-ms-error-code": code, "Date": DURING, **headers}
    response = SimpleNamespace(
        status_code=status, reason="said so", headers=all_headers, text=lambda: f"body?sig={SIGNATURE}"
    )
    return HttpResponseError(response=response)


def network(error: Exception) -> ServiceRequestError:
    """The SDK's error for one below it, with a URL in its text."""
    pool: Any = SimpleNamespace(host="acct")
    outer = requests.exceptions.ConnectionError(MaxRetryError(pool, f"/logs?{SAS}", error))
    return ServiceRequestError(outer, error=outer)


def name_error(number: int) -> ServiceRequestError:
    pool: Any = SimpleNamespace()
    try:
        raise NameResolutionError("acct", pool, socket.gaierror(number, "said the resolver"))
    except NameResolutionError as error:
        error.__cause__ = socket.gaierror(number, "said the resolver")
        return network(error)


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] said OpenSSL")
    error.reason = reason
    return error


NO_SUCH_NAME = name_error(socket.EAI_NONAME)
NO_NETWORK = name_error(socket.EAI_AGAIN)
REFUSED = network(ConnectionRefusedError(111, "refused"))
PLAIN = network(tls_error("WRONG_VERSION_NUMBER"))
NOT_STORAGE = NotStorageError(200, "an HTML page")
UNTRUSTED = network(ssl.SSLCertVerificationError(1, "self-signed"))
TIMED_OUT = ServiceResponseTimeoutError("waited", error=TimeoutError())
BROKEN = ServiceResponseError("cut", error=ProtocolError("cut"))


# --- what users are told --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("error", "access", "kind", "wanted"),
    [
        (answer(403, "AuthenticationFailed", Date=AFTER), LEAVE, ConfigError, "expired on 2026-01-02 at 00:00:00"),
        (answer(403, "AuthenticationFailed", Date=BEFORE), LEAVE, ConfigError, "not valid before 2026-01-01"),
        (answer(403, "AuthorizationPermissionMismatch"), LEAVE, ConfigError, "does not permit this (it gives rl)"),
        (answer(403, "AuthenticationFailed"), LEAVE, ConfigError, "refuses the SAS"),
        (answer(403, "AuthenticationFailed"), Access("sas", "sig=x&se=never&st="), ConfigError, "refuses the SAS"),
        (answer(403, "AuthenticationFailed"), KEY, ConfigError, "refuses the account key"),
        (answer(403, "AuthorizationFailure"), KEY, ConfigError, "refuses the account key"),
        (answer(403, "AccountIsDisabled"), KEY, ConfigError, "account is disabled"),
        (answer(403, "AuthorizationPermissionMismatch"), Access("chain"), ConfigError, "Storage Blob Data Reader"),
        (answer(403, "AuthorizationFailure"), Access("chain"), ConfigError, "firewall"),
        (answer(409, "PublicAccessNotPermitted"), ANONYMOUS, ConfigError, "is not public"),
        (answer(401, "NoAuthenticationInformation"), ANONYMOUS, ConfigError, "is not public"),
        (answer(404, "ResourceNotFound"), ANONYMOUS, ConfigError, "is not public"),
        (ClientAuthenticationError("no login"), Access("chain"), ConfigError, "az login"),
        (answer(404, "ContainerNotFound"), KEY, InputError, "There is no container 'logs' in the storage account acct"),
        (answer(409, "ContainerBeingDeleted"), KEY, InputError, "There is no container 'logs'"),
        (answer(404, "BlobNotFound"), KEY, InputError, "There is no blob https://acct.blob.core.windows.net/logs/a.csv"),
        (answer(412, "ConditionNotMet"), KEY, InputError, "was changed while it was in use"),
        (answer(412, "LeaseIdMissing"), KEY, InputError, "is locked by another program"),
        (answer(503, "ServerBusy"), KEY, InputError, "too busy or has a fault: the server answered 503 (ServerBusy)"),
        (answer(429), KEY, InputError, "the server answered 429 at every attempt"),
        (answer(400, "OutOfRangeInput"), KEY, InputError, "the server answered 400 (OutOfRangeInput)"),
        (answer(400, "evil\n\x1b[31m code"), KEY, InputError, "the server answered 400. "),
        (NO_SUCH_NAME, KEY, InputError, "There is no storage account acct"),
        (NO_NETWORK, KEY, InputError, "No network to acct.blob.core.windows.net: its name cannot be looked up"),
        (REFUSED, KEY, InputError, "the connection was refused"),
        (UNTRUSTED, KEY, InputError, "certificate"),
        (PLAIN, KEY, InputError, "was asked by https and does not speak it. Write http://"),
        (network(BadStatusLine("\x15\x03\x03\x00\x02\x02")), KEY, InputError, "asked by http and speaks https"),
        (NOT_STORAGE, KEY, InputError, "is no blob storage, but 200 with an HTML page"),
        (ServiceResponseTimeoutError("", error=SlowTransferError("3 bytes")), KEY, InputError, "too slowly"),
        (answer(200), KEY, InputError, "the server's answer was cut or damaged on the way, at every attempt"),
        (answer(400, "Md5Mismatch"), KEY, InputError, "damaged on the way"),
        (TIMED_OUT, KEY, InputError, "does not answer in time"),
        (BROKEN, KEY, InputError, "the connection breaks off"),
        (network(requests.exceptions.ProxyError("no")), KEY, InputError, "HTTPS_PROXY"),
        (BrokenAnswerError("the server sent 3 bytes of 4"), KEY, InputError, "the server sent 3 bytes of 4"),
    ],
)  # fmt: skip
def test_each_fault_has_one_line_that_says_what_to_do(
    error: Exception, access: Access, kind: type[LoadcastError], wanted: str
) -> None:
    explanation = explain(error, BLOB, access)
    assert type(explanation) is kind
    assert wanted in str(explanation)
    assert "\n" not in str(explanation)
    assert SIGNATURE not in str(explanation)
    assert str(explanation).endswith((".", ").")) or "run again" in str(explanation).lower()


def test_the_five_commonest_faults_are_five_messages() -> None:
    faults = [
        (answer(403, "AuthenticationFailed", Date=AFTER), LEAVE),
        (answer(403, "AuthenticationFailed"), KEY),
        (answer(404, "ContainerNotFound"), KEY),
        (NO_SUCH_NAME, KEY),
        (NO_NETWORK, KEY),
    ]
    assert len({str(explain(error, BLOB, access)) for error, access in faults}) == 5


def test_a_fault_of_writing_is_of_the_kind_that_is_asked_for() -> None:
    assert type(explain(answer(404, "ContainerNotFound"), BLOB, KEY, OutputError)) is OutputError
    assert type(explain(answer(403, "AuthenticationFailed"), BLOB, KEY, OutputError)) is ConfigError


@pytest.mark.parametrize("error", [answer(403), NO_SUCH_NAME, REFUSED, BROKEN, requests.ConnectionError(f"?{SAS}")])
def test_nothing_of_an_error_leads_to_the_secret(error: Exception) -> None:
    with pytest.raises(LoadcastError) as caught, explained(BLOB, Access("sas", SAS)):
        raise error
    assert list(reasons(caught.value)) == [caught.value]
    assert SIGNATURE not in "".join(traceback.format_exception(caught.value))


@pytest.mark.parametrize(
    "error", [InputError("ours"), BlobChangedError("changed"), ValueError("a fault of ours"), FileNotFoundError(2, "x")]
)
def test_other_errors_pass_as_they_are(error: Exception) -> None:
    with pytest.raises(type(error)) as caught, explained(BLOB):
        raise error
    assert caught.value is error


# --- patience -------------------------------------------------------------------------------------------------------


class Clock:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 0.0
        self.pauses: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.pauses.append(seconds)
        self.now += seconds

    def policy(self, **patience: Any) -> Policy:
        return Policy(Patience(**patience), self.sleep, lambda: self.now)


def failing(*errors: Exception) -> Callable[[Attempts], str]:
    waiting = list(errors)

    def operation(attempts: Attempts) -> str:
        if waiting:
            raise waiting.pop(0)
        return "done"

    return operation


TRANSIENT = [
    answer(429),
    answer(500, "InternalError"),
    answer(503, "ServerBusy"),
    answer(408),
    TIMED_OUT,
    BROKEN,
    REFUSED,
    NO_NETWORK,
    IncompleteReadError("short"),
    DecodeError("not XML", response=answer(200).response),
    answer(400, "Md5Mismatch"),
    NOT_STORAGE,
    SlowTransferError("3 bytes"),
    BrokenAnswerError("wrong range"),
    ProtocolError("cut"),
    ReadTimeoutError(None, "", "stalled"),  # type: ignore[arg-type]
    ConnectionResetError(104, "reset"),
    TimeoutError(),
]
FINAL = [
    answer(400),
    answer(401),
    answer(403),
    answer(404),
    answer(409),
    answer(412),
    answer(416),
    UNTRUSTED,
    ClientAuthenticationError("no login"),
    BlobChangedError("changed"),
    ValueError("a fault of ours"),
    AzureError("who knows"),
]


@pytest.mark.parametrize("error", TRANSIENT)
def test_faults_that_pass_are_asked_again(error: Exception) -> None:
    clock = Clock()
    assert is_transient(error)
    assert clock.policy().call(failing(error, error)) == "done"
    assert len(clock.pauses) == 2


@pytest.mark.parametrize("error", FINAL)
def test_other_faults_are_told_at_once(error: Exception) -> None:
    clock = Clock()
    with pytest.raises(type(error)):
        clock.policy().call(failing(error))
    assert clock.pauses == []


@pytest.mark.parametrize("error", [NO_SUCH_NAME, NO_NETWORK, REFUSED, TIMED_OUT, BROKEN, NOT_STORAGE])
def test_a_server_that_never_answered_is_given_half_a_minute(error: Exception) -> None:
    clock = Clock()
    with pytest.raises(type(error)):
        clock.policy().call(failing(*[error] * 1000))
    assert 20 < clock.now <= 30


@pytest.mark.parametrize("error", [NO_SUCH_NAME, NO_NETWORK, REFUSED, TIMED_OUT, BROKEN, NOT_STORAGE])
def test_a_server_that_has_answered_is_given_minutes_to_come_back(error: Exception) -> None:
    clock = Clock()
    policy = clock.policy()
    policy.call(failing())
    with pytest.raises(type(error)):
        policy.call(failing(*[error] * 1000))
    assert 230 < clock.now <= 240


def test_half_an_answer_is_one() -> None:
    clock = Clock()
    policy = clock.policy()

    def operation(attempts: Attempts) -> str:
        if clock.now < 100:
            policy.has_answered()  # as the head of an answer does
            raise BROKEN
        return "done"

    assert policy.call(operation) == "done"


@pytest.mark.parametrize("failures", [100, 5000])
def test_what_fails_at_once_is_asked_again_as_long_as_there_is_time(failures: int) -> None:
    clock = Clock()
    policy = clock.policy(longest_pause_s=0.01, first_pause_s=0.01)
    assert policy.call(failing(*[answer(503)] * failures)) == "done"


def test_what_speaks_no_https_is_told_at_once_at_first_contact_only() -> None:
    clock = Clock()
    with pytest.raises(ServiceRequestError):
        clock.policy().call(failing(PLAIN))
    assert clock.pauses == []
    policy = clock.policy()
    policy.has_answered()
    assert policy.call(failing(PLAIN)) == "done"


def test_an_answer_that_is_an_error_has_reached_the_server() -> None:
    policy = Clock().policy()
    assert policy.call(failing(answer(503), *[REFUSED] * 8)) == "done"


def test_an_operation_has_a_deadline() -> None:
    clock = Clock()
    with pytest.raises(HttpResponseError):
        clock.policy().call(failing(*[answer(503)] * 1000), deadline_s=60)
    assert 40 < clock.now <= 60


def test_pauses_grow_to_a_cap_and_differ() -> None:
    patience = Patience(first_pause_s=1, longest_pause_s=8)
    for failures, longest in ((1, 1), (2, 2), (3, 4), (4, 8), (5, 8), (500, 8)):
        pauses = [pause_s(failures, answer(503), patience) for _ in range(50)]
        assert longest / 2 <= min(pauses)
        assert max(pauses) <= longest
        assert len(set(pauses)) > 40


@pytest.mark.parametrize(
    ("header", "least", "most"),
    [("5", 5, 5), ("9999", 30, 30), ("-5", 0, 1), ("soon", 0, 1), ("inf", 0, 1), ("9" * 5000, 0, 1)],
)
def test_the_server_may_ask_for_a_longer_pause(header: str, least: float, most: float) -> None:
    assert least <= pause_s(1, answer(503, **{"Retry-After": header}), Patience(first_pause_s=1)) <= most


def test_a_read_that_stalls_is_given_more_time_each_time() -> None:
    seen: list[float] = []

    def operation(attempts: Attempts) -> None:
        seen.append(attempts.stall_timeout_s)
        if len(seen) < 6:
            raise TimeoutError

    policy = Clock().policy()
    policy.reached = True
    policy.call(operation)
    assert seen == [3, 6, 12, 24, 30, 30]


def test_reasons_are_found_wherever_they_stand_and_loops_end() -> None:
    first, second = ValueError("first"), ValueError("second")
    first.__cause__, second.__context__ = second, first
    assert list(reasons(first)) == [first, second]
