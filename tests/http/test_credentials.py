"""Where credentials are looked for, and that none is taken from two places."""

import asyncio
from contextlib import suppress
from urllib.parse import quote

import pytest
from aiohttp import web
from aiohttp.http import HttpProcessingError, HttpRequestParser
from aiohttp.test_utils import make_mocked_request
from hypothesis import given
from hypothesis import strategies as st

from gateway.access.policy import Credentials
from gateway.errors import MalformedRequest, Unauthenticated
from gateway.http.credentials import TokenCookie, read_credentials, read_cursor
from tests.conftest import RunningGateway, credentials
from tests.harness.raw import STREAM, say

DUPLICATES = {
    "Authorization headers": ([("Authorization", "T"), ("authorization", "T")], ""),
    "organization headers": ([("X-Organization-ID", "acme"), ("x-organization-id", "other")], ""),
    "cursor headers": ([("Last-Event-ID", "1-1"), ("Last-Event-ID", "1-2")], ""),
    "Authorizations": ([], "Authorization=T&Authorization=T"),
    "encoded name": ([], "Authorization=T&%41uthorization=T"),
    "organizations": ([], "organization_id=acme&organization_id=other"),
    "tickets": ([], "ticket=a&ticket=b"),
    "cursors": ([], "last_event_id=1-1&last_event_id=1-1"),
    "cursors of the other name": ([], "lastEventId=1-1&lastEvent%49d=1-1"),
    "ticket and token": ([("Authorization", "T")], "ticket=a"),
    "ticket and token in the query": ([], "Authorization=T&ticket=a"),
}


@pytest.mark.parametrize("case", DUPLICATES)
async def test_duplicates(gateway: RunningGateway, case: str) -> None:
    """A credential that is given twice is a 400, whatever the rest of the request; given once each,
    headers are served."""
    headers, query = DUPLICATES[case]
    bearer = credentials()["Authorization"]
    lines = "".join(f"{name}: {value.replace('T', bearer)}\r\n" for name, value in headers)
    target = f"{STREAM}?{query.replace('=T', '=' + quote(bearer))}"
    said = await say(gateway.url, f"GET {target} HTTP/1.1\r\nHost: x\r\n{lines}\r\n", quiet=0.3)
    assert said.statuses == [400]
    assert said.json()["error"] == "duplicate_credentials"
    async with await gateway.get("run-1", Last_Event_ID="1-1") as response:
        assert response.status == 200


async def test_headers_win(gateway: RunningGateway) -> None:
    """A header and a parameter may both be given: the header counts, and the parameter plays no
    part, whether it is another organization or a token that is no good."""
    url = gateway.stream_url("run-1")
    for query, headers, status in (
        ("organization_id=other", credentials(), 200),
        ("organization_id=acme", {**credentials(), "X-Organization-ID": "other"}, 403),
        ("Authorization=Bearer%20nonsense", credentials(), 200),
        # Parameters are case-sensitive, headers are not.
        ("ORGANIZATION_ID=acme", {"authorization": credentials()["Authorization"]}, 400),
        ("organization_id=acme", {"authorization": credentials()["Authorization"]}, 200),
    ):
        async with gateway.session.get(f"{url}?{query}", headers=headers) as response:
            assert response.status == status, query


@pytest.mark.parametrize(
    "header", ["Basic c3RhZ2luZzpodW50ZXIy", "Bearer", "Bearer ", "Bearer \t ", "Negotiate x", ""]
)
async def test_only_a_bearer_wins(gateway: RunningGateway, header: str) -> None:
    """An `Authorization` header without a bearer token, such as a staging site's password, leaves
    the token or the ticket in the query to count; alone it is no token."""
    good = {"Authorization": credentials()["Authorization"], "organization_id": "acme"}
    url = f"{gateway.url}/api/v1/sse/executions/run-1/ticket"
    async with gateway.session.post(url, headers=credentials()) as response:
        ticket = (await response.json())["ticket"]
    for query, status in ((good, 200), ({"ticket": ticket}, 200), ({}, 401)):
        async with gateway.session.get(
            gateway.stream_url("run-1"), headers={"Authorization": header}, params=query
        ) as response:
            assert response.status == status, query
            if status == 401:
                assert (await response.json())["error"] == "token_missing"


