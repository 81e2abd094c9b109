"""HAProxy, Caddy and Apache as nginx/README.md configures them, and with what it warns of."""

from pathlib import Path

import pytest

from gateway.access.tokens import issue
from gateway.tools.check.finding import Level, worst
from gateway.tools.check.proxy import Options, check_url
from tests.conftest import MakeSettings, StartGateway
from tests.harness.other_proxies import other_proxy
from tests.sidecars.routes import answers
from tests.support import SECRET, free_port

SETTINGS = {"ownership": "registry", "heartbeat_seconds": 0.5, "ownership_wait_seconds": 0.2}
OPTIONS = Options(silence=0.7, insecure=True)

PROXIES = ("haproxy", "caddyfile", "apache")

_NO_TLS = (" ssl crt /etc/haproxy/certs/sse-gateway.pem alpn h2,http/1.1", "")
_ENCODE = """encode {
		gzip
		minimum_length 1
		match header Content-Type text/event-stream*
	}
	handle @gateway {"""

NAIVE = {
    "HAProxy without http-no-delay delays each event": (
        "haproxy",
        (_NO_TLS, ("    option http-no-delay\n", "")),
        Level.WARNING,
        "ms late (median)",
    ),
    "Caddy that compresses holds events back": (
        "caddyfile",
        (("handle @gateway {", _ENCODE),),
        Level.ERROR,
        "compressed (gzip)",
    ),
    "Apache that compresses passes each event on": (
        "apache",
        (("SetEnv no-gzip 1", "SetOutputFilter DEFLATE"),),
        Level.NOTE,
        "compresses the stream (gzip)",
    ),
}


@pytest.mark.parametrize("name", PROXIES)
async def test_the_documented_proxy_passes_streams_on(
    name: str, tmp_path: Path, start_gateway: StartGateway, make_settings: MakeSettings
) -> None:
    """`check` finds nothing wrong, with TLS and HTTP/2. Every route is passed on, what is not the
    gateway's is 404, and no log has the token of a query, with the gateway there or not."""
    gateway = await start_gateway(**SETTINGS, publish=True)
    settings = make_settings(**SETTINGS, publish=True)
    token = issue(SECRET, organization_id="acme")
    query = f"?Authorization=Bearer%20{token}&organization_id=acme"
    async with other_proxy(name, tmp_path, gateway.url) as proxy:
        findings = await check_url(proxy.url, settings, OPTIONS)
        assert worst(findings) is Level.OK, findings
        get = gateway.session.get
        async with get(f"{proxy.url}/other{query}", ssl=False) as response:
            assert response.status == 404
        path = f"{proxy.url}/api/v1/sse/executions/x/stream{query}"
        async with get(path, ssl=False) as response:
            assert response.status == 404
        own = await answers(gateway.session, gateway.url, settings)
        assert await answers(gateway.session, proxy.url, settings) == own
    assert "eyJ" not in proxy.logged()
    nobody = f"http://127.0.0.1:{free_port()}"
    async with other_proxy(name, tmp_path, nobody) as proxy:
        path = f"{proxy.url}/api/v1/sse/executions/x/stream{query}"
        async with gateway.session.get(path, ssl=False) as response:
            assert response.status in (502, 503)
    assert "eyJ" not in proxy.logged()


@pytest.mark.parametrize("claim", NAIVE)
async def test_what_a_naive_proxy_does_is_found(
    claim: str, tmp_path: Path, start_gateway: StartGateway, make_settings: MakeSettings
) -> None:
    """By `check`, with the level that it deserves."""
    name, changes, level, words = NAIVE[claim]
    gateway = await start_gateway(**SETTINGS)
    async with other_proxy(name, tmp_path, gateway.url, *changes) as proxy:
        findings = await check_url(proxy.url, make_settings(**SETTINGS), OPTIONS)
    assert [one.level for one in findings if words in one.sentence] == [level], findings
