"""Which client a request comes from, also behind proxies, for the limit of streams per address.

`X-Forwarded-For` is believed only as far as trusted proxies wrote it, so no client chooses its
address. The address is only a key to count by: no right depends on it.
"""

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address

from aiohttp import web

Network = IPv4Network | IPv6Network
_Address = IPv4Address | IPv6Address

UNIX = "unix"
"""For all clients of a unix socket without a usable `X-Forwarded-For`."""

UNKNOWN = "unknown"
"""For a peer that left before its address was read."""

_MOST_HOPS = 16
"""A longer chain of trusted proxies is not followed: a client chooses how long the header is."""

_LONGEST = 45
"""Characters of the longest textual IPv6 address (with a dotted quad at its end)."""

_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d{1,5})?|([\d.]+):\d{1,5}", re.ASCII)
"""As some load balancers write an entry."""

_CUSTOMER_BITS = 64
"""A host chooses the other half of its IPv6 address (RFC 4291, section 2.5.4), so a /64 is one."""


def client_address(request: web.BaseRequest, trusted: Sequence[Network]) -> str:
    """The address to count *request* by: an IPv4 address, or the /64 of an IPv6 one.

    Walks from the peer to the left through `X-Forwarded-For`, as long as the hop is in *trusted* or
    a unix socket; the first other hop counts. An entry may have a port (`203.0.113.7:5123`,
    `[2001:db8::7]:5123`). At one that is no address (`unknown`, anything else), the hop that wrote
    it counts. Never raises.
    """
    if request.remote is None:
        return UNKNOWN
    # A unix peer has no IP address: its name is empty, or a path.
    hop = _parse(request.remote)
    # Several lines are one list (RFC 9110, section 5.3).
    lines = ",".join(request.headers.getall("X-Forwarded-For", ()))
    for entry in reversed(lines.rsplit(",", _MOST_HOPS)[-_MOST_HOPS:]):
        if hop is not None and not any(hop in network for network in trusted):
            break
        before = _parse_entry(entry.strip(" \t"))
        if before is None:
            break
        hop = before
    return UNIX if hop is None else _key(hop)


def _parse_entry(text: str) -> _Address | None:
    with_port = _WITH_PORT.fullmatch(text)
    return _parse(text if with_port is None else with_port[1] or with_port[2])


def _parse(text: str) -> _Address | None:
    # Before the cache: an entry may be as long as a header.
    return None if len(text) > _LONGEST else _parse_short(text)


@lru_cache(maxsize=8192)
def _parse_short(text: str) -> _Address | None:
    try:
        address = ip_address(text)
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        # A socket for both families shows IPv4 peers like this.
        return address.ipv4_mapped
    return address


@lru_cache(maxsize=8192)
def _key(address: _Address) -> str:
    if isinstance(address, IPv4Address):
        return str(address)
    # From the number: a scope (`%eth0`) is free text, and is left out.
    return str(IPv6Network((int(address), _CUSTOMER_BITS), strict=False))
