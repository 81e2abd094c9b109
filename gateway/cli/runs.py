"""`sse-gateway restart` and `sse-gateway forget`: restart an execution, or delete it."""

import asyncio

import click

from gateway.bus import forget as forgetting
from gateway.cli.options import (
    ExecutionId,
    Name,
    execution_argument,
    prefix_option,
    publish_to_option,
    redis_option,
    with_redis,
)
from gateway.cli.output import echo
from gateway.contract.keys import PublishTo
from gateway.publisher import Publisher


@click.command(
    short_help="Begin a new run of execution ID.",
    epilog="Example: sse-gateway restart run-42 --keep",
)
@execution_argument
@click.option(
    "--keep", is_flag=True, help="Keep the former run as long as any ended run, not for an hour."
)
@redis_option
@prefix_option
@publish_to_option
def restart(
    execution_id: str,
    keep: bool,
    redis_url: str,
    channel_prefix: str,
    publish_to: PublishTo | None,
) -> None:
    """Begin a new run of execution ID, and print the id of its first event.

    Streams show the new run. A publisher of the former run gets an error.
    """

    async def send() -> str:
        async with Publisher(
            redis_url, channel_prefix=channel_prefix, publish_to=publish_to
        ) as publisher:
            return await publisher.restart(execution_id, keep=keep)

    echo(f"{execution_id} begins again with {asyncio.run(send())}.")


@click.command(
    short_help="Delete execution ID, or all of an organization.",
    epilog="Example: sse-gateway forget run-42",
)
@click.argument("execution_id", metavar="[ID]", type=ExecutionId(), required=False)
@click.option(
    "--organization",
    type=Name(),
    help="All executions that are registered for this organization.",
)
@redis_option
@prefix_option
def forget(
    execution_id: str | None, organization: str | None, redis_url: str, channel_prefix: str
) -> None:
    """Delete execution ID, or all of an organization: history, registration and all other keys.

    Their streams end. For one day, events that are still published for them are refused.
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
        echo(f"Executions of {name} forgotten: {count}.")
