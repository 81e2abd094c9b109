"""The site file beyond the stream: TLS, polls, health, and connections to the gateway."""

import asyncio
import ssl
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from yarl import URL

from tests.conftest import RunningGateway, credentials
from tests.harness.nginx import Nginx, certificate

STREAM = "/api/v1/sse/executions/run-1/stream"
HEALTH = "/api/v1/sse/health"
TOKEN = "a-token-that-no-log-may-show"
WITH_TOKEN = f"{STREAM}?Authorization=Bearer%20{TOKEN}&organization_id=acme"


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_tls(gateway: RunningGateway, tmp_path: Path, version: ssl.TLSVersion) -> None:
    """TLS 1.2 and 1.3, and HTTP/2 for a client that knows it."""
    nginx = Nginx(tmp_path, gateway.url, tls=True)
    nginx.start()
    try:
        context = ssl.create_default_context(cafile=str(certificate()[0]))
        context.set_alpn_protocols(["h2", "http/1.1"])
        context.minimum_version = context.maximum_version = version
        _, writer = await asyncio.open_connection(
            "127.0.0.1", urlsplit(nginx.url).port, ssl=context, server_hostname="localhost"
        )
        connection = writer.get_extra_info("ssl_object")
        assert connection.version() == version.name.replace("_", ".")
        assert connection.selected_alpn_protocol() == "h2"
        writer.close()
        with suppress(ssl.SSLError, ConnectionError):
            await writer.wait_closed()
    finally:
        nginx.stop()


async def test_plain_http(gateway: RunningGateway, tmp_path: Path) -> None:
    """Over plain HTTP there is only the way to TLS, and no log shows what was asked for."""
    nginx = Nginx(tmp_path, gateway.url, tls=True)
    nginx.start()
    try:
        url = URL(nginx.plain_url + WITH_TOKEN, encoded=True)
        async with gateway.session.get(url, allow_redirects=False) as response:
            assert response.status == 308
            assert response.headers["Location"] == f"https://localhost{WITH_TOKEN}"
        assert TOKEN not in nginx.logged()
    finally:
        nginx.stop()


async def test_polls_are_limited(gateway: RunningGateway, tmp_path: Path) -> None:
    """Who polls without a pause gets 429; streams and health of the same address are not, and
    health is in no log."""
    nginx = Nginx(tmp_path, gateway.url)
    nginx.start()

    async def status(path: str) -> int:
        async with gateway.session.get(nginx.url + path, headers=credentials()) as response:
            return response.status

    try:
        run = "/api/v1/workflows/wf/runs/run-1"
        assert set(await asyncio.gather(*[status(run) for _ in range(200)])) == {200, 429}
        assert await status(HEALTH) == 200
        assert await asyncio.gather(*[status(STREAM) for _ in range(100)]) == [200] * 100
        assert await status("/elsewhere") == 404
        assert HEALTH not in nginx.logged()
        assert run in nginx.logged()
    finally:
        nginx.stop()


async def test_connections_are_kept(gateway: RunningGateway, tmp_path: Path) -> None:
    """Requests that are no streams share a connection to the gateway; without the line that keeps
    it, each would have one of its own."""
    for keeps in (True, False):
        prefix = tmp_path / str(keeps)
        prefix.mkdir()
        nginx = Nginx(prefix, gateway.url)
        if not keeps:
            nginx.replace("keepalive 32;", "")
        nginx.start()
        before = peers(gateway)
        try:
            for _ in range(5):
                async with gateway.session.get(nginx.url + HEALTH) as response:
                    assert response.status == 200
            assert len(peers(gateway) - before) == (1 if keeps else 5)
        finally:
            nginx.stop()


def peers(gateway: RunningGateway) -> set[str]:
    """Who is, or just was, connected to the gateway."""
    port = f":{urlsplit(gateway.url).port or 0:04X}"
    lines = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    return {line[1] for line in lines if line[2].endswith(port)}
