"""Which model answers behind a score route, as far as the service says: it has a page of its model."""

from __future__ import annotations

import re
from typing import Any

import orjson
import requests

from loadcast.errors import ServiceError
from loadcast.serving.remote.connection import Connection
from loadcast.serving.remote.patience import Deadline

_NAMED = re.compile(r"(?P<base>.*)/api/v1/service/(?P<name>[^/]+)/score")
_NAME = re.compile(r"[A-Za-z0-9._-]{1,64}")
_OK = 200
_LONGEST_S = 10.0


def served_versions(connection: Connection, score_url: str) -> list[str] | None:
    """The versions of the service's model; None where it does not say, as services of other makes do not."""
    deadline = Deadline(_LONGEST_S)
    named = _NAMED.fullmatch(score_url)
    base = named["base"] if named else score_url.removesuffix("/score")
    name = named["name"] if named else _field(connection, f"{base}/", "service", deadline)
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        return None
    versions = _field(connection, f"{base}/v2/models/{name}", "versions", deadline)
    if not isinstance(versions, list) or not versions or not all(isinstance(item, str) for item in versions):
        return None
    return versions


def _field(connection: Connection, url: str, name: str, deadline: Deadline) -> Any:
    """A field of the JSON object at an address, or None."""
    try:
        reply = connection.read(url, deadline)
        page = orjson.loads(reply.body) if reply.status == _OK else None
    except (requests.RequestException, ServiceError, ValueError):
        return None
    return page.get(name) if isinstance(page, dict) else None
