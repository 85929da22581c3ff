"""IP addresses in one written form."""

from __future__ import annotations

import ipaddress


def canonical_address(text: str) -> str:
    """The address in its shortest form (RFC 5952, IPv4-mapped ones in hexadecimal groups, whatever the Python version).

    IPv4 is four numbers without leading zeros; IPv6 has no zone index. Raises ValueError for anything else.
    """
    address = ipaddress.ip_address(text)
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id:
            raise ValueError(f"{text!r} has a zone index")
        if address.ipv4_mapped:
            number = int(address.ipv4_mapped)
            return f"::ffff:{number >> 16:x}:{number & 0xFFFF:x}"
    return str(address)
