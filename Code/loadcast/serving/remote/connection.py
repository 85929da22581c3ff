"""One kept connection to a scoring service: a request's body → the answer's status, headers and body."""

from __future__ import annotations

import http.client
import io
import ipaddress
import os
import socket
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ReadTimeoutError

from loadcast.errors import ConfigError, ServiceError
from loadcast.secrets import shown
from loadcast.serving.defaults import DEFAULT_URL
from loadcast.serving.remote.patience import ATTEMPTS, ATTEMPTS_IN_SILENCE, Deadline

CONNECT_TIMEOUT_S = 5.0
#: For the whole answer, however slowly it comes.
ANSWER_TIMEOUT_S = 60.0
_SEND_TIMEOUT_S = 60.0
_MAX_ANSWER_BYTES = 4096
_MAX_BODY_BYTES = 1 << 20
_SHORTEST_SECRET = 8
_PIECE_BYTES = 64 << 10
_START_IT = "Start it (python Code/webservice.py --model Model), or say where it is with --url."


class Unanswered(ServiceError):
    """A request that got no answer that counts.

    `attempts`: so often it is worth to be sent, at most. `everywhere`: every other request would fare the same.
    `status`: that of the answer, if there was one. `wait_s`: what the service wants us to wait.
    """

    def __init__(
        self, *lines: str, attempts: int = 1, everywhere: bool = False, status: int = 0, wait_s: float = 0.0
    ) -> None:
        super().__init__(*lines)
        self.attempts = attempts
        self.everywhere = everywhere
        self.status = status
        self.wait_s = wait_s


@dataclass(frozen=True)
class Reply:
    """An answer that came whole, whatever it says."""

    status: int
    headers: Mapping[str, str]
    body: bytes


class _BearerKey(requests.auth.AuthBase):
    """Sends the key, or nothing; being set, it keeps requests from looking for credentials in .netrc or the URL."""

    def __init__(self, key: str | None) -> None:
        self._key = key

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        if self._key is not None:
            request.headers["Authorization"] = f"Bearer {self._key}"
        return request


class Connection:
    """A kept connection to the score route at `url`; one thread at a time may use it."""

    def __init__(self, url: str, key: str | None) -> None:
        self._url = url
        self._key = key
        self._session = requests.Session()
        self._session.auth = _BearerKey(key)
        # A proxy cannot reach this machine's own loopback address.
        self._session.trust_env = not _is_loopback(url)
        if not self._session.trust_env and (bundle := os.environ.get("REQUESTS_CA_BUNDLE")):
            self._session.verify = bundle
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Adapter())

    def close(self) -> None:
        """Close the connection; the next request opens another."""
        self._session.close()

    def without_key(self, body: bytes) -> bytes:
        """What a service said, should it say the key. One that is as short as a word is no secret."""
        secret = (self._key or "").encode()
        return body.replace(secret, b"REDACTED") if len(secret) >= _SHORTEST_SECRET else body

    def ask(self, body: bytes, n_records: int, deadline: Deadline) -> Reply:
        """Send a body once. Raises requests.RequestException, and ServiceError for an answer that is far too long."""
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        with self._session.post(self._url, data=body, headers=headers, **_bounded(deadline)) as response:
            return Reply(response.status_code, response.headers, _limited(response, n_records))

    def read(self, url: str, deadline: Deadline) -> Reply:
        """What is at another address of the service, asked for once. Raises as `ask` does."""
        with self._session.get(url, headers={"Accept": "application/json"}, **_bounded(deadline)) as response:
            return Reply(response.status_code, response.headers, _limited(response, 0))


def _bounded(deadline: Deadline) -> dict[str, Any]:
    left_s = max(deadline.left_s(), 1e-3)  # a time-out of 0 is none
    timeout = min(CONNECT_TIMEOUT_S, left_s), min(ANSWER_TIMEOUT_S, left_s)
    return {"timeout": timeout, "allow_redirects": False, "stream": True}


def unreachable(url: str, error: requests.RequestException, attempts_to_reach: int) -> Unanswered:
    """What is said of a request that has no whole answer."""
    attempts, everywhere = ATTEMPTS, False
    if _is_late(error):
        reason, attempts = f"gave no answer for {ANSWER_TIMEOUT_S:g} s", ATTEMPTS_IN_SILENCE
    elif _broke_off(error):
        reason = "is there, but its answer broke off"
    elif isinstance(error, requests.exceptions.SSLError):
        reason, attempts, everywhere = "could not prove who it is (TLS)", 1, True
    elif isinstance(error, requests.ConnectionError):
        reason, attempts, everywhere = "cannot be reached", attempts_to_reach, True
    else:
        reason, attempts, everywhere = f"cannot be talked to ({type(error).__name__})", 1, True
    return Unanswered(f"The service at {url} {reason}. {_START_IT}", attempts=attempts, everywhere=everywhere)


def _is_late(error: requests.RequestException) -> bool:
    """Whether the connection was there, but not the whole answer in time."""
    # Requests has another error for the body.
    in_body = bool(error.args) and isinstance(error.args[0], ReadTimeoutError)
    return in_body or isinstance(error, requests.exceptions.ReadTimeout)


def _broke_off(error: requests.RequestException) -> bool:
    if isinstance(error, requests.exceptions.ChunkedEncodingError | requests.exceptions.ContentDecodingError):
        return True
    if isinstance(error, requests.exceptions.SSLError):
        return "UNEXPECTED_EOF" in str(error)
    # Of a request that was sent, urllib3 says that the connection was aborted; else why none could be made.
    return isinstance(error, requests.ConnectionError) and "Connection aborted" in str(error)


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
            raise Unanswered(f"The service's answer has more than {limit} bytes, wanted {n_records} answer(s).")
    return bytes(body)


class _Answer(http.client.HTTPResponse):
    """An answer whose head and body together come within the time-out that a read has."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(_TimedReader(self.fp.detach(), sock))


class _TimedReader(io.RawIOBase):
    def __init__(self, source: io.RawIOBase, sock: socket.socket) -> None:
        self._source = source
        self._socket = sock
        timeout_s = sock.gettimeout()
        self._end_s = time.monotonic() + (ANSWER_TIMEOUT_S if timeout_s is None else timeout_s)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        left_s = self._end_s - time.monotonic()
        if left_s <= 0:
            raise TimeoutError("timed out")
        self._socket.settimeout(left_s)
        return self._source.readinto(buffer)

    def close(self) -> None:
        self._source.close()
        super().close()


class _TimedSending:
    """What both kinds of connections share: the time left of an answer is not that of the next request."""

    sock: socket.socket | None

    def send(self, data: Any) -> None:
        if self.sock is not None:
            self.sock.settimeout(_SEND_TIMEOUT_S)
        super().send(data)  # type: ignore[misc]  # the connection's


class _Plain(_TimedSending, HTTPConnection):
    response_class = _Answer


class _Secure(_TimedSending, HTTPSConnection):
    response_class = _Answer


class _PlainPool(HTTPConnectionPool):
    ConnectionCls = _Plain


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _Secure


class _Adapter(HTTPAdapter):
    def __init__(self) -> None:
        super().__init__(pool_connections=1, pool_maxsize=1)

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = {"http": _PlainPool, "https": _SecurePool}
        return manager
