"""`sse-gateway dev`: everything one needs to see the gateway work, in one process.

Not for production.
"""

import asyncio
import errno
import os
import secrets
import shlex
import socket
import sys
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import click
import uvloop

from gateway import log
from gateway.access.tokens import issue
from gateway.app import COMPONENTS, create_application
from gateway.bus.connection import create_redis
from gateway.cli.options import REDIS_OF_TRIALS, config_option
from gateway.cli.output import console
from gateway.harmless import harmless
from gateway.process import raise_file_limit
from gateway.server import Server, reachable_redis, stop_signal
from gateway.settings import EMBEDDED_REDIS, Settings, load, variable
from gateway.tasks import Supervisor
from gateway.tools.dev.control import add_control
from gateway.tools.dev.engine import DEMO_EXECUTION, ORGANIZATION, SimulatedEngine

_PORTS_TRIED = 50

_SUBSCRIBED_WITHIN = 1.0
"""Seconds to wait for the subscription, so that the printed commands work at once."""

_PASTED_TOKEN_HOURS = 12

_ALWAYS = {
    # Every token may watch every execution, and every page may read.
    "ownership": "token",
    "cors_origins": ("*",),
    "cors_credentials": False,
    # The page needs an address, and its tokens are signed with a secret and name no issuer.
    "page": True,
    "unix_socket": None,
    "admin_port": None,
    "admin_unix_socket": None,
    "jwt_public_key_file": None,
    "jwks_url": None,
    "jwt_algorithms": (),
    "jwt_issuer": None,
    "jwt_audience": None,
}

_UNLESS_SET = {
    # A developer does not wait for a drain.
    "drain_seconds": 0.2,
    # A line about each request would hide the commands to paste.
    "log_level": "warning",
}


@click.command(epilog="Example: sse-gateway dev --port 9000 --pace 3")
@config_option
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="Port to listen on, else the next free one.  [default: 8080]",
)
@click.option(
    "--redis-url",
    envvar=REDIS_OF_TRIALS,
    show_envvar=True,
    default=EMBEDDED_REDIS,
    show_default=True,
    help="Redis to use, better given in the environment if it has a password. REDIS_URL is not "
    "used: it may name production's Redis, where no simulated events belong.",
)
@click.option(
    "--engine/--no-engine", default=True, show_default=True, help="Run simulated executions."
)
@click.option(
    "--pace",
    type=click.FloatRange(0, 1000, min_open=True),
    default=1.0,
    show_default=True,
    help="Speed of the simulated executions: 2 is twice as fast.",
)
def dev(config_file: Path | None, engine: bool, pace: float, **given: Any) -> None:
    """Try the gateway: a private Redis, simulated executions and a page that shows them.

    Not for production: every token of this gateway may watch every execution, the page gives a
    token to everybody who opens it, and pages of all origins may read. Other settings are those of
    `serve`.
    """
    settings = _settings(config_file, given)
    log.configure(settings.log_format, settings.log_level)
    raise_file_limit()
    uvloop.run(_run(settings, pace if engine else None))


def _settings(config_file: Path | None, given: dict[str, Any]) -> Settings:
    """This command's own settings, above the user's, above this command's defaults."""
    chosen = _chosen(config_file)
    defaults: dict[str, Any] = dict(_UNLESS_SET)
    if not chosen & {"jwt_secret", "jwt_secret_file"}:
        # For this run alone: no token outlives it.
        defaults["jwt_secret"] = secrets.token_hex(32)
    overrides = {
        **{name: value for name, value in defaults.items() if name not in chosen},
        **{name: value for name, value in given.items() if value is not None},
        **_ALWAYS,
    }
    settings = load(config_file, **overrides)
    return settings.model_copy(update={"port": _free_port(settings.host, settings.port)})


def _chosen(config_file: Path | None) -> set[str]:
    """Names of the settings that the environment or the file gives."""
    chosen = {field for field in Settings.model_fields if os.environ.get(variable(field))}
    if config_file is not None:
        # `load` reports a file that cannot be read.
        with suppress(OSError, ValueError):
            chosen |= tomllib.loads(config_file.read_text(encoding="utf-8")).keys()
    return chosen


