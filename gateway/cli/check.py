"""`sse-gateway check`: examines settings, Redis, keys, this machine, and the way to browsers."""

import asyncio
import sys
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import click
import orjson
from rich.table import Table
from rich.text import Text

from gateway.cli.options import config_option, token_option
from gateway.cli.output import console, echo
from gateway.contract.acl import ROLES
from gateway.errors import ConfigurationError
from gateway.harmless import harmless
from gateway.settings import Settings, load, sources, variable
from gateway.settings.checks import read_text
from gateway.tools.check.configuration import check_settings, check_tokens
from gateway.tools.check.finding import Finding, Level, Topic, table, worst
from gateway.tools.check.machine import check_addresses, check_files
from gateway.tools.check.proxy import Options, check_url
from gateway.tools.check.redis_server import check_redis

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
@click.option(
    "--patience",
    "silence",
    type=click.FloatRange(0),
    help="Seconds to watch a silent stream.  [default: a heartbeat and 3 s]",
)
@token_option
@click.option("--organization", metavar="ORG", help="The one that the token names.")
@click.option("--insecure", is_flag=True, help="Do not verify the certificate.")
def check(
    config_file: Path | None,
    urls: tuple[str, ...],
    acl: bool,
    shows_settings: bool,
    as_json: bool,
    strict: bool,
    silence: float | None,
    token: str | None,
    organization: str | None,
    insecure: bool,
) -> None:
    """Check settings, Redis and its rights, keys, file limits and addresses; and with a URL,
    whether a proxy there buffers or cuts a stream.

    Each finding says what to do. Exit status: 0 no errors (there may be notes and warnings), 1
    errors, 78 the settings are wrong.
    """
    if acl:
        _print_acl(config_file)
        return
    try:
        settings = load(config_file)
    except ConfigurationError as error:
        if not as_json:
            raise
        topic = Topic("Settings")
        _print_json([topic.error(mistake, "Correct the setting.") for mistake in error.mistakes])
        sys.exit(ConfigurationError.EXIT_STATUS)
    if shows_settings:
        console().print(table(settings, sources(config_file)))
        return
    if silence is None:
        silence = settings.heartbeat_seconds + _MARGIN
    options = Options(silence, insecure, token, organization)
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
    lines = Table(box=None, show_header=False, padding=(0, 2, 0, 0))
    for _ in ("level", "about", "text"):
        # Folded, not cut: somebody may want to copy a path or a URL.
        lines.add_column(overflow="fold")
    for one in findings:
        text = Text(harmless(one.sentence))
        if one.remedy:
            text.append(f"\n{harmless(one.remedy)}", "dim")
        about = Text(harmless(one.about), "bold")
        lines.add_row(Text(one.level, _COLOURS[one.level]), about, text)
    console().print(lines)


def _print_json(findings: list[Finding]) -> None:
    document = [
        {"about": one.about, "level": one.level, "sentence": one.sentence, "remedy": one.remedy}
        for one in findings
    ]
    echo(orjson.dumps({"worst": worst(findings), "findings": document}).decode())


def _print_acl(config_file: Path | None) -> None:
    """Needs no valid settings: rights are granted before the rest is configured."""
    given = {name: str(value) for name, (_, value) in sources(config_file).items()}
    prefix = given.get("channel_prefix", DEFAULT_PREFIX)
    selects = names_a_database(_redis_url(given))
    for role in ROLES:
        echo(f"# {role.purpose}")
        echo(role.acl_line(prefix, selects=selects))


def _redis_url(given: Mapping[str, str]) -> str:
    """The URL or the content of its file; empty where neither is *given*."""
    file = given.get("redis_url_file")
    if file is None:
        return given.get("redis_url", "")
    try:
        return read_text(Path(file))
    except ValueError as error:
        raise ConfigurationError([f"{variable('redis_url_file')}: {error}."]) from None


def names_a_database(redis_url: str) -> bool:
    """Whether a connection by *redis_url* begins with SELECT."""
    parts = urlsplit(redis_url)
    # The path of unix:// is a file, which may be called 6379.
    path = "" if parts.scheme == "unix" else parts.path.rpartition("/")[2]
    database = parse_qs(parts.query).get("db", [path])[0]
    return database.isdecimal() and int(database) > 0
