"""A token in a cookie: only pages that may use it can, whatever a browser sends along."""

from typing import Any

import aiohttp
import pytest

from gateway.access.tokens import issue
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.http.conftest import path
from tests.support import SECRET

LISTED = "https://app.example.com"
TOKEN = issue(SECRET, organization_id="acme")
OTHERS = issue(SECRET, organization_id="globex")
COOKIE = {"Cookie": f"theme=dark; __Host-session={TOKEN}", "X-Organization-ID": "acme"}
OWN = {"Sec-Fetch-Site": "same-origin"}
BEARER = {"Authorization": credentials()["Authorization"]}

MAY = [
    OWN,
    {"Sec-Fetch-Site": "none"},
    {"Origin": LISTED},
    {"Origin": LISTED, "Sec-Fetch-Site": "cross-site"},
    {"Origin": LISTED, "Sec-Fetch-Site": "same-site"},
    {**OWN, "Cookie": f'__Host-session="{TOKEN}"'},
    {**OWN, "Cookie": f"__host-session=x; x__Host-session=y;  __Host-session={TOKEN} "},
]
MAY_NOT = [
    {},
    {"Sec-Fetch-Site": "cross-site"},
    {"Sec-Fetch-Site": "same-site"},
    {"Sec-Fetch-Site": "SAME-ORIGIN"},
    {"Sec-Fetch-Site": "same-origin, cross-site"},
    {"Sec-Fetch-Site": ""},
    {"Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"},
    {"Referer": LISTED},
    {"Origin": "https://evil.example"},
    {"Origin": "https://evil.example", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "null", "Sec-Fetch-Site": "cross-site"},
    {"Origin": "*"},
    {"Origin": ""},
    {"Origin": f"{LISTED}.evil.example"},
    {"Origin": f"{LISTED}, https://evil.example"},
    {"Origin": "http://app.example.com"},
]


async def gateway_with_cookie(start_gateway: StartGateway, origins: str = LISTED) -> RunningGateway:
    return await start_gateway(
        ownership="token", cors_origins=origins, token_cookie="__Host-session"
    )


async def asked(url: str, session: aiohttp.ClientSession, **options: Any) -> tuple[int, Any]:
    """Status and error of a GET with the cookie, for an organization that the token has."""
    options["headers"] = {**COOKIE, **options.get("headers", {})}
    async with session.get(url, **options) as response:
        is_error = response.status >= 400
        return response.status, (await response.json())["error"] if is_error else None


async def test_pages_that_may(start_gateway: StartGateway) -> None:
    """The cookie opens streams and answers polls for pages of the gateway's own origin, and of
    listed ones; there it can be read too."""
    gateway = await gateway_with_cookie(start_gateway)
    for headers in MAY:
        for url in (gateway.stream_url("run-1"), gateway.url + path()):
            assert await asked(url, gateway.session, headers=headers) == (200, None), headers
    async with gateway.session.get(
        gateway.stream_url("run-1"), headers={**COOKIE, "Origin": LISTED}
    ) as response:
        assert response.headers["Access-Control-Allow-Origin"] == LISTED
        assert response.headers["Access-Control-Allow-Credentials"] == "true"


@pytest.mark.parametrize("origins", [LISTED, "*", ""])
async def test_pages_that_may_not(start_gateway: StartGateway, origins: str) -> None:
    """For a page of another site, or where nothing says whose page it is, the cookie is refused:
    401, which such a page cannot even read. `*` lists no origin."""
    gateway = await gateway_with_cookie(start_gateway, origins)
    headers_of = MAY_NOT if origins == LISTED else [*MAY_NOT, {"Origin": LISTED}]
    for headers in headers_of:
        for url in (gateway.stream_url("run-1"), gateway.url + path()):
            answer = await asked(url, gateway.session, headers=headers)
            assert answer == (401, "cookie_refused"), headers
        async with gateway.session.get(url, headers={**COOKIE, **headers}) as response:
            assert "Access-Control-Allow-Credentials" not in response.headers


async def test_a_token_elsewhere_wins(start_gateway: StartGateway) -> None:
    """With a token in the header or the query, or a ticket, no cookie is looked at, for a page
    of any site: it can neither help nor harm."""
    gateway = await gateway_with_cookie(start_gateway)
    url, session = gateway.stream_url("run-1"), gateway.session
    cross = {"Sec-Fetch-Site": "cross-site"}
    broken = {"Cookie": "__Host-session=nonsense; __Host-session=twice"}
    for headers in (BEARER, {**BEARER, **cross}, {**BEARER, **OWN, **broken}):
        assert await asked(url, session, headers=headers) == (200, None)
    query = {"Authorization": f"Bearer {OTHERS}"}
    for headers in (OWN, cross):
        answer = await asked(url, session, headers=headers, params=query)
        assert answer == (403, "organization_forbidden")
    bad = {"Authorization": "Bearer nonsense", **OWN}
    assert await asked(url, session, headers=bad) == (401, "invalid_token")
    ticket = {"ticket": "of-nobody"}
    assert await asked(url, session, headers=OWN, params=ticket) == (401, "ticket_invalid")


async def test_one_cookie_of_that_name(start_gateway: StartGateway) -> None:
    """Two of its name are a 400: a neighbouring host may have set one of them. An empty one, one of
    another name and one that is no token open nothing."""
    gateway = await gateway_with_cookie(start_gateway)
    url = gateway.stream_url("run-1")
    for cookie, answer in (
        (f"__Host-session={TOKEN}; __Host-session={OTHERS}", (400, "duplicate_credentials")),
        (f"__Host-session={TOKEN};__Host-session={TOKEN}", (400, "duplicate_credentials")),
        ("__Host-session=", (401, "token_missing")),
        ("__Host-session", (401, "token_missing")),
        (f"__host-session={TOKEN}", (401, "token_missing")),
        (f"session={TOKEN}", (401, "token_missing")),
        (";;=;" * 500, (401, "token_missing")),
        (f"__Host-session=Bearer {TOKEN}", (401, "invalid_token")),
        (f"__Host-session={OTHERS}", (403, "organization_forbidden")),
    ):
        headers = {**OWN, "Cookie": cookie}
        assert await asked(url, gateway.session, headers=headers) == answer, cookie


async def test_only_what_changes_nothing_takes_it(start_gateway: StartGateway) -> None:
    """Only a GET takes the cookie, not even a POST of the gateway's own pages: no ticket is made
    with it."""
    gateway = await gateway_with_cookie(start_gateway)
    url = f"{gateway.url}/api/v1/sse/executions/run-1/ticket"
    async with gateway.session.post(url, headers={**COOKIE, **OWN}) as response:
        assert response.status == 401
        assert (await response.json())["error"] == "token_missing"
    async with gateway.session.head(gateway.url + path(), headers={**COOKIE, **OWN}) as response:
        assert response.status == 401


async def test_no_cookie_unless_it_is_set_up(gateway: RunningGateway) -> None:
    """Without the setting no cookie is a token."""
    answer = await asked(gateway.stream_url("run-1"), gateway.session, headers=OWN)
    assert answer == (401, "token_missing")
