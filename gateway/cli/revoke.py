"""`sse-gateway revoke`: shut somebody out before their token expires, or let them in again."""

from datetime import UTC, datetime

import click
from rich.table import Table

from gateway.bus.revocations import KINDS, InForce, Kind, read_revocations, restore
from gateway.bus.revocations import revoke as write_revocation
from gateway.cli.options import ExecutionId, redis_option, with_redis
from gateway.cli.output import console, echo
from gateway.harmless import harmless

_DEFAULT_SECONDS = 24 * 3600
_MOST_SECONDS = 10 * 365 * 24 * 3600
"""Ten years: long enough for any token, and for a date with a four-digit year."""


class Name(click.ParamType[str]):
    """What a claim holds: a text that can be typed and seen."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value or not value.isprintable():
            self.fail(f"{value!r} names nobody: give a text of printable characters.")
        return value


@click.command(epilog="Example: sse-gateway revoke --subject user-7 --for 3600")
@click.option("--subject", type=Name(), help="Everybody whose token has this claim `sub`.")
@click.option("--token-id", type=Name(), help="The token with this claim `jti`.")
@click.option("--organization", type=Name(), help="All who watch as this organization.")
@click.option("--execution", type=ExecutionId(), help="All who watch this execution.")
@click.option(
    "--for",
    "seconds",
    metavar="SECONDS",
    type=click.IntRange(1, _MOST_SECONDS),
    help=f"How long it holds; not shorter than the tokens live. [default: {_DEFAULT_SECONDS}]",
)
@click.option("--undo", is_flag=True, help="Let them in again.")
@click.option("--list", "show", is_flag=True, help="Show what is in force.")
@redis_option
def revoke(
    *, seconds: int | None, undo: bool, show: bool, redis_url: str, **named: str | None
) -> None:
    """End the streams of a subject, a token, an organization or an execution, on all gateways.

    They end within two seconds, and no new ones open until the revocation does. Saying it again
    sets a new end.
    """
    chosen = [(kind, value) for kind in KINDS if (value := named[kind.replace("-", "_")])]
    if show:
        if chosen or undo or seconds:
            raise click.UsageError("--list stands alone.")
        _show(with_redis(redis_url, read_revocations))
        return
    if len(chosen) != 1:
        raise click.UsageError(
            "Name exactly one of --subject, --token-id, --organization and --execution."
        )
    if undo and seconds:
        raise click.UsageError("--undo holds at once and for good: leave out --for.")
    [(kind, value)] = chosen
    if undo:
        _undo(redis_url, kind, value)
    else:
        _revoke(redis_url, kind, value, seconds or _DEFAULT_SECONDS)


def _revoke(redis_url: str, kind: Kind, value: str, seconds: int) -> None:
    end = with_redis(redis_url, lambda redis: write_revocation(redis, kind, value, seconds))
    echo(
        f"The {kind} {value} is revoked until {_shown(end)}: its streams end within 2 seconds, "
        "and no new ones open."
    )


def _undo(redis_url: str, kind: Kind, value: str) -> None:
    if with_redis(redis_url, lambda redis: restore(redis, kind, value)):
        echo(f"The {kind} {value} is not revoked any more: its streams open again.")
    else:
        echo(f"The {kind} {value} was not revoked.")


def _show(found: InForce) -> None:
    now = datetime.now(UTC).timestamp()
    rows = sorted(
        (end, kind, value)
        for kind, ends in found.items()
        for value, end in ends.items()
        if end > now
    )
    if not rows:
        echo("Nothing is revoked.")
        return
    table = Table("Kind", "Until", box=None)
    # Folded, not cut: half an id names somebody else, or nobody.
    table.add_column("Value", overflow="fold")
    for end, kind, value in rows:
        table.add_row(kind, _shown(end), harmless(value))
    console().print(table)


def _shown(moment: float) -> str:
    return datetime.fromtimestamp(moment, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
