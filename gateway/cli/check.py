"""`sse-gateway check`: looks over settings, Redis, keys, this machine, and the way to browsers."""

import asyncio
import os
import sys
from pathlib import Path

import click
import orjson
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table
from rich.text import Text

from gateway.check.configuration import check_settings
from gateway.check.finding import Finding, Level, Topic, worst
from gateway.check.machine import check_addresses, check_files
from gateway.check.proxy import Options, check_url
from gateway.check.redis_server import check_redis
from gateway.check.tokens import check_tokens
from gateway.cli.options import config_option
from gateway.contract.rights import ROLES
from gateway.errors import ConfigurationError
from gateway.log import redact
from gateway.settings import Settings, load, variable

_COLOURS = {Level.OK: "green", Level.NOTE: "cyan", Level.WARNING: "yellow", Level.ERROR: "red"}
DEFAULT_PREFIX = str(Settings.model_fields["channel_prefix"].default)
_MARGIN = 3.0
"""Seconds beyond a heartbeat that a silent stream is watched by default."""


@click.command(epilog="Example: sse-gateway check --config gateway.toml https://events.example.com")
@config_option
@click.argument("urls", metavar="[URL]...", nargs=-1)
@click.option("--acl", is_flag=True, help="Print the least rights in Redis, ready to paste.")
@click.option("--settings", "shows_settings", is_flag=True, help="Print all settings as they are.")
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
@click.option("--strict", is_flag=True, help="A warning is exit status 1 too.")
@click.option("--patience", type=click.FloatRange(0), help="Seconds to watch a silent stream.")
@click.option("--token", envvar="SSE_GATEWAY_TOKEN", show_envvar=True, help="For the streams.")
@click.option("--organization", metavar="ORG", help="The one that the token names.")
@click.option("--insecure", is_flag=True, help="Any certificate will do.")
def check(
    config_file: Path | None,
    urls: tuple[str, ...],
    acl: bool,
    shows_settings: bool,
    as_json: bool,
    strict: bool,
    patience: float | None,
    token: str | None,
    organization: str | None,
    insecure: bool,
) -> None:
    """Look over settings, Redis and its rights, keys, file limits and addresses; and with a URL,
    whether a proxy holds back or cuts a stream there.

    Each finding says what to do. Exit status: 0 nothing is wrong (notes and warnings included), 1
    something is, 78 the settings themselves.
    """
    try:
        settings = load(config_file)
    except ConfigurationError as error:
        if acl:
            # They are the same whatever else is missing, and wanted before all is there.
            _print_acl(os.environ.get(variable("channel_prefix")) or DEFAULT_PREFIX, "")
            return
        if not as_json:
            raise
        topic = Topic("Settings")
        _print_json([topic.error(mistake, "Mend the setting.") for mistake in error.mistakes])
        sys.exit(ConfigurationError.EXIT_STATUS)
    if acl or shows_settings:
        if acl:
            _print_acl(settings.channel_prefix, settings.redis_url)
        if shows_settings:
            _print_settings(settings)
        return
    watched = settings.heartbeat_seconds + _MARGIN if patience is None else patience
    options = Options(watched, insecure, token, organization)
    findings = asyncio.run(_findings(settings, config_file, urls, options))
    show = _print_json if as_json else _print
    show(findings)
    bad = {Level.ERROR, Level.WARNING} if strict else {Level.ERROR}
    sys.exit(int(worst(findings) in bad))


async def _findings(
    settings: Settings, config_file: Path | None, urls: tuple[str, ...], options: Options
) -> list[Finding]:
    return [
        *check_settings(settings),
        *await check_redis(settings),
        *await check_tokens(settings, config_file),
        *check_files(settings),
        *await check_addresses(settings),
        *[one for url in urls for one in await check_url(url, settings, options)],
    ]


def _print(findings: list[Finding]) -> None:
    table = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for one in findings:
        words = Text(one.sentence)
        if one.remedy:
            words.append(f"\n{one.remedy}", "dim")
        table.add_row(Text(one.level, _COLOURS[one.level]), Text(one.about, "bold"), words)
    Console(highlight=False).print(table)


def _print_json(findings: list[Finding]) -> None:
    document = [
        {"about": one.about, "level": one.level, "sentence": one.sentence, "remedy": one.remedy}
        for one in findings
    ]
    click.echo(orjson.dumps({"worst": worst(findings), "findings": document}))


def _print_acl(channel_prefix: str, redis_url: str) -> None:
    database = redis_url.partition("?")[0].rpartition("/")[2]
    selects = database.isdecimal() and int(database) > 0
    for role in ROLES:
        click.echo(f"# {role.purpose}")
        click.echo(role.acl_line(channel_prefix, selects=selects))


def _print_settings(settings: Settings) -> None:
    table = Table("setting", "value", "meaning", box=None)
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        shown = "[hidden]" if isinstance(value, SecretStr) else redact(_shown(value))
        table.add_row(Text(variable(name)), Text(shown), Text(field.description or ""))
    Console(highlight=False).print(table)


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)
