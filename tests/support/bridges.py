"""Bridges between this machine and hosts of the tests, each with a network of its own that leads nowhere else."""

from __future__ import annotations

import ipaddress
import itertools
import json
import os
import random
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PREFIX_BITS = 28
#: Set aside for tests of networks (RFC 2544): no machine of any real network has such an address.
_RANGE = ipaddress.ip_network("198.18.0.0/15")
_COUNTER = itertools.count()


@contextmanager
def running_bridge() -> Iterator[tuple[str, list[str]]]:
    """A bridge while the block runs: its name, and its network's addresses, of which the first is this machine's."""
    _sweep()
    name = f"lc{os.getpid()}-{next(_COUNTER)}"
    listed = json.loads(ip("-json", "-4", "address"))
    used = {ipaddress.ip_address(info["local"]) for link in listed for info in link["addr_info"]}
    free = (net for net in _networks() if not used & {*net.hosts()})
    addresses = [str(address) for address in next(free).hosts()]
    ip("link", "add", name, "type", "bridge")
    try:
        ip("address", "add", f"{addresses[0]}/{PREFIX_BITS}", "dev", name)
        ip("link", "set", name, "up")
        yield name, addresses
    finally:
        ip("link", "delete", name)


def _networks() -> Iterator[ipaddress.IPv4Network]:
    """Networks in an order that other processes hardly have."""
    chance = random.Random()
    while True:
        address = int(_RANGE.network_address) + (chance.randrange(_RANGE.num_addresses) & ~0xF)
        yield ipaddress.IPv4Network((address, PREFIX_BITS))


def _sweep() -> None:
    """Remove the bridges of tests that were killed."""
    for link in json.loads(ip("-json", "link", "show", "type", "bridge")):
        owner = re.fullmatch(r"lc(\d+)-\d+", link.get("ifname", ""))
        if owner and not Path("/proc", owner[1]).exists():
            subprocess.run(["ip", "link", "delete", link["ifname"]], capture_output=True)  # another may be faster


def ip(*words: str | None) -> str:
    """What the command `ip` says."""
    done = subprocess.run(["ip", *map(str, words)], capture_output=True, text=True)
    assert done.returncode == 0, f"ip {words}: {done.stderr}"
    return done.stdout
