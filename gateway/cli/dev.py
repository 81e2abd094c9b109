"""`sse-gateway dev`: everything one needs to see the gateway work, in one process."""

import os
import secrets
import socket
import sys
from pathlib import Path
from typing import Any

import click
import uvloop
from aiohttp import web

from gateway import log
from gateway.access.tokens import issue
from gateway.app import PARTS, create_application
from gateway.cli.options import config_option
from gateway.dev.engine import DEMO_EXECUTION, ORGANIZATION, SimulatedEngine
from gateway.dev.page import TOKEN_SECONDS, add_page
from gateway.limits import raise_file_limit
from gateway.server import Server, reachable_redis, stop_signal
from gateway.settings import EMBEDDED_REDIS, Settings, load

_PORTS_TRIED = 50


@click.command(epilog="Example: sse-gateway dev --port 9000 --pace 3")
@config_option
@click.option("--port", type=int, help="Port to listen on; the next free one if it is taken.")
@click.option("--redis-url", default=EMBEDDED_REDIS, show_default=True, help="Redis to use.")
@click.option("--engine/--no-engine", default=True, help="Play simulated executions.")
@click.option("--pace", default=1.0, show_default=True, help="How much faster than life they go.")
def dev(config_file: Path | None, engine: bool, pace: float, **given: Any) -> None:
    """Try the gateway: a private Redis, simulated executions and a page that shows them.

    Not for production: any token of this run is trusted for every execution.
    """
    overrides = {name: value for name, value in given.items() if value is not None}
    settings = _development(load(config_file, **_secret(config_file), **overrides))
    log.configure(settings.log_format, settings.log_level)
    raise_file_limit()
    uvloop.run(_run(settings, engine, pace))


def _secret(config_file: Path | None) -> dict[str, str]:
    """A secret of this run alone, unless one is set."""
    names = ("GATEWAY_CONFIG", "GATEWAY_JWT_SECRET", "GATEWAY_JWT_SECRET_FILE")
    if config_file is not None or any(os.environ.get(name) for name in names):
        return {}
    return {"jwt_secret": secrets.token_hex(32)}


def _development(settings: Settings) -> Settings:
    return settings.model_copy(
        update={
            "ownership": "token",
            "cors_origins": ("*",),
            "port": _free_port(settings.host, settings.port),
            # Lines about each request would bury the lines to paste.
            "log_level": "warning" if settings.log_level == "info" else settings.log_level,
        }
    )


def _free_port(host: str, first: int) -> int:
    """*first*, or the next port after it that nobody listens on."""
    for port in range(first, min(first + _PORTS_TRIED, 65536)):
        try:
            socket.create_server((host, port)).close()
        except OSError:
            continue
        return port
    return first


async def _run(settings: Settings, with_engine: bool, pace: float) -> None:
    stopped = stop_signal()
    async with reachable_redis(settings) as reachable:
        application = create_application(reachable)
        parts = application[PARTS]
        engine = None
        if with_engine:
            engine = SimulatedEngine(parts.redis, reachable.channel_prefix, pace)
            application.on_startup.append(_starter(engine))
        add_page(application, engine, lambda: _token(reachable))
        server = Server(reachable, application)
        await server.start()
        try:
            await parts.subscription.confirmed()
            _banner(server.url, reachable)
            await stopped.wait()
        finally:
            await server.stop()


def _starter(engine: SimulatedEngine) -> Any:
    async def start(application: web.Application) -> None:
        application[PARTS].supervisor.start("simulated engine", engine.run())

    return start


def _token(settings: Settings) -> str:
    secret = settings.jwt_secret.get_secret_value() if settings.jwt_secret else ""
    return issue(
        secret,
        organization_id=ORGANIZATION,
        ttl_seconds=TOKEN_SECONDS,
        claim=settings.organization_claim,
    )


def _banner(url: str, settings: Settings) -> None:
    """What to open and what to paste. Plain lines: a wrapped command cannot be pasted."""
    stream = f"{url}/api/v1/sse/executions/{DEMO_EXECUTION}/stream"
    data = '{"node_id": "hello", "node_type": "email"}'
    prefix = settings.channel_prefix
    other_prefix = "" if prefix == "execution:" else f" --channel-prefix '{prefix}'"
    click.secho(f"\nOpen {url}/ to watch the executions.", bold=True)
    click.echo(
        "For development only. Ownership: token (any valid token may watch every execution). CORS:"
        " open to every origin, without credentials.\n"
        "\nFollow one execution in a second terminal:\n"
        f"  curl -N -H 'Authorization: Bearer {_token(settings)}'"
        f" -H 'X-Organization-ID: {ORGANIZATION}' {stream}\n"
        "\nMake an event appear there from a third:\n"
        f"  {_own_name()} publish {DEMO_EXECUTION} step:started --data '{data}'"
        f" --redis-url {settings.redis_url}{other_prefix}\n"
        "\nFor a producer of your own:\n"
        f"  REDIS_URL={settings.redis_url}\n"
        "\nCtrl-C stops all of it."
    )


def _own_name() -> str:
    """How this program was started, so that the printed line works wherever it is pasted."""
    name = Path(sys.argv[0])
    return f"{sys.executable} -m gateway.cli.main" if name.suffix == ".py" else str(name.absolute())
