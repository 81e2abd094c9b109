"""An embedded Valkey, and a gateway with the page and the engine as `dev` runs them."""

import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from redis.asyncio import Redis

from gateway.app import COMPONENTS, create_application
from gateway.embedded import EmbeddedRedis
from gateway.publisher import Publisher
from gateway.server import Server
from gateway.settings import TERMINAL_TYPES, load
from gateway.tasks import Supervisor
from gateway.tools.dev.commands import add_commands
from gateway.tools.dev.control import Offer, add_control
from gateway.tools.dev.engine import SimulatedEngine
from gateway.tools.dev.heard import heard_by
from tests.support import SECRET


@pytest.fixture
async def embedded() -> AsyncIterator[EmbeddedRedis]:
    """A running embedded Valkey."""
    running = await EmbeddedRedis.start()
    yield running
    await running.stop()


@dataclass
class Principal:
    """A gateway that serves the page."""

    server: Server
    session: aiohttp.ClientSession
    stop: Callable[[], Awaitable[None]]

    @property
    def url(self) -> str:
        return self.server.url

    @property
    def port(self) -> str:
        return self.url.rpartition(":")[2]

    async def json(self, path: str) -> Any:
        async with self.session.get(self.url + path) as response:
            assert response.status == 200, await response.text()
            return await response.json()


StartViewer = Callable[..., Awaitable[Principal]]


@pytest.fixture
async def start_viewer(redis_url: str, redis: Redis) -> AsyncIterator[StartViewer]:
    """Starts gateways with the page; *pace* None is without an engine."""
    async with AsyncExitStack() as stack:

        async def start(
            pace: float | None = 1.0,
            secret: str = SECRET,
            port: int = 0,
            terminal_types: str = ",".join(TERMINAL_TYPES),
            redis_url: str = redis_url,
        ) -> Principal:
            settings = load(
                None,
                redis_url=redis_url,
                jwt_secret=secret,
                ownership="token",
                port=port,
                admin_port="off",
                page=True,
                drain_seconds=0,
                heartbeat_seconds=0.2,
                terminal_types=terminal_types,
            )
            # What `stop` ends: the engine too, as in `dev`.
            running = await stack.enter_async_context(AsyncExitStack())
            engine = None
            if pace is not None:
                publisher = await running.enter_async_context(Publisher(redis_url))
                engine = SimulatedEngine(publisher, pace=pace)
                supervisor = Supervisor()
                supervisor.start("engine", engine.run())
                running.push_async_callback(supervisor.stop)
            application = create_application(settings)
            components = application[COMPONENTS]

            async def published() -> Mapping[str, int]:
                return engine.published if engine else {}

            offer = Offer(secrets.token_hex(8), engine is not None, ())
            runs = heard_by(components)
            guard = add_control(application, components.hub, runs, settings, offer, published)
            add_commands(application, engine, {}, guard)
            server = Server(settings, application)
            await server.start()
            running.push_async_callback(server.stop)
            await components.subscription.confirmed()
            session = await stack.enter_async_context(aiohttp.ClientSession())
            return Principal(server, session, running.aclose)

        yield start
