"""`sse-gateway token` and `sse-gateway revoke`: give access for a trial, and take access away."""

from datetime import UTC, datetime

import click
from rich.table import Table

from gateway.bus import revocations
from gateway.bus.revocations import KINDS, InForce, Kind
from gateway.cli.options import (
    ExecutionId,
    Name,
    claim_option,
    redis_option,
    secret_option,
    trial_token,
    with_redis,
)
from gateway.cli.output import console, echo
from gateway.harmless import harmless

_DEFAULT_SECONDS = 24 * 3600
_MOST_SECONDS = 10 * 365 * 24 * 3600
"""Ten years: long enough for any token, and the date still has a four-digit year."""


@click.command(epilog="Example: sse-gateway token --organization acme --ttl 600")
@click.option(
    "--organization", type=Name(), required=True, help="Organization that the token is for."
)
@click.option(
    "--subject", default="dev", show_default=True, help="User that the token is for (claim `sub`)."
)
@click.option("--ttl", default=3600, show_default=True, help="How many seconds the token is valid.")
@click.option(
    "--publish", is_flag=True, help="A worker's token, with the right to publish by HTTP."
)
@claim_option
@secret_option(required=True)
def token(
    organization: str, subject: str, ttl: int, publish: bool, claim: str, secret: str
) -> None:
    """Print a signed token for development. NOT FOR PRODUCTION: there your issuer signs tokens."""
    warning = "NOT FOR PRODUCTION: a token for development."
    console(stderr=True, soft_wrap=True).print(warning, style="bold red")
    echo("The secret signs any identity: in production only your issuer may have it.", err=True)
    given = {"organization_id": organization, "subject": subject, "ttl_seconds": ttl}
    echo(trial_token(secret, claim=claim, publish=publish, **given))


@click.command(
    short_help="End the streams of a subject, token or organization.",
    epilog="Example: sse-gateway revoke --subject user-7 --for 3600",
)
@click.option("--subject", type=Name(), help="Tokens with this claim `sub`.")
@click.option("--token-id", type=Name(), help="The token with this claim `jti`.")
@click.option("--organization", type=Name(), help="All streams of this organization.")
@click.option("--execution", type=ExecutionId(), help="All streams of this execution.")
@click.option(
    "--for",
    "seconds",
    metavar="SECONDS",
    type=click.IntRange(1, _MOST_SECONDS),
    help=f"How long; at least until the tokens expire. [default: {_DEFAULT_SECONDS}]",
)
@click.option("--undo", is_flag=True, help="Allow access again.")
@click.option("--list", "lists", is_flag=True, help="List what is revoked.")
@redis_option
def revoke(
    *, seconds: int | None, undo: bool, lists: bool, redis_url: str, **named: str | None
) -> None:
    """End the streams of a subject, a token, an organization or an execution, on all gateways.

    They end within two seconds, and no new ones open until the revocation ends. Revoking again
    sets a new end.
    """
    chosen = [(kind, value) for kind in KINDS if (value := named[kind.replace("-", "_")])]
    if lists:
        if chosen or undo or seconds:
            raise click.UsageError("--list takes no other option.")
        _print_table(with_redis(redis_url, revocations.read_revocations))
        return
    if len(chosen) != 1:
        raise click.UsageError(
            "Name exactly one of --subject, --token-id, --organization and --execution."
        )
    if undo and seconds:
        raise click.UsageError("--undo takes no --for: it takes effect at once.")
    [(kind, value)] = chosen
    if undo:
        _undo(redis_url, kind, value)
    else:
        _revoke(redis_url, kind, value, seconds or _DEFAULT_SECONDS)


def _revoke(redis_url: str, kind: Kind, value: str, seconds: int) -> None:
    end = with_redis(redis_url, lambda redis: revocations.revoke(redis, kind, value, seconds))
    echo(
        f"The {kind} {value} is revoked until {_format(end)}: its streams end within 2 seconds, "
        "and no new ones open."
    )


def _undo(redis_url: str, kind: Kind, value: str) -> None:
    if with_redis(redis_url, lambda redis: revocations.restore(redis, kind, value)):
        echo(f"The {kind} {value} is not revoked any more: its streams open again.")
    else:
        echo(f"The {kind} {value} was not revoked.")


def _print_table(found: InForce) -> None:
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
    # Folded, not cut: the beginning of an id may be another one's.
    table.add_column("Value", overflow="fold")
    for end, kind, value in rows:
        table.add_row(kind, _format(end), harmless(value))
    console().print(table)


def _format(timestamp: float) -> str:
    moment = datetime.fromtimestamp(timestamp, UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")
