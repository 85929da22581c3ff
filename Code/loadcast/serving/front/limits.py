"""How long and how large a request may be, and how many connections there may be."""

from __future__ import annotations

from dataclasses import dataclass

from loadcast.serving.defaults import MAX_BODY_BYTES

#: Bodies up to this size are answered at once, between two looks at the network; larger ones by a thread.
LARGEST_QUICK_BODY = 256 << 10
#: How often connections are looked at for whether their time is up.
LOOK_EVERY_S = 0.25


@dataclass(frozen=True)
class Limits:
    """Of one worker.

    `head_s`, `body_s`: seconds for a head from its first byte, and for a body from the head's end; the second holds for
    an answer to be read, too. `idle_s`: seconds that a connection is kept without a request. `linger_s`: seconds in
    which a refused client may read why. `drain_s`: seconds that an ending worker waits for clients that had a
    connection. `head_bytes`, `body_bytes`: the largest. `buffered_bytes`: of all bodies that are still arriving.
    `connections`: all of them, and `address_connections`: of one address.
    """

    head_s: float = 5.0
    body_s: float = 30.0
    idle_s: float = 75.0
    linger_s: float = 2.0
    drain_s: float = 2.0
    head_bytes: int = 32 << 10
    body_bytes: int = MAX_BODY_BYTES
    buffered_bytes: int = 256 << 20
    connections: int = 8192
    address_connections: int = 1024
