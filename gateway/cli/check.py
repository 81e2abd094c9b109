"""`sse-gateway check`: is this installation in order, and does a stream come through the proxy?"""

import asyncio
import sys
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import click
import orjson
from rich.console import Console

from gateway.check import report
from gateway.check.finding import Finding, Level, Topic, worst
from gateway.check.proxy import Options
from gateway.check.run import check as look
from gateway.check.table import rows, table
from gateway.cli.options import config_option
from gateway.contract.rights import ROLES
from gateway.errors import ConfigurationError
from gateway.limits import raise_file_limit
from gateway.settings import Settings, load, named_file, sources

_BEYOND_A_HEARTBEAT = 2.0
"""Seconds that a stream is silent for beyond the time of a heartbeat, unless asked otherwise."""


@click.command(
    epilog="Example: sse-gateway check --config /etc/sse-gateway/gateway.toml https://sse.example.com"
)
@click.argument("urls", metavar="[URL]...", nargs=-1)
@config_option
@click.option("--acl", is_flag=True, help="Print the rights in Redis, as ACL lines to paste.")
@click.option("--settings", "all_settings", is_flag=True, help="Print all settings, then end.")
@click.option("--json", "as_json", is_flag=True, help="Print the findings as one JSON object.")
@click.option("--strict", is_flag=True, help="Exit status 1 for warnings too.")
@click.option(
    "--token", help="A token to open the stream with; made from the secret where there is one."
)
@click.option("--organization", metavar="ORG", help="One that the token is for.")
@click.option(
    "--patience",
    type=click.FloatRange(0),
    metavar="SECONDS",
    help="How long a stream is kept silent, to see whether it is cut.  "
    "[default: a little more than one heartbeat]",
)
@click.option("--insecure", is_flag=True, help="Do not verify the certificate of an https URL.")
def check(
    urls: tuple[str, ...],
    config_file: Path | None,
    acl: bool,
    all_settings: bool,
    as_json: bool,
    strict: bool,
    patience: float | None,
    token: str | None,
    organization: str | None,
    insecure: bool,
) -> None:
    """Look at settings, keys, Redis, this machine, and the way through each URL.

    Run it with the gateway's settings, as the gateway's user. URL is where browsers find the
    gateway, such as https://sse.example.com: a stream is opened there, and events of a made-up
    execution are published in Redis, which shows whether a proxy holds events back or cuts streams.
    Nothing of it stays.

    Exit status 0 if there are no errors (with --strict: no warnings either), else 1; 2 if it was
    asked for wrongly.
    """
    if acl:
        _print_acl(config_file)
        return
    if all_settings:
        _print_settings(load(config_file), config_file, as_json)
        return
    findings = _findings(urls, config_file, patience, (token, organization), insecure)
    if as_json:
        click.echo(orjson.dumps(report.document(findings), option=orjson.OPT_INDENT_2))
    else:
        report.show(findings, Console(highlight=False))
    bad = (Level.ERROR, Level.WARNING) if strict else (Level.ERROR,)
    sys.exit(1 if worst(findings) in bad else 0)


def _findings(
    urls: tuple[str, ...],
    config_file: Path | None,
    patience: float | None,
    credentials: tuple[str | None, str | None],
    insecure: bool,
) -> list[Finding]:
    try:
        settings = load(config_file)
    except ConfigurationError as error:
        topic = Topic("Settings")
        remedy = "The gateway does not start with it, and nothing else was looked at."
        return [topic.error(mistake, remedy) for mistake in error.mistakes]
    raise_file_limit()
    if patience is None:
        patience = settings.heartbeat_seconds + _BEYOND_A_HEARTBEAT
    options = Options(patience, insecure, *credentials)
    return asyncio.run(look(settings, named_file(config_file), urls, options))


def _print_acl(config_file: Path | None) -> None:
    """For redis-cli's prompt. It takes no valid settings: this is what comes before them."""
    given = {name: str(value) for name, (_, value) in sources(config_file).items()}
    prefix = given.get("channel_prefix", str(Settings.model_fields["channel_prefix"].default))
    selects = _names_a_database(given.get("redis_url", ""))
    for role in ROLES:
        click.echo(f"# {role.purpose[0].upper()}{role.purpose[1:]}:")
        click.echo(role.acl_line(prefix, selects=selects))


def _names_a_database(url: str) -> bool:
    """Whether a connection by *url* begins with SELECT."""
    parts = urlsplit(url)
    path = parts.path.rpartition("/")[2] if parts.scheme != "unix" else ""
    named = parse_qs(parts.query).get("db", [path])[0]
    return named.isdecimal() and int(named) > 0


def _print_settings(settings: Settings, config_file: Path | None, as_json: bool) -> None:
    lines = rows(settings, sources(config_file))
    if as_json:
        names = ("setting", "value", "from", "meaning")
        listed = [dict(zip(names, line, strict=True)) for line in lines]
        click.echo(orjson.dumps(listed, option=orjson.OPT_INDENT_2))
    else:
        Console(highlight=False, markup=False).print(table(lines))
