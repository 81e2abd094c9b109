"""`sse-gateway register`: say whose execution it is, as whoever starts executions must."""

import click

from gateway.bus import registry
from gateway.cli.options import execution_argument, redis_option, with_redis
from gateway.cli.output import echo


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
