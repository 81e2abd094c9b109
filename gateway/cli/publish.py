"""`sse-gateway publish`: one event, as a worker that uses `gateway.publisher` would publish it."""

import asyncio

import click
import orjson

from gateway.cli.options import execution_argument, prefix_option, redis_option
from gateway.publisher import EventRefused, Publisher


@click.command(
    epilog="""Example: sse-gateway publish run-42 step:started --data '{"node_type": "email"}'"""
)
@execution_argument
@click.argument("event_type", metavar="TYPE")
@click.option("--data", default="{}", show_default=True, help="The event's data, a JSON object.")
@redis_option
@prefix_option
def publish(
    execution_id: str, event_type: str, data: str, redis_url: str, channel_prefix: str
) -> None:
    """Publish an event of TYPE in execution ID, and print the id that history keeps it under."""
    document = _object(data)

    async def send() -> str:
        async with Publisher(redis_url, channel_prefix=channel_prefix) as publisher:
            return await publisher.publish(execution_id, event_type, document)

    try:
        event_id = asyncio.run(send())
    except EventRefused as refusal:
        raise click.BadParameter(str(refusal), param_hint="TYPE") from None
    click.echo(f"Published {event_type} in {execution_id} as {event_id}.")


def _object(data: str) -> dict[str, object]:
    try:
        document = orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise click.BadParameter(f"it is not JSON: {error}", param_hint="--data") from None
    if not isinstance(document, dict):
        raise click.BadParameter("it is not a JSON object", param_hint="--data")
    return document
