"""`sse-gateway check`: examines settings, Redis, keys, this machine, and the way to browsers."""

import asyncio
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import click
import orjson
from rich.table import Table
from rich.text import Text

from gateway.cli.options import Name, config_option, token_option
from gateway.cli.output import console, echo
from gateway.contract.acl import ROLES
from gateway.errors import ConfigurationError
from gateway.harmless import harmless
from gateway.settings import Settings, load, raw, sources
from gateway.settings.redis_url import is_cluster_url
from gateway.tools.check.configuration import check_settings, check_tokens
from gateway.tools.check.finding import Finding, Level, Topic, described, worst
from gateway.tools.check.machine import check_addresses, check_files
from gateway.tools.check.proxy import Options, check_url
from gateway.tools.check.redis_server import check_redis

_COLOURS = {Level.OK: "green", Level.NOTE: "cyan", Level.WARNING: "yellow", Level.ERROR: "red"}
DEFAULT_PREFIX = str(Settings.model_fields["channel_prefix"].default)
_WATCHED = 65.0
"""Seconds that a silent stream is watched by default: proxies limit requests to 15, 30 or 60."""
_MARGIN = 3.0
"""Seconds beyond a heartbeat that it is watched at least."""


@click.command(
    short_help="Check settings, Redis, keys, file limits and proxies.",
    epilog="Example: sse-gateway check --config gateway.toml https://events.example.com",
)
@config_option
@click.argument("urls", metavar="[URL]...", nargs=-1)
@click.option("--acl", is_flag=True, help="Print the Redis rights that are needed, ready to paste.")
@click.option(
    "--settings", "shows_settings", is_flag=True, help="Print all settings that are in force."
)
@click.option("--json", "as_json", is_flag=True, help="Findings as JSON.")
@click.option("--strict", is_flag=True, help="Exit with status 1 on warnings too.")
@click.option(
    "--patience",
    "silence",
    type=click.FloatRange(0),
    help="Seconds to watch a silent stream; a proxy that cuts later is not found.  [default: 65]",
)
@token_option
@click.option(
    "--offline",
    is_flag=True,
    help="Check settings, keys and the token alone: contact neither Redis nor anything else.",
)
@click.option(
    "--organization", type=Name(), metavar="ORG", help="Organization to use the token for."
)
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
    offline: bool,
) -> None:
    """Check settings, Redis and its rights, keys, file limits and addresses. With a token, also say
    why a gateway refuses it. With a URL, also check whether a proxy buffers or cuts streams.

    Each finding says what to do. Exit status: 0 no errors (there may be notes and warnings), 1
    errors, 78 the settings are wrong.
    """
    if acl:
        _print_acl(config_file)
        return
    settings = _load(config_file, as_json)
    if shows_settings:
        console().print(*described(settings, sources(config_file)), sep="\n")
        return
    if silence is None:
        silence = max(_WATCHED, settings.heartbeat_seconds + _MARGIN)
    if offline and urls:
        raise click.UsageError("--offline takes no URL.")
    if urls:
        echo(f"Each stream is watched for {silence:g} s (--patience) ...", err=True)
    options = Options(silence, insecure, token, organization)
    findings = asyncio.run(_findings(settings, config_file, urls, options, offline=offline))
    show = _print_json if as_json else _print
    show(findings)
    bad = {Level.ERROR, Level.WARNING} if strict else {Level.ERROR}
    sys.exit(int(worst(findings) in bad))


def _load(config_file: Path | None, as_json: bool) -> Settings:
    try:
        return load(config_file)
    except ConfigurationError as error:
        if not as_json:
            raise
        topic = Topic("Settings")
        _print_json([topic.error(mistake, "Correct the setting.") for mistake in error.mistakes])
        sys.exit(ConfigurationError.EXIT_STATUS)


async def _findings(
    settings: Settings,
    config_file: Path | None,
    urls: tuple[str, ...],
    options: Options,
    *,
    offline: bool,
) -> list[Finding]:
    tokens = await check_tokens(
        settings, config_file, options.token, options.organization, offline=offline
    )
    if offline:
        return [*check_settings(settings), *tokens]
    return [
        *check_settings(settings),
        *await check_redis(settings),
        *tokens,
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
    prefix = raw("channel_prefix", config_file) or DEFAULT_PREFIX
    url = raw("redis_url", config_file) or ""
    selects, in_cluster = names_a_database(url), is_cluster_url(url)
    if in_cluster:
        echo("# At each node of the cluster:")
    for role in ROLES:
        echo(f"# {role.purpose}")
        echo(role.acl_line(prefix, selects=selects, in_cluster=in_cluster))


def names_a_database(redis_url: str) -> bool:
    """Whether a connection by *redis_url* begins with SELECT."""
    parts = urlsplit(redis_url)
    # The path of unix:// is a file, which may be called 6379.
    path = "" if parts.scheme == "unix" else parts.path.rpartition("/")[2]
    database = parse_qs(parts.query).get("db", [path])[0]
    return database.isdecimal() and int(database) > 0
