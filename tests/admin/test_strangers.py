"""What those who are no operators get to know at the operators' address: nothing."""

from pathlib import Path

import aiohttp
import pytest

from gateway import __version__
from tests.conftest import RunningGateway, StartGateway
from tests.harness.raw import say

HOSTS = [
    ("localhost", 200),
    ("localhost:8081", 200),
    ("127.0.0.1:1", 200),
    ("[::1]:8081", 200),
    ("10.1.2.3", 200),
    ("Metrics.example.com", 200),
    ("metrics.example.com:80", 200),
    ("attacker.example", 403),
    ("localhost.attacker.example", 403),
    ("127.0.0.1.attacker.example:8081", 403),
    ("localhost@attacker.example", 403),
    ("attacker.example@localhost", 403),
    ("[::1", 403),
    ("", 403),
]


async def test_foreign_host(start_gateway: StartGateway) -> None:
    """The port answers to localhost, to IP addresses and to the names that are listed, and to no
    other: a page cannot read it by a name that it has made to point at loopback."""
    gateway = await start_gateway(
        ownership="token", admin_port=0, admin_hosts=["metrics.example.com"]
    )
    for host, expected in HOSTS:
        for path in ("/streams", "/metrics", "/ready", "/live", "/nope"):
            status, text = await _with_host(gateway, path, host)
            assert status == (404 if (path, expected) == ("/nope", 200) else expected), (path, host)
            assert expected == 200 or "localhost" in text


async def test_any_host_on_a_unix_socket(start_gateway: StartGateway, tmp_path: Path) -> None:
    """No page reaches a unix socket, so a proxy may call it as it likes."""
    path = tmp_path / "admin.sock"
    await start_gateway(ownership="token", admin_unix_socket=path)
    async with (
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
        session.get("http://some.name/ready") as response,
    ):
        assert response.status == 200


async def _with_host(gateway: RunningGateway, path: str, host: str) -> tuple[int, str]:
    url = f"{gateway.server.admin_url}{path}"
    async with gateway.session.get(url, headers={"Host": host}) as response:
        return response.status, await response.text()


@pytest.mark.parametrize("admin", [False, True])
@pytest.mark.parametrize(
    "request_",
    [
        "GET /live HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /nope HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "POST /live HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /live HTTP/1.1\r\nHost: x\r\n\r\n",
        "GET /streams?limit=x HTTP/1.1\r\nHost: localhost\r\n\r\n",
        "GET /live HTTP/1.1\r\nHost: localhost\r\nExpect: x\r\n\r\n",
        "GET /live HTTP/1.0\r\n\r\n",
        "GET /live HTTP/1.1\r\nBad Header\r\n\r\n",
        "\x16\x03\x01\x02\r\n\r\n",
        "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        f"GET /{'x' * 10_000} HTTP/1.1\r\n\r\n",
    ],
)
async def test_no_version_is_told(start_gateway: StartGateway, request_: str, admin: bool) -> None:
    """No answer, on either address, names a version of Python, of aiohttp or of the gateway."""
    gateway = await start_gateway(ownership="token", admin_port=0)
    url = gateway.server.admin_url if admin else gateway.url
    assert url is not None
    said = await say(url, request_, quiet=0.1)
    assert said.headers["server"] == "sse-gateway"
    head = said.data.partition(b"\r\n\r\n")[0].lower()
    for word in (b"python", b"aiohttp", __version__.encode()):
        assert word not in head
