"""The site file against what strangers choose: a host, an origin, a token where none belongs."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from aiohttp import ClientSession, TCPConnector

from gateway.access.tokens import issue
from tests.harness.nginx import Nginx
from tests.harness.raw import Connection
from tests.harness.sse import parse_sse
from tests.support import SECRET, eventually, free_port

Make = Callable[..., Nginx]
STREAM = "/api/v1/sse/executions/run-1/stream"
LISTED = "https://app.example.com"
HSTS = 'add_header Strict-Transport-Security "max-age=31536000" always;'
# Short enough for an execution id, so that the gateway too would take it for one.
TOKEN = issue(SECRET, organization_id="a")


@pytest.fixture
def make(tmp_path: Path) -> Iterator[Make]:
    """Makes the one nginx of a test, in front of no gateway."""
    made: list[Nginx] = []

    def begin(*, tls: bool = False) -> Nginx:
        made.append(Nginx(tmp_path, f"http://127.0.0.1:{free_port()}", tls=tls))
        return made[-1]

    yield begin
    for nginx in made:
        nginx.stop()


async def said(url: str, request: str) -> str:
    """The whole answer to *request*, sent as it is on a connection of its own."""
    connection = await Connection.open(url)
    connection.send(request)
    try:
        return (await connection.hear(0.2)).data.decode("latin-1")
    finally:
        connection.close()


@pytest.mark.parametrize(
    "request_",
    [
        f"GET {STREAM}?x=1 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        f"GET http://evil.example{STREAM}?x=1 HTTP/1.1\r\nHost: evil.example\r\n\r\n",
        f"GET {STREAM}?x=1 HTTP/1.0\r\n\r\n",
        f"GET {STREAM}?x=1 HTTP/1.1\r\nHost: localhost\r\nX-Forwarded-Host: evil.example\r\n\r\n",
    ],
    ids=["host", "absolute", "none", "forwarded"],
)
async def test_redirects_to_its_own_name(make: Make, request_: str) -> None:
    """The way to TLS leads to the site's own name, whatever host the request names: the query that
    goes there may hold a token."""
    nginx = make(tls=True)
    nginx.start()
    answer = await said(nginx.plain_url, request_)
    assert answer.startswith("HTTP/1.1 308")
    assert f"\r\nLocation: https://localhost{STREAM}?x=1\r\n" in answer


MISPLACED = [
    f"/api/v1/sse/executions/{TOKEN}/stream",
    f"/api/v1/sse/executions/{TOKEN}/ticket",
    f"/api/v1/sse/executions/%65yJ{TOKEN[3:]}/stream",
    f"/api/v1/sse/executions/run-1/stream&Authorization=Bearer%20{TOKEN}",
    f"/api/v1/sse/executions/run-1/stream&ticket={TOKEN[10:]}",
    f"/api/v1/sse/executions/run-1/stream%3FAuthorization=Bearer%20{TOKEN}",
    f"/api/v1/workflows/flow/runs/{TOKEN}",
    f"/api/v1/workflows/{TOKEN}/runs/run-1",
    f"/api/v1/sse/client/{TOKEN[10:90]}",
    f"/api/v1/sse/{TOKEN}",
    f"/{TOKEN}",
]


async def test_token_in_a_path(make: Make) -> None:
    """A token where an id belongs, or behind an "&" that should be a "?", is in no log; a path as
    it should be is."""
    nginx = make()
    nginx.start()
    for path in MISPLACED:
        await said(nginx.url, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    seen = ["/api/v1/sse/executions/run-1/stream", "/api/v1/sse/executions/a.b:c_d-9/ticket",
            "/api/v1/sse/client/index.js", "/api/v1/workflows/-/runs/run-1"]  # fmt: skip
    for path in seen:
        await said(nginx.url, f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")
    await eventually(lambda: len(lines(nginx)) == len(MISPLACED) + len(seen))
    assert TOKEN[10:40] not in nginx.logged()
    shown = [line.split('"')[1] for line in lines(nginx)]
    assert shown == ["GET (not shown) HTTP/1.1"] * len(MISPLACED) + [
        f"GET {path} HTTP/1.1" for path in seen
    ]


BROKEN = [
    f"GET /x HTTP/1.1\r\nHost: localhost\r\nAuthorization Bearer {TOKEN}\r\n\r\n",
    f"GET /x HTTP/1.1\r\nHost: {TOKEN}/\r\n\r\n",
    f"GET /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: {TOKEN}\r\n\r\n",
    f"GET /x HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: {TOKEN}\r\n\r\n",
    f"GET /x HTTP/1.1\r\nHost: localhost\r\nCookie: {TOKEN * 400}\r\n\r\n",
    f"GET /x?Authorization=Bearer {TOKEN}\r\nHost: localhost\r\n\r\n",
    f"GET /x?Authorization={TOKEN} HTTP/9.9\r\nHost: localhost\r\n\r\n",
    f"GET /../..?{TOKEN} HTTP/1.1\r\nHost: localhost\r\n\r\n",
    f"GET /%zz{TOKEN} HTTP/1.1\r\nHost: localhost\r\n\r\n",
    f"{TOKEN} /x HTTP/1.1\r\nHost: localhost\r\n\r\n",
    f"POST {STREAM}?Authorization={TOKEN} HTTP/1.1\r\nHost: x\r\nContent-Length: 9999\r\n\r\n",
    f"GET {STREAM}?Authorization={TOKEN * 400} HTTP/1.1\r\nHost: localhost\r\n\r\n",
    f"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n{TOKEN}",
]


@pytest.mark.parametrize("silenced", [True, False])
@pytest.mark.parametrize("tls", [False, True])
async def test_broken_requests(make: Make, tls: bool, silenced: bool) -> None:
    """What nginx refuses before it knows whom it is for is in no log, even where nginx.conf asks
    for every line (`info`). Without the site's own `error_log` the token would be there."""
    nginx = make(tls=tls)
    nginx.error_level = "info"
    if not silenced:
        nginx.replace("error_log logs/sse-gateway.error.log emerg;", "")
    nginx.start()
    for request in BROKEN:
        for url in (nginx.url, nginx.plain_url):
            await said(url, request)
    nginx.stop()
    assert (TOKEN[10:40] in nginx.logged()) == (not silenced)


