"""What several subcommands share: options, and a connection to Redis for one command."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar, get_args

import click
from redis.asyncio import Redis

from gateway.access.claims import place
from gateway.access.tokens import issue
from gateway.bus.connection import create_redis
from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.contract.keys import PublishTo
from gateway.errors import RedisUnavailable
from gateway.events.envelope import EXECUTION_ID
from gateway.settings import Settings, check_redis_url, raw
from gateway.settings.checks import check_url
from gateway.settings.keys import MIN_SECRET_BYTES, split_secrets
from gateway.settings.redis_url import shown

T = TypeVar("T")

config_option = click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path),
    envvar="GATEWAY_CONFIG",
    help="TOML file with settings. Environment variables override it.",
)


def _check_url(_context: click.Context, _option: click.Parameter, url: str) -> str:
    try:
        return check_redis_url(url)
    except ValueError as error:
        raise click.BadParameter(str(error)) from None


def _check_secret(
    context: click.Context, option: click.Parameter, secret: str | None
) -> str | None:
    if option.required and not secret:
        # To click, a default that is called has given a value.
        raise click.MissingParameter(ctx=context, param=option)
    least = MIN_SECRET_BYTES["HS256"]
    # Of several the first one signs.
    secret = next(iter(split_secrets(secret or "")), None)
    if secret and len(secret.encode()) < least:
        raise click.BadParameter(f"it is too short: a gateway's secret has {least} bytes or more")
    return secret


def _setting(name: str) -> Any:
    """For an option: what the gateway's file of settings or its credentials have, else the
    default."""

    def value() -> str | None:
        return raw(name) or Settings.model_fields[name].default

    # click calls it for a value, and shows the text.
    return {"default": value, "show_default": Settings.model_fields[name].default or False}


redis_option = click.option(
    "--redis-url",
    envvar="REDIS_URL",
    **_setting("redis_url"),
    callback=_check_url,
    show_envvar=True,
    help="The gateway's Redis. Put a URL with a password into the environment.",
)

REDIS_OF_TRIALS = "SSE_GATEWAY_REDIS_URL"
"""Where `dev` and `loadtest` publish made-up events; REDIS_URL may be production's. A variable,
since every user of the machine can read a command line with the password in it."""

prefix_option = click.option(
    "--channel-prefix",
    envvar="GATEWAY_CHANNEL_PREFIX",
    **_setting("channel_prefix"),
    help="What the channel name of every execution begins with.",
)

publish_to_option = click.option(
    "--publish-to",
    envvar="GATEWAY_PUBLISH_TO",
    type=click.Choice(get_args(PublishTo)),
    default=lambda: raw("publish_to") or ("both" if raw("subscription") == "execution" else None),
    help="Publish for gateways that subscribe to the pattern (the default), to single executions, "
    "or both.",
)

claim_option = click.option(
    "--claim",
    envvar="GATEWAY_ORGANIZATION_CLAIM",
    **_setting("organization_claim"),
    help="The token's claim with the organization.",
)

token_option = click.option(
    "--token",
    envvar="SSE_GATEWAY_TOKEN",
    show_envvar=True,
    help="The token to send. Better in the environment than here.",
)


def secret_option(*, required: bool = False) -> Callable[[Any], Any]:
    """`--secret`, to sign a token with."""
    return click.option(
        "--secret",
        envvar="GATEWAY_JWT_SECRET",
        callback=_check_secret,
        show_envvar=True,
        required=required,
        **_setting("jwt_secret"),
        help="The gateway's HS256 secret, to sign a token. Better in the environment than here.",
    )


def trial_token(secret: str, *, publish: bool = False, **given: Any) -> str:
    """A token as `issue` makes it, of the issuer and for the audience that the gateway asks for.
    *publish*: with the right to publish by HTTP."""
    asked = {"iss": raw("jwt_issuer"), "aud": raw("jwt_audience")}
    more: dict[str, Any] = {name: value for name, value in asked.items() if value}
    if publish:
        more |= place(*[_of_gateway(name) for name in ("publish_claim", "publish_scope")])
    return issue(secret, more=more, **given)


def _of_gateway(name: str) -> str:
    return raw(name) or str(Settings.model_fields[name].default)


def gateway_url() -> str:
    """Where the gateway listens on this machine, by its settings."""
    host = _of_gateway("host")
    if host in ("0.0.0.0", "::"):  # noqa: S104 - only compared
        host = "127.0.0.1"
    return f"http://{f'[{host}]' if ':' in host else host}:{_of_gateway('port')}"


class GatewayUrl(click.ParamType[str]):
    """Where a gateway is, without a slash at its end."""

    name = "url"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        try:
            check_url(value)
        except ValueError:
            self.fail(f"{value!r} is no URL: write it like http://127.0.0.1:8080.", param, ctx)
        return str(value).rstrip("/")


class Name(click.ParamType[str]):
    """The value of a claim: printable text."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value or not value.isprintable():
            self.fail(f"{value!r} is not a name: use printable characters.", param, ctx)
        return str(value)


class ExecutionId(click.ParamType[str]):
    """An execution id as URLs and channels allow it."""

    name = "id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not EXECUTION_ID.fullmatch(value):
            self.fail(f"{value!r} is not an execution id: use 1 to 128 of A-Z a-z 0-9 _ . : -")
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
