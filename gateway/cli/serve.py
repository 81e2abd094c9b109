"""`sse-gateway serve`: the gateway as systemd runs it."""

import logging
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import click

from gateway import __version__, log, server
from gateway.cli.options import config_option
from gateway.cli.output import echo
from gateway.errors import GatewayError
from gateway.process import raise_file_limit
from gateway.settings import EMBEDDED_REDIS, Settings, load, raw
from gateway.settings.redis_url import shown

logger = logging.getLogger(__name__)


@click.command(epilog="Example: GATEWAY_JWT_SECRET=$(openssl rand -hex 32) sse-gateway serve")
@config_option
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on.")
def serve(config_file: Path | None, **given: Any) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    Every setting is an environment variable or a line of the --config file. If a setting is wrong,
    the gateway lists all mistakes and exits with status 78. Without Redis it starts, reports itself
    unhealthy and keeps trying. SIGHUP reloads keys, limits and logging.
    """
    overrides = {name: value for name, value in given.items() if value is not None}
    _run(config_file, overrides)


@click.command(
    short_help="Record what workers only PUBLISH.",
    epilog="Example: sse-gateway recorder --config /etc/sse-gateway/gateway.toml",
)
@config_option
def recorder(config_file: Path | None) -> None:
    """Record what workers only PUBLISH, for gateways that do not receive that.

    Those are gateways with GATEWAY_SUBSCRIPTION=execution. The recorder takes the same settings. It
    has no streams, only the operators' address, and needs no keys. Run two: they agree, and either
    may be killed.
    """
    _run(config_file, {"record_bare_events": "only"})


def _run(config_file: Path | None, overrides: Mapping[str, Any]) -> None:
    try:
        _serve(partial(load, config_file, **overrides))
    except GatewayError as error:
        if raw("log_format", config_file) != "json":
            raise
        # What collects the log reads nothing else.
        log.configure("json", "info")
        for mistake in str(error).splitlines():
            logger.error("The gateway cannot start. %s", mistake)  # noqa: TRY400 - no trace needed
        sys.exit(error.EXIT_STATUS)


def _serve(read: Callable[[], Settings]) -> None:
    settings = read()
    log.configure(settings.log_format, settings.log_level)
    raise_file_limit()
    started = partial(_started, brings_redis=settings.redis_url == EMBEDDED_REDIS)
    server.run(settings, started, reread=read)


def _started(running: server.Server, settings: Settings, *, brings_redis: bool) -> None:
    if settings.log_format == "text":
        _banner(running, settings, brings_redis)
    places = {"listening": running.url, "operators": running.admin_url or ""}
    log.event(logger, "started", version=__version__, **places)


def _banner(running: server.Server, settings: Settings, brings_redis: bool) -> None:
    # The password of the embedded Redis is shown: workers need it, and it is written nowhere else.
    redis = settings.redis_url if brings_redis else shown(settings.redis_url)
    origins = ", ".join(settings.cors_origins) or "none: pages of this origin only"
    operators = f" (for operators: {running.admin_url})" if running.admin_url else ""
    hours = settings.history_ttl_seconds / 3600
    bare = {
        "on": "recorded", "off": "not recorded, so lost on a reconnect",
        "only": "recorded, and handed on to gateways that subscribe to single executions",
    }[settings.record_bare_events]  # fmt: skip
    if settings.watches:
        bare = "for a recorder: this gateway subscribes to what is watched"
    serves = (
        f"Listening on  {running.url}{operators}\n"
        f"Ownership     {settings.ownership}\n"
        f"CORS origins  {origins}\n"
    )
    if settings.is_recorder:
        serves = f"Recorder      for operators: {running.admin_url or 'no address'}\n"
    echo(
        f"{serves}Redis         {redis}\n"
        f"History       the last {settings.history_max_events} events, for {hours:g} h after the "
        f"end; bare PUBLISHes are {bare}",
        err=True,
    )
