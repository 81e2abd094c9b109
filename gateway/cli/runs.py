"""`sse-gateway restart`: an execution begins again."""

import asyncio

import click

from gateway.cli.options import execution_argument, prefix_option, redis_option
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
