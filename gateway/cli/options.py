"""What several subcommands share: options, and a connection to Redis for one command."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from redis.asyncio import Redis

from gateway.bus.connection import create_redis
from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.errors import RedisUnavailable
from gateway.events.envelope import EXECUTION_ID
from gateway.settings import check_redis_url
from gateway.settings.access import MIN_SECRET_BYTES
from gateway.settings.redis_url import shown

T = TypeVar("T")

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    envvar="GATEWAY_CONFIG",
    help="TOML file with settings; the environment wins over it.",
)


def _check_url(_context: click.Context, _option: click.Parameter, url: str) -> str:
    try:
        return check_redis_url(url)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _check_secret(
    _context: click.Context, _option: click.Parameter, secret: str | None
) -> str | None:
    least = MIN_SECRET_BYTES["HS256"]
    if secret and len(secret.encode()) < least:
        raise click.BadParameter(f"it is too short: a gateway's secret has {least} bytes or more")
    return secret


redis_option = click.option(
    "--redis-url",
    envvar="REDIS_URL",
    default="redis://localhost:6379/0",
    show_default=True,
    callback=_check_url,
    show_envvar=True,
    help="The Redis that the gateway listens on; better given in the environment if it has a "
    "password.",
)

REDIS_OF_TRIALS = "SSE_GATEWAY_REDIS_URL"
"""Where `dev` and `loadtest` publish made-up events; REDIS_URL may be production's. A variable,
since every user of the machine can read a command line with the password in it."""

prefix_option = click.option(
    "--channel-prefix",
    envvar="GATEWAY_CHANNEL_PREFIX",
    default="execution:",
    show_default=True,
    help="Begins the channel name of every execution.",
)

claim_option = click.option(
    "--claim",
    envvar="GATEWAY_ORGANIZATION_CLAIM",
    default="organization_id",
    show_default=True,
    help="Claim that holds the organization in the signed token.",
)

token_option = click.option(
    "--token",
    envvar="SSE_GATEWAY_TOKEN",
    show_envvar=True,
    help="The token to send; better given in the environment.",
)


def secret_option(*, required: bool = False) -> Callable[[Any], Any]:
    """`--secret`, to sign a token with."""
    return click.option(
        "--secret",
        envvar="GATEWAY_JWT_SECRET",
        callback=_check_secret,
        show_envvar=True,
        required=required,
        help="The gateway's HS256 secret, to sign a token; better given in the environment.",
    )


class ExecutionId(click.ParamType[str]):
    """An execution id as URLs and channels allow it."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not EXECUTION_ID.fullmatch(value):
            self.fail(f"{value!r} is no execution id: use 1 to 128 of A-Z a-z 0-9 _ . : -")
        return str(value)


execution_argument = click.argument("execution_id", metavar="ID", type=ExecutionId())


def with_redis(url: str, work: Callable[[Redis], Awaitable[T]]) -> T:
    """Run *work* with a connection to *url*, for a command that then ends.

    Raises:
        RedisUnavailable: Redis is away, hangs or refuses.
    """

    async def connected() -> T:
        async with create_redis(url, max_connections=2) as redis:
            try:
                return await work(redis)
            except REDIS_ERRORS as error:
                raise RedisUnavailable(f"{describe_redis_error(error)} ({shown(url)})") from error

    return asyncio.run(connected())
