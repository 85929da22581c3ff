"""HTTP connections to a blob server: none of them may crawl, and what answers must be a blob server."""

from __future__ import annotations

import http.client
import io
import socket
import time
from collections.abc import Callable
from typing import Any

import requests
from requests.adapters import HTTPAdapter
from urllib3 import HTTPConnectionPool, HTTPSConnectionPool
from urllib3.connection import HTTPConnection, HTTPSConnection

from loadcast.storage.blob.pace import Pace, PacedReader
from loadcast.storage.blob.policy import BUSY_STATUSES, NotStorageError

_KEPT_CONNECTIONS = 32
#: Headers of every answer of Azure's blob service; proxies and login pages have none of them.
_MARKS = ("x-ms-request-id", "x-ms-version", "x-ms-error-code")
_KINDS = {"html": "an HTML page", "json": "JSON", "xml": "XML"}


def make_session(reached: Callable[[], object]) -> requests.Session:
    """A session whose connections may not crawl; `reached` is called when the head of a blob server's answer is there.

    Requests raise NotStorageError where something else answers.
    """
    session = requests.Session()
    for scheme in ("http://", "https://"):
        session.mount(scheme, _Adapter(reached))
    return session


class _Answer(http.client.HTTPResponse):
    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self.fp = io.BufferedReader(PacedReader(self.fp.detach()))


class _PacedSending:
    """What both kinds of connections share: they send no slower than Pace allows."""

    def putrequest(self, *args: Any, **kwargs: Any) -> None:
        self._pace = Pace()
        super().putrequest(*args, **kwargs)  # type: ignore[misc]  # the connection's

    def send(self, data: Any) -> None:
        began = time.monotonic()
        super().send(data)  # type: ignore[misc]
        if hasattr(self, "_pace"):  # what opens a tunnel is sent before any request
            self._pace.moved(len(data), began)


class _Connection(_PacedSending, HTTPConnection):
    response_class = _Answer


class _SecureConnection(_PacedSending, HTTPSConnection):
    response_class = _Answer


class _Pool(HTTPConnectionPool):
    ConnectionCls = _Connection


class _SecurePool(HTTPSConnectionPool):
    ConnectionCls = _SecureConnection


_POOLS = {"http": _Pool, "https": _SecurePool}


class _Adapter(HTTPAdapter):
    def __init__(self, reached: Callable[[], object]) -> None:
        super().__init__(pool_connections=2, pool_maxsize=_KEPT_CONNECTIONS)
        self._reached = reached

    def init_poolmanager(self, *args: Any, **kwargs: Any) -> None:
        super().init_poolmanager(*args, **kwargs)
        self.poolmanager.pool_classes_by_scheme = _POOLS

    def proxy_manager_for(self, *args: Any, **kwargs: Any) -> Any:
        manager = super().proxy_manager_for(*args, **kwargs)
        manager.pool_classes_by_scheme = _POOLS
        return manager

    def send(self, *args: Any, **kwargs: Any) -> requests.Response:
        answer = super().send(*args, **kwargs)
        if not any(mark in answer.headers for mark in _MARKS) and answer.status_code not in BUSY_STATUSES:
            answer.close()
            raise NotStorageError(answer.status_code, _kind(answer.headers.get("Content-Type", "")))
        self._reached()
        return answer


def _kind(content_type: str) -> str:
    return next((kind for sign, kind in _KINDS.items() if sign in content_type.lower()), "something else")