SPACES = ["\u00a0", "\u3000", "\u2028", "\x0b", "\x1f", "\x85", "\n"]
"""What Python takes for white space, and HTTP does not."""


@pytest.mark.parametrize("space", SPACES)
@pytest.mark.parametrize("form", ["Bearer {}T", "Bearer T{}"])
async def test_other_white_space(gateway: RunningGateway, form: str, space: str) -> None:
    """A token with white space that is not HTTP's beside it is malformed; in a header, it hides
    the one in the query, as any bearer token does."""
    good = credentials()["Authorization"]
    bad = form.format(space).replace("T", good.removeprefix("Bearer "))
    query = {"Authorization": bad, "organization_id": "acme"}
    async with gateway.session.get(gateway.stream_url("run-1"), params=query) as response:
        assert (await response.json())["error"] == "invalid_token"
    if not space.isascii():
        # Others a server refuses before anybody looks for a token.
        lines = f"Authorization: {bad.encode().decode('latin-1')}\r\nX-Organization-ID: acme\r\n"
        request = f"GET {STREAM}?Authorization={quote(good)} HTTP/1.1\r\nHost: x\r\n{lines}\r\n"
        said = await say(gateway.url, request, quiet=0.3)
        assert said.statuses == [401]
        assert said.json()["error"] == "invalid_token"


@pytest.mark.parametrize("query", ["organization_id=%ff", "organization_id=%", "%zz=%C3&&=&=", "+"])
async def test_undecodable_query(gateway: RunningGateway, query: str) -> None:
    """A query that is no UTF-8 or badly escaped names no organization of anybody's, and does not
    disturb a request whose headers say all."""
    lines = f"Authorization: {credentials()['Authorization']}\r\n"
    request = f"GET {STREAM}?{query} HTTP/1.1\r\nHost: x\r\n{lines}"
    refused = await say(gateway.url, f"{request}\r\n", quiet=0.3)
    assert refused.statuses[0] in (400, 403)
    served = await say(gateway.url, f"{request}X-Organization-ID: acme\r\n\r\n", quiet=0.3)
    assert served.statuses == [200]


_VALUE = st.binary(max_size=40)
_NAMES = st.sampled_from(
    [
        b"Authorization",
        b"organization_id",
        b"ticket",
        b"lastEventId",
        b"X-Organization-ID",
        b"Cookie",
        b"Sec-Fetch-Site",
    ]
)


@pytest.mark.fuzz
@given(
    st.lists(st.tuples(_NAMES | _VALUE, _VALUE), max_size=5),
    st.lists(st.tuples(_NAMES, _VALUE), max_size=4),
)
def test_any_bytes(query: list[tuple[bytes, bytes]], headers: list[tuple[bytes, bytes]]) -> None:
    """Whatever bytes a query and headers hold, they are credentials or a refusal, no failure."""
    target = b"/x?" + b"&".join(name + b"=" + value for name, value in query)
    lines = b"".join(b"\r\n" + name + b": " + value for name, value in headers)
    request = _parsed(b"GET " + target + b" HTTP/1.1\r\nHost: x" + lines + b"\r\n\r\n")
    if request is None:
        return
    read_cursor(request)
    with suppress(MalformedRequest, Unauthenticated):
        read_credentials(request, TokenCookie("c", frozenset()))


@pytest.mark.fuzz
@given(st.text(min_size=1).filter(lambda text: text == text.strip()))
def test_any_query_value(value: str) -> None:
    """What a page escapes as it should arrives as it was, whatever it is."""
    target = f"/x?Authorization=Bearer%20{quote(value)}&organization_id={quote(value)}"
    request = _parsed(f"GET {target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    assert request is not None
    assert read_credentials(request) == Credentials(value, value)


def _parsed(data: bytes) -> web.Request | None:
    """What the server's own parser makes of *data*; None where that is no request."""
    with asyncio.Runner() as runner:
        loop = runner.get_loop()
        try:
            messages, _, _ = HttpRequestParser(None, loop, 2**16).feed_data(data)
        except HttpProcessingError:
            return None
        if len(messages) != 1:
            return None
        # Only for what a request needs of its connection: `headers` there must be text.
        around = make_mocked_request("GET", "/")
        message, payload = messages[0]
        return web.Request(
            message, payload, around.protocol, around.writer, around.task, loop, client_max_size=0
        )
