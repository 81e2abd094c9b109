"""`sse-gateway publish`: events, as a worker that uses `gateway.publisher` would publish them."""

import asyncio
from collections.abc import Iterator
from typing import BinaryIO

import click

from gateway.cli.options import execution_argument, prefix_option, redis_option
from gateway.cli.output import echo
from gateway.cli.publish_events import (
    Due,
    Event,
    as_it_happened,
    at_once,
    from_lines,
    from_option,
    simulated,
)
from gateway.publisher import EventRefused, Publisher
from gateway.tools.dev.script import ENDINGS


@click.command(
    epilog="""\b
Example: sse-gateway publish run-42 step:started --data '{"node_type": "email"}'
Example: sse-gateway publish run-43 --file events.jsonl --pace 10
Example: sse-gateway publish run-44 --simulate failed --organization acme"""
)
@execution_argument
@click.argument("event_type", metavar="[TYPE]", required=False)
@click.option("--data", help="The event's data, a JSON object.  [default: {}]")
@click.option(
    "--file",
    "lines",
    type=click.File("rb"),
    help="Publish the events of a file: on each line a JSON object with type, data and timestamp, "
    "as `tail --json` prints them. `-` reads what is piped in.",
)
@click.option(
    "--simulate",
    "ending",
    type=click.Choice(ENDINGS),
    help="Publish a whole made-up run that ends so.",
)
@click.option(
    "--pace",
    type=click.FloatRange(0, min_open=True),
    help="How many times faster than life a made-up run goes (by default 1), or a file by its "
    "timestamps (by default all at once).",
)
@click.option("--organization", help="Register the execution for this organization first.")
@redis_option
@prefix_option
def publish(
    execution_id: str,
    event_type: str | None,
    data: str | None,
    lines: BinaryIO | None,
    ending: str | None,
    pace: float | None,
    organization: str | None,
    redis_url: str,
    channel_prefix: str,
) -> None:
    """Publish an event of TYPE in execution ID, and print the id that history keeps it under.

    With --file or --simulate, publish many. Of a file with a mistake nothing is published.
    """
    if [event_type, lines, ending].count(None) != 2:
        raise click.UsageError("Give one of TYPE, --file and --simulate.")
    if data is not None and event_type is None:
        raise click.UsageError("--data goes with TYPE.")
    known: list[Event] = []
    if lines is not None:
        known = from_lines(lines)
    elif event_type is not None:
        known = [from_option(event_type, data or "{}")]
    events = as_it_happened(known, pace) if pace is not None else at_once(known)
    if ending is not None:
        events = simulated(execution_id, ending, pace or 1.0)

    async def send() -> None:
        async with Publisher(redis_url, channel_prefix=channel_prefix) as publisher:
            _check(publisher, execution_id, known)
            if organization is not None:
                await publisher.register(execution_id, organization)
            await _play(publisher, execution_id, events)

    asyncio.run(send())


def _check(publisher: Publisher, execution_id: str, events: list[Event]) -> None:
    for event in events:
        try:
            publisher.check(execution_id, event.type, event.data, timestamp=event.timestamp)
        except EventRefused as refusal:
            message = f"{event.where}{refusal}"
            raise click.BadParameter(message, param_hint=event.option) from None


async def _play(publisher: Publisher, execution_id: str, events: Iterator[Due]) -> None:
    for event, seconds in events:
        if event is not None:
            event_id = await publisher.publish(
                execution_id, event.type, event.data, timestamp=event.timestamp
            )
            echo(f"Published {event.type} in {execution_id} as {event_id}.")
        await asyncio.sleep(seconds)
