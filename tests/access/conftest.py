"""Fixtures: an issuer that publishes its keys, and a verifier that has fetched them."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from aiohttp import web

from gateway.access.tokens import TokenVerifier
from tests.access.issuers import jwk
from tests.access.jwks_server import Issuer, fetched, named


@pytest.fixture
async def issuer(aiohttp_server: Any) -> Issuer:
    """A server with one RSA key."""
    issuer = Issuer()
    issuer.keys = [jwk("RS256")]
    application = web.Application()
    application.router.add_get("/{any:.*}", issuer.handle)
    server = await aiohttp_server(application)
    issuer.url = str(server.make_url("/jwks.json"))
    return issuer


@pytest.fixture
async def door(issuer: Issuer) -> AsyncIterator[TokenVerifier]:
    """A verifier that has fetched the issuer's keys."""
    async with fetched(issuer) as verifier:
        await verifier.verify(named("RS256"))
        yield verifier