@pytest.mark.parametrize("cookies", [False, True])
async def test_unlisted_origins(make: Make, cookies: bool) -> None:
    """What nginx itself answers can be read by pages of listed origins, with cookies only where the
    site says so; nothing is said to others, however near their name is."""
    nginx = make()
    nginx.list_origin(LISTED)
    if cookies:
        nginx.replace("#default true;", "default true;")
    nginx.start()
    allowed = {}
    near = [LISTED, f"{LISTED}.evil.example", "http://app.example.com", "https://example.com",
            "null", "*", f"{LISTED}:8443", f"x{LISTED}", ""]  # fmt: skip
    async with ClientSession() as session:
        for origin in near:
            headers = {"Accept": "text/event-stream", "Origin": origin}
            async with session.get(nginx.url + STREAM, headers=headers) as response:
                assert response.status == 200
                assert response.headers["Vary"] == "Origin"
                allowed[origin] = {
                    name: value
                    for name, value in response.headers.items()
                    if name.startswith("Access-Control-")
                }
    with_cookies = {"Access-Control-Allow-Credentials": "true"} if cookies else {}
    assert allowed.pop(LISTED) == {"Access-Control-Allow-Origin": LISTED, **with_cookies}
    assert list(allowed.values()) == [{}] * (len(near) - 1)


ECHOED = {
    "": None,
    "Last-Event-ID: 7-1": "7-1",
    "?lastEventId=7-1": "7-1",
    "?last_event_id=7-1": "7-1",
    "?last_event_id=7-2&lastEventId=7-1": "7-1",
    "?last_event_id=7-2 Last-Event-ID: 7-1": "7-1",
    "Last-Event-ID: 18446744073709551615-18446744073709551615": "18446744073709551615-" * 2,
    f"Last-Event-ID: s1{'_-aZ' * 250}": "s1" + "_-aZ" * 250,
    # Nothing else: it could be lines of its own.
    "Last-Event-ID: -1": None,
    f"Last-Event-ID: s1{'a' * 1001}": None,
    f"?last_event_id=s1{'a' * 20}%0Aevent:x": None,
    "?last_event_id=7-1 Last-Event-ID: -1": None,
    "Last-Event-ID: 7-1, 7-2": None,
    "Last-Event-ID: 123456789012345678901-1": None,
    "?last_event_id=1-1%0Aevent:execution:completed%0Adata:{}": None,
    "?lastEventId=1-1%0A": None,
    "?lastEventId=1-1\\nevent:x": None,
    "?lastEventId=$request_id": None,
    "?last_event_id=1-1%0D%0A%0D%0A": None,
    "?last_event_id=1-1\tx": None,
    "?last_event_id=1-1\rid:2-2": None,
}


async def test_the_cursor_is_echoed(make: Make) -> None:
    """What nginx itself answers to an EventSource has the cursor that the request came with as its
    `id:`, as the gateway's answers do, and nothing that is no cursor."""
    nginx = make()
    nginx.start()
    for given, cursor in ECHOED.items():
        query, _, header = given.partition(" ") if given.startswith("?") else ("", "", given)
        lines = f"Host: localhost\r\nAccept: text/event-stream\r\n{header}".strip()
        answer = await said(nginx.url, f"GET {STREAM}{query} HTTP/1.1\r\n{lines}\r\n\r\n")
        if "\t" in given or "\r" in given:
            assert answer.startswith("HTTP/1.1 400"), given
            continue
        [closing] = parse_sse(answer.partition("\r\n\r\n")[2].encode())
        assert closing.event == "stream:closing", given
        assert closing.id == (cursor and cursor.rstrip("-")), given


async def test_no_origin_is_listed_as_it_stands(make: Make) -> None:
    """As the site comes, nginx itself lets pages of its own origin read alone."""
    nginx = make()
    nginx.start()
    headers = {"Accept": "text/event-stream", "Origin": LISTED}
    async with (
        ClientSession() as session,
        session.get(nginx.url + STREAM, headers=headers) as response,
    ):
        assert response.status == 200
        assert not [name for name in response.headers if name.startswith("Access-Control-")]


async def test_hsts(make: Make) -> None:
    """With its lines uncommented, every answer over TLS says that there is no way but TLS."""
    nginx = make(tls=True)
    nginx.replace(f"#{HSTS}", HSTS)
    nginx.start()
    headers = {"Accept": "text/event-stream"}
    seen = []
    async with ClientSession(connector=TCPConnector(ssl=False)) as session:
        for path, more in (("/elsewhere", {}), (STREAM, {}), (STREAM, headers)):
            async with session.get(nginx.url + path, headers=more) as response:
                seen.append((response.status, response.headers.get("Strict-Transport-Security")))
    assert seen == [(status, "max-age=31536000") for status in (404, 502, 200)]


def lines(nginx: Nginx) -> list[str]:
    """What the access log holds."""
    return (nginx.prefix / "logs" / "sse-gateway.access.log").read_text().splitlines()
