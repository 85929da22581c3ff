"""One request as it arrived, whole, and as WSGI describes it."""

from __future__ import annotations

import io
import sys
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Any
from urllib.parse import unquote_to_bytes

#: What an ending worker tells the application of each request.
DRAINING = "loadcast.draining"
_METHODS_WITHOUT_PATH = (b"OPTIONS",)
_SCHEMES = (b"http://", b"https://")
_SINGLE = (b"host", b"content-length", b"transfer-encoding", b"authorization", b"content-type", b"expect")


class Refused(Exception):
    """A request that is answered by the front itself: `status`, and `detail` for the client."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status, self.detail = status, detail

    @property
    def headers(self) -> tuple[tuple[str, str], ...]:
        """What the answer has besides."""
        return (("Retry-After", "1"),) if self.status == HTTPStatus.SERVICE_UNAVAILABLE else ()


@dataclass(slots=True)
class Message:
    """A request: `headers` with names in lower case, in the order of arrival; `body` whole once it is handled."""

    method: bytes = b""
    target: bytes = b""
    version: str = "1.1"
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)
    body: bytearray = field(default_factory=bytearray)
    keeps_alive: bool = True

    def header(self, name: bytes) -> bytes | None:
        """The first header of this name."""
        return next((value for known, value in self.headers if known == name), None)

    def check(self) -> None:
        """Raise Refused for a head that could be read in two ways."""
        names = [name for name, _ in self.headers]
        for name in _SINGLE:
            if names.count(name) > 1:
                raise Refused(400, f"The header {name.decode().title()} stands more than once, wanted once at most.")
        if self.version not in ("1.0", "1.1"):
            raise Refused(400, f"Found HTTP/{self.version}, wanted HTTP/1.1 or HTTP/1.0.")
        if self.version == "1.1" and b"host" not in names:
            raise Refused(400, "There is no header Host, wanted one.")
        coding = self.header(b"transfer-encoding")
        if coding is not None and (coding.strip().lower() != b"chunked" or self.version == "1.0"):
            raise Refused(400, "Transfer-Encoding: wanted chunked or none, in HTTP/1.1.")

    def path_and_query(self) -> tuple[bytes, bytes]:
        """What the target names here; a target with a scheme and a host names the same as without. Raises Refused."""
        target = self.target
        for scheme in _SCHEMES:
            if target[: len(scheme)].lower() == scheme:
                _, slash, rest = target[len(scheme) :].partition(b"/")
                target = slash + rest or b"/"
        if target == b"*" and self.method in _METHODS_WITHOUT_PATH:
            target = b"/"
        if not target.startswith(b"/") or b"#" in target:
            raise Refused(400, "The request's target is no path, wanted one such as /score.")
        path, _, query = target.partition(b"?")
        return path, query


def environ_of(message: Message, scheme: str, client: tuple[str, int], server: tuple[str, int]) -> dict[str, Any]:
    """The request's WSGI environment. Raises Refused for a target that names nothing."""
    path, query = message.path_and_query()
    environ: dict[str, Any] = {
        "REQUEST_METHOD": message.method.decode("ascii"),
        "SCRIPT_NAME": "",
        "PATH_INFO": (unquote_to_bytes(path) if b"%" in path else path).decode("latin-1"),
        "QUERY_STRING": query.decode("latin-1"),
        "SERVER_PROTOCOL": f"HTTP/{message.version}",
        "SERVER_NAME": server[0],
        "SERVER_PORT": str(server[1]),
        "REMOTE_ADDR": client[0],
        "REMOTE_PORT": str(client[1]),
        "CONTENT_LENGTH": str(len(message.body)),
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": scheme,
        "wsgi.input": io.BytesIO(message.body),
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": True,
        "wsgi.run_once": False,
    }
    for name, value in message.headers:
        # A name with an underline would pass for one with a hyphen, such as X_Request-ID for what a proxy has checked.
        if b"_" in name or name in (b"content-length", b"transfer-encoding"):
            continue
        variable = name.decode("latin-1").upper().replace("-", "_")
        variable = variable if variable == "CONTENT_TYPE" else f"HTTP_{variable}"
        text = value.decode("latin-1")
        environ[variable] = f"{environ[variable]},{text}" if variable in environ else text
    return environ
