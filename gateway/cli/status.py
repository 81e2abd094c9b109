"""`sse-gateway status`: what Redis knows of an execution, for whoever wonders about a 404."""

import click
from redis.asyncio import Redis
from rich.table import Table

from gateway.cli.options import execution_argument, redis_option, with_redis
from gateway.cli.output import console, echo
from gateway.contract.keys import meta_key
from gateway.harmless import harmless


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
        raise SystemExit(1)
    table = Table(show_header=False, box=None)
    table.add_column(no_wrap=True)
    # Folded, not cut: half a name is another organization's.
    table.add_column(overflow="fold")
    for name, value in sorted(known.items()):
        table.add_row(harmless(name), harmless(value))
    console().print(table)


async def _read(redis: Redis, execution_id: str) -> dict[str, str]:
    fields = await redis.hgetall(meta_key(execution_id))
    return {_text(name): _text(value) for name, value in fields.items()}


def _text(value: bytes | str) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value
