"""`sse-gateway serve`: the gateway as systemd runs it."""

from functools import partial
from pathlib import Path
from typing import Any

import click

from gateway import log, server
from gateway.cli.options import config_option
from gateway.cli.output import echo
from gateway.process import raise_file_limit
from gateway.settings import EMBEDDED_REDIS, Settings, load
from gateway.settings.redis_url import shown


@click.command(epilog="Example: GATEWAY_JWT_SECRET=$(openssl rand -hex 32) sse-gateway serve")
@config_option
@click.option("--host", help="Address to listen on.")
@click.option("--port", type=int, help="Port to listen on.")
def serve(config_file: Path | None, **given: Any) -> None:
    """Run the gateway until SIGTERM or Ctrl-C.

    Every setting is an environment variable or a line of the --config file. A wrong one stops the
    start with exit status 78 and a list of all mistakes. Without Redis the gateway starts, reports
    itself unhealthy and retries. SIGHUP reads keys, limits and logging again.
    """
    overrides = {name: value for name, value in given.items() if value is not None}
    read = partial(load, config_file, **overrides)
    settings = read()
    log.configure(settings.log_format, settings.log_level)
    raise_file_limit()
    banner = partial(_banner, brings_redis=settings.redis_url == EMBEDDED_REDIS)
    server.run(settings, banner, reread=read)


def _banner(running: server.Server, settings: Settings, *, brings_redis: bool) -> None:
    # The password of the embedded Redis is shown: workers need it, and it is written nowhere else.
    redis = settings.redis_url if brings_redis else shown(settings.redis_url)
    origins = ", ".join(settings.cors_origins) or "none: pages of this origin only"
    operators = f" (for operators: {running.admin_url})" if running.admin_url else ""
    hours = settings.history_ttl_seconds / 3600
    bare = "recorded" if settings.record_bare_events else "not recorded, so lost on a reconnect"
    echo(
        f"Listening on  {running.url}{operators}\n"
        f"Ownership     {settings.ownership}\n"
        f"CORS origins  {origins}\n"
        f"Redis         {redis}\n"
        f"History       the last {settings.history_max_events} events, for {hours:g} h after the "
        f"end; bare PUBLISHes are {bare}",
        err=True,
    )
