"""`sse-gateway register` and `sse-gateway status`: whose an execution is, and what Redis knows."""

import click
from redis.asyncio import Redis
from rich.table import Table

from gateway.bus import registry
from gateway.cli.options import execution_argument, redis_option, with_redis
from gateway.cli.output import console, echo
from gateway.contract.keys import meta_key
from gateway.harmless import harmless


@click.command(
    epilog="Example: sse-gateway register run-42 --organization acme --workflow invoices"
)
@execution_argument
@click.option("--organization", required=True, help="Who may watch it.")
@click.option("--workflow", help="The workflow that it is a run of.")
@redis_option
def register(execution_id: str, organization: str, workflow: str | None, redis_url: str) -> None:
    """Register execution ID, so that its organization may watch it."""
    with_redis(
        redis_url, lambda redis: registry.register(redis, execution_id, organization, workflow)
    )
    echo(f"{execution_id} belongs to {organization}: its streams open now.")


@click.command(epilog="Example: sse-gateway status run-42")
@execution_argument
@redis_option
def status(execution_id: str, redis_url: str) -> None:
    """Show what Redis knows of execution ID; exit status 1 when it is not registered."""
    known = with_redis(redis_url, lambda redis: _read(redis, execution_id))
    if "organization_id" not in known:
        echo(
            f"{execution_id} is not registered, so under ownership `registry` nobody can watch it: "
            f"sse-gateway register {execution_id} --organization ORG",
        )
        if "dropped" in known:
            echo(harmless(f"{known['dropped']} messages were dropped: {known['dropped_reason']}."))
        raise SystemExit(1)
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    # Folded, not cut: the beginning of a name may be another organization's.
    table.add_column(overflow="fold")
    for name, value in sorted(known.items()):
        table.add_row(harmless(name), harmless(value))
    console().print(table)


async def _read(redis: Redis, execution_id: str) -> dict[str, str]:
    fields = await redis.hgetall(meta_key(execution_id))
    return {_text(name): _text(value) for name, value in fields.items()}


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
