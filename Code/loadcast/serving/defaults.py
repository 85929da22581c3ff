"""Numbers that help texts name, apart from the modules that work with them, which are slow to import."""

from __future__ import annotations

DEFAULT_URL = "http://127.0.0.1:5000"
#: Records a request: 48 hours of one server.
DEFAULT_BATCH = 48
#: Records that the service takes in one request.
MAX_RECORDS = 10_000
#: Bytes that the service takes in one request.
MAX_BODY_BYTES = 8 << 20
#: Up to so many servers each get a table of all numbers, unless told otherwise.
MOST_TABLED_SERVERS = 4
#: Requests that the client has under way.
DEFAULT_CONNECTIONS = 4
MAX_CONNECTIONS = 64
#: A year.
MAX_DEADLINE_S = 31_536_000
