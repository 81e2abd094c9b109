"""The gateways that rows are measured at, and what is outside of them: an issuer and a backend."""

import asyncio

from aiohttp import web

from tests.access.issuers import jwk
from tests.readme.blocks import ROOT

ATTACKER = "mallory-inc"
"""The organization that attackers have a token of, where they have one."""

_OURS = {
    "GATEWAY_CONFIG": str(ROOT / "config" / "production.toml"),
    "GATEWAY_PUBLISH": "on",
    # Short, so that what is waited for is over soon.
    "GATEWAY_HEADER_TIMEOUT_SECONDS": "0.5",
    "GATEWAY_WRITE_TIMEOUT_SECONDS": "1",
    "GATEWAY_OWNERSHIP_WAIT_SECONDS": "1",
}
GATEWAYS: dict[str, dict[str, str]] = {
    "production": _OURS,
    "text log": {**_OURS, "GATEWAY_LOG_FORMAT": "text"},
    "backend": {
        **_OURS,
        "GATEWAY_JWT_SECRET": "",
        "GATEWAY_JWKS_URL": "{outside}/jwks.json",
        "GATEWAY_JWT_ALGORITHMS": "RS256",
        "GATEWAY_OWNERSHIP": "backend",
        "GATEWAY_BACKEND_URL": "{outside}/{organization_id}/{execution_id}",
        "GATEWAY_BACKEND_CACHE_SECONDS": "0",
    },
}
"""Settings of the gateways that rows are measured at, by the name that rows give."""


async def outside(request: web.Request) -> web.Response:
    """The issuer's keys, and a backend that is slow to say no to attackers."""
    if request.path == "/jwks.json":
        return web.json_response({"keys": [jwk("RS256")]})
    if request.path.startswith(f"/{ATTACKER}/"):
        await asyncio.sleep(0.2)
        return web.Response(status=404)
    return web.Response(status=204)
