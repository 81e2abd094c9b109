"""`sse-gateway restart` and `sse-gateway forget`: an execution begins again, or is deleted."""

import asyncio

import click

from gateway.bus import forget as forgetting
from gateway.cli.options import (
    ExecutionId,
    execution_argument,
    prefix_option,
    redis_option,
    with_redis,
)
from gateway.cli.output import echo
from gateway.publisher import Publisher


@click.command(epilog="Example: sse-gateway restart run-42 --keep")
@execution_argument
@click.option(
    "--keep", is_flag=True, help="Keep the former run as long as one that has ended, not an hour."
)
@redis_option
@prefix_option
def restart(execution_id: str, keep: bool, redis_url: str, channel_prefix: str) -> None:
    """Begin a new run of execution ID, and print the id of its first event.

    Streams show the new run, and events of the former run's publishers are refused.
    """

    async def send() -> str:
        async with Publisher(redis_url, channel_prefix=channel_prefix) as publisher:
            return await publisher.restart(execution_id, keep=keep)

    echo(f"{execution_id} begins again with {asyncio.run(send())}.")


@click.command(epilog="Example: sse-gateway forget run-42")
@click.argument("execution_id", metavar="[ID]", type=ExecutionId(), required=False)
@click.option("--organization", help="All executions that are registered for this organization.")
@redis_option
@prefix_option
def forget(
    execution_id: str | None, organization: str | None, redis_url: str, channel_prefix: str
) -> None:
    """Delete execution ID, or all of an organization: history, registration and all other keys.

    Their streams end. For a day, what is still published of them is refused.
    """
    if (execution_id is None) == (organization is None):
        raise click.UsageError("Give either ID or --organization.")
    if execution_id is not None:
        one = [execution_id]
        with_redis(redis_url, lambda redis: forgetting.forget(redis, channel_prefix, one))
        echo(f"{execution_id} is forgotten.")
    elif organization is not None:
        name = organization
        count = with_redis(
            redis_url, lambda redis: forgetting.forget_organization(redis, channel_prefix, name)
        )
        echo(f"{count} executions of {name} are forgotten.")
