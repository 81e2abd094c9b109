"""The parts of `sse-gateway dev`: Redis, the simulated engine, and the gateway in its own process.

Each runs for as long as its block.
"""

import secrets
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from aiohttp import web

from gateway.embedded import EmbeddedRedis
from gateway.http.responses import error_middleware, json_response
from gateway.metrics import Metrics
from gateway.publisher import Publisher
from gateway.settings import EMBEDDED_REDIS, Settings
from gateway.tasks import Supervisor
from gateway.tools.dev.commands import PUBLISHED, Restart, add_commands
from gateway.tools.dev.control import Offer
from gateway.tools.dev.engine import SimulatedEngine
from gateway.tools.dev.gateway_process import GatewayProcess, Task

_DEADLINE = 2.0
"""Seconds until the engine says that Redis does not answer; it goes on trying."""


@asynccontextmanager
async def redis(
    settings: Settings, port: int, password: str
) -> AsyncIterator[tuple[Settings, dict[str, Restart]]]:
    """Settings whose `redis_url` names a server, which runs for as long as the block, and how it is
    restarted; a Redis of the user's is not."""
    if settings.redis_url != EMBEDDED_REDIS:
        yield settings, {}
        return
    embedded = await EmbeddedRedis.start(port, password, durable=True)
    try:
        yield (
            settings.model_copy(update={"redis_url": embedded.url}),
            {"redis": embedded.restart, "redis-empty": partial(embedded.restart, keep=False)},
        )
    finally:
        await embedded.stop()


@asynccontextmanager
async def simulation(
    settings: Settings, pace: float | None
) -> AsyncIterator[SimulatedEngine | None]:
    """The simulated engine, for as long as the block runs; none without a *pace*."""
    if pace is None:
        yield None
        return
    async with Publisher(
        settings.redis_url,
        deadline=_DEADLINE,
        channel_prefix=settings.channel_prefix,
        publish_to=settings.publishes_to,
        terminal_types=settings.terminal_types,
    ) as publisher:
        engine = SimulatedEngine(publisher, pace=pace)
        supervisor = Supervisor()
        supervisor.start("simulated engine", engine.run())
        try:
            yield engine
        finally:
            await supervisor.stop()


@asynccontextmanager
async def gateway(
    settings: Settings,
    restarts: Mapping[str, Restart],
    engine: SimulatedEngine | None,
    command: Sequence[str],
) -> AsyncIterator[GatewayProcess]:
    """The gateway in its process, which *command* starts, and what takes the commands of its page;
    for as long as the block runs."""
    with TemporaryDirectory(prefix="sse-gateway-dev-") as directory:
        socket = Path(directory, "commands.sock")
        offer = Offer(secrets.token_hex(8), engine is not None, ("gateway", *restarts))
        gateway = GatewayProcess(Task(settings, offer, socket), *command)
        application = web.Application(middlewares=[error_middleware(Metrics())])
        add_commands(application, engine, {"gateway": gateway.restart, **restarts})

        async def published(_: web.Request) -> web.Response:
            return json_response(engine.published if engine is not None else {})

        application.router.add_get(PUBLISHED, published)
        runner = web.AppRunner(application)
        await runner.setup()
        try:
            await web.UnixSite(runner, str(socket)).start()
            await gateway.start()
            yield gateway
        finally:
            await gateway.stop()
            await runner.cleanup()