def _free_port(host: str, first: int) -> int:
    """*first*, or the next free port after it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for port in range(first, min(first + _PORTS_TRIED, 65536)):
        try:
            socket.create_server((host, port), family=family).close()
        except OSError as error:
            if error.errno == errno.EADDRINUSE:
                continue
        break
    # The gateway reports other problems of the address when it starts.
    return port


async def _run(settings: Settings, pace: float | None) -> None:
    stopped = stop_signal()
    async with reachable_redis(settings) as reachable, _simulation(reachable, pace) as engine:
        application = create_application(reachable)
        add_control(application, engine, partial(_token, reachable), reachable.host)
        server = Server(reachable, application)
        await server.start()
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(_SUBSCRIBED_WITHIN):
                    await application[COMPONENTS].subscription.confirmed()
            _banner(server.url, reachable)
            await stopped.wait()
        finally:
            await server.stop()


@asynccontextmanager
async def _simulation(
    settings: Settings, pace: float | None
) -> AsyncIterator[SimulatedEngine | None]:
    """The simulated engine, for as long as the block runs; none without a *pace*."""
    if pace is None:
        yield None
        return
    async with create_redis(settings.redis_url, max_connections=2) as redis:
        engine = SimulatedEngine(redis, channel_prefix=settings.channel_prefix, pace=pace)
        supervisor = Supervisor()
        supervisor.start("simulated engine", engine.run())
        try:
            yield engine
        finally:
            await supervisor.stop()


def _token(settings: Settings, ttl_seconds: int) -> str:
    return issue(
        settings.jwt_secret.get_secret_value() if settings.jwt_secret else "",
        organization_id=ORGANIZATION,
        ttl_seconds=ttl_seconds,
        claim=settings.organization_claim,
    )


def _banner(url: str, settings: Settings) -> None:
    # A line that was wrapped or cut could not be pasted.
    screen = console(soft_wrap=True)
    screen.print(f"\nOpen {url}/ to watch executions.", style="bold")
    screen.print(
        "For development only. Ownership: token (any valid token may watch every execution). CORS: "
        "open to every origin, without credentials."
    )
    if settings.host not in ("127.0.0.1", "::1", "localhost"):
        warning = "Everybody who can reach this address gets a token and may watch."
        screen.print(warning, style="bold red")
    for purpose, line in _commands(url, settings).items():
        screen.print(f"\n{purpose}:", style="bold")
        screen.print(f"  {harmless(line)}")
    screen.print("\nCtrl-C stops all of it.")


def _commands(url: str, settings: Settings) -> dict[str, str]:
    stream = f"{url}/api/v1/sse/executions/{DEMO_EXECUTION}/stream"
    token = _token(settings, _PASTED_TOKEN_HOURS * 3600)
    headers = (f"Authorization: Bearer {token}", f"X-Organization-ID: {ORGANIZATION}")
    curl = shlex.join(["curl", "-N", "-H", headers[0], "-H", headers[1], stream])
    data = '{"node_id": "hello", "node_type": "email"}'
    # Not --redis-url: other users of this machine read command lines, and the password in them.
    redis_url = f"REDIS_URL={shlex.quote(settings.redis_url)}"
    publish = [*_program(), "publish", DEMO_EXECUTION, "step:started", "--data", data]
    if settings.channel_prefix != Settings.model_fields["channel_prefix"].default:
        publish += ["--channel-prefix", settings.channel_prefix]
    return {
        f"Follow an execution in a second terminal (for {_PASTED_TOKEN_HOURS} hours)": curl,
        "Publish an event to it from a third": f"{redis_url} {shlex.join(publish)}",
        "For your own producer": redis_url,
    }


def _program() -> list[str]:
    """The command that started this program, so that it works in any directory."""
    started_as = Path(sys.argv[0])
    if started_as.suffix == ".py":
        return [sys.executable, "-m", "gateway.cli.main"]
    return [str(started_as.absolute())]
