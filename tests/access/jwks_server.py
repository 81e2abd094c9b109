"""An issuer that publishes its keys over HTTP, and a verifier that fetches them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

from aiohttp import web

from gateway.access.jwks import JwksKeys
from gateway.access.tokens import TokenVerifier
from gateway.errors import Unauthenticated
from tests.access.issuers import ASYMMETRIC, accepting, jwk, rules, signed

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Issuer:
    """What the server at the JWKS URL answers; a test may change it."""

    url = ""
    answer: Answer | None = None

    def __init__(self) -> None:
        self.keys: list[Any] = []
        self.requests = 0
        self.open = asyncio.Event()
        self.open.set()

    async def handle(self, request: web.Request) -> web.StreamResponse:
        self.requests += 1
        await self.open.wait()
        if self.answer is not None and request.path == "/jwks.json":
            return await self.answer(request)
        return web.json_response({"keys": self.keys})

    def fail(self, status: int = 500) -> None:
        async def answer(_request: web.Request) -> web.StreamResponse:
            return web.Response(status=status)

        self.answer = answer


async def start_issuer(aiohttp_server: Any) -> Issuer:
    """A server with one RSA key."""
    issuer = Issuer()
    issuer.keys = [jwk("RS256")]
    application = web.Application()
    application.router.add_get("/{any:.*}", issuer.handle)
    server = await aiohttp_server(application)
    issuer.url = str(server.make_url("/jwks.json"))
    return issuer


@contextlib.asynccontextmanager
async def fetched(issuer: Issuer) -> AsyncIterator[TokenVerifier]:
    """A verifier whose keys come from *issuer*, with `run` beside it."""
    keys = JwksKeys(issuer.url)
    running = asyncio.create_task(keys.run())
    try:
        yield accepting(rules(*ASYMMETRIC), keys)
    finally:
        issuer.open.set()
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def named(algorithm: str, number: int = 0, **claims: Any) -> str:
    """A genuine token whose header names its key as `jwk` does."""
    return signed(algorithm, number, {"kid": f"{algorithm}-{number}"}, **claims)


async def passes(access: TokenVerifier, token: str) -> bool:
    """Whether *token* is good there."""
    try:
        await access.verify(token)
    except Unauthenticated:
        return False
    return True
