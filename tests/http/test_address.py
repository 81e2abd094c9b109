"""The address that a request is counted by: nobody outside the trusted proxies chooses it."""

import gc
import tracemalloc
from ipaddress import ip_network
from unittest.mock import Mock

import pytest
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from gateway.http.address import UNIX, client_address

TRUSTED = (ip_network("127.0.0.0/8"), ip_network("10.0.0.0/8"), ip_network("::1/128"))


def address(peer: str, *forwarded_for: str) -> str:
    """By what a request of *peer* with these lines is counted."""
    headers = CIMultiDict([("X-Forwarded-For", line) for line in forwarded_for])
    transport = Mock()
    # As asyncio tells it: a pair, or an empty name for a unix socket.
    transport.get_extra_info = lambda _, default=None: (peer, 1) if peer else ""
    return client_address(
        make_mocked_request("GET", "/", headers=headers, transport=transport), TRUSTED
    )


@pytest.mark.parametrize(
    ("peer", "lines", "counted"),
    [
        ("192.0.2.7", (), "192.0.2.7"),
        ("192.0.2.7", ("198.51.100.1",), "192.0.2.7"),
        ("127.0.0.1", (), "127.0.0.1"),
        ("127.0.0.1", ("198.51.100.1",), "198.51.100.1"),
        ("127.0.0.1", ("203.0.113.9, 198.51.100.1",), "198.51.100.1"),
        ("127.0.0.1", ("198.51.100.1, 10.1.2.3",), "198.51.100.1"),
        ("127.0.0.1", ("203.0.113.9", "198.51.100.1"), "198.51.100.1"),
        ("127.0.0.1", ("198.51.100.1, nonsense",), "127.0.0.1"),
        ("127.0.0.1", ("198.51.100.1:4711",), "198.51.100.1"),
        ("127.0.0.1", ("203.0.113.9:80, 10.1.2.3:65535",), "203.0.113.9"),
        ("::1", ("[2001:db8:1:2:3::6]:443",), "2001:db8:1:2::/64"),
        ("::1", ("[2001:db8:1:2:3::6]",), "2001:db8:1:2::/64"),
        ("127.0.0.1", ("[::ffff:198.51.100.1]:4711",), "198.51.100.1"),
        ("127.0.0.1", ("203.0.113.9, 198.51.100.1:",), "127.0.0.1"),
        ("127.0.0.1", ("203.0.113.9, 198.51.100.1:x",), "127.0.0.1"),
        ("127.0.0.1", ("203.0.113.9, 198.51.100.1:\u0664",), "127.0.0.1"),
        ("127.0.0.1", ("203.0.113.9, 2001:db8::6]:80",), "127.0.0.1"),
        ("127.0.0.1", ("203.0.113.9, [2001:db8::6:80",), "127.0.0.1"),
        # Without brackets the last group is a part of the address.
        ("127.0.0.1", ("2001:db8:1:2:3:4:5:443",), "2001:db8:1:2::/64"),
        ("127.0.0.1", ("unknown, 10.1.2.3",), "10.1.2.3"),
        ("::1", ("2001:db8:1:2:3:4:5:6",), "2001:db8:1:2::/64"),
        ("::1", ("::ffff:198.51.100.1",), "198.51.100.1"),
        ("", ("198.51.100.1",), "198.51.100.1"),
        ("", (), UNIX),
    ],
)
def test_counted(peer: str, lines: tuple[str, ...], counted: str) -> None:
    """The first hop from the right that is not trusted counts; a unix peer is always trusted; an
    entry that is no address ends the way, and a port is left out; an IPv6 customer is counted by
    its /64."""
    assert address(peer, *lines) == counted


def test_long_entries_are_not_remembered() -> None:
    """The text of a header is kept nowhere; only parsed addresses are."""
    tracemalloc.start()
    try:
        for number in range(300):
            assert address("127.0.0.1", f"{number:08000}") == "127.0.0.1"
        gc.collect()
        taken, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert taken < 500_000


@pytest.mark.fuzz
@given(st.lists(st.text(), max_size=5), st.sampled_from(["192.0.2.7", "127.0.0.1", ""]))
def test_anything(lines: list[str], peer: str) -> None:
    """Whatever is in the header, there is an address; for an untrusted peer it is its own."""
    counted = address(peer, *lines)
    assert counted
    if peer == "192.0.2.7":
        assert counted == peer
