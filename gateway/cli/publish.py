"""`sse-gateway publish`: events, as a worker that uses `gateway.publisher` would publish them."""

import asyncio
from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, BinaryIO, NamedTuple

import click
import orjson
from redis.asyncio import Redis

from gateway.cli.options import (
    Name,
    execution_argument,
    prefix_option,
    publish_to_option,
    redis_option,
    with_redis,
)
from gateway.cli.output import echo
from gateway.contract.keys import PublishTo, meta_key
from gateway.publisher import EventRefused, Publisher
from gateway.publisher.encoding import instant
from gateway.tools.dev.simulation import ENDINGS, STARTABLE, Run, simulate


class Event(NamedTuple):
    """One event to publish; without a timestamp it gets the time of publishing."""

    type: Any
    data: Any
    timestamp: Any = None
    option: str = "TYPE"
    """The option that it comes from."""
    where: str = ""
    """Begins an error message about it."""


Due = tuple[Event | None, float]
"""An event, if one is due, and the seconds until the next one."""


@click.command(
    short_help="Publish an event in execution ID.",
    epilog="""\b
Example: sse-gateway publish run-42 step:started --data '{"node_type": "email"}'
Example: sse-gateway publish run-43 --file events.jsonl --pace 10
Example: sse-gateway publish run-44 --simulate failed --organization acme""",
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
    help="Publish a whole simulated run that ends like this.",
)
@click.option(
    "--pace",
    type=click.FloatRange(0, min_open=True),
    help="Speed: 2 is twice as fast. Of a simulated run (by default 1), or of a file by its "
    "timestamps (by default all at once).",
)
@click.option(
    "--organization", type=Name(), help="Register the execution for this organization first."
)
@redis_option
@prefix_option
@publish_to_option
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
    publish_to: PublishTo | None,
) -> None:
    """Publish an event of TYPE in execution ID, and print its id in history.

    With --file or --simulate, publish many. If a file has a mistake, nothing is published.
    """
    if [event_type, lines, ending].count(None) != 2:
        raise click.UsageError("Give one of TYPE, --file and --simulate.")
    if data is not None and event_type is None:
        raise click.UsageError("--data goes with TYPE.")
    known: list[Event] = []
    if lines is not None:
        known = _from_lines(lines)
    elif event_type is not None:
        known = [Event(event_type, _decode((data or "{}").encode(), "--data"))]
    events = schedule(known, pace)
    if ending is not None:
        events = _simulated(execution_id, ending, pace or 1.0)

    async def send() -> None:
        async with Publisher(
            redis_url, channel_prefix=channel_prefix, publish_to=publish_to
        ) as publisher:
            _check(publisher, execution_id, known)
            if organization is not None:
                await publisher.register(execution_id, organization)
            await _publish(publisher, execution_id, events)

    asyncio.run(send())
    if organization is None:
        _warn_if_unregistered(redis_url, execution_id)


def _warn_if_unregistered(redis_url: str, execution_id: str) -> None:
    async def owner(redis: Redis) -> bytes | str | None:
        # A user that may publish may HMGET; HGET is another right.
        [organization] = await redis.hmget(meta_key(execution_id), "organization_id")
        return organization

    if not with_redis(redis_url, owner):
        echo(
            f"{execution_id} is not registered, so under ownership `registry` nobody can watch it: "
            f"sse-gateway register {execution_id} --organization ORG",
            err=True,
        )


def _check(publisher: Publisher, execution_id: str, events: list[Event]) -> None:
    for event in events:
        try:
            publisher.check(execution_id, event.type, event.data, timestamp=event.timestamp)
        except EventRefused as refusal:
            message = f"{event.where}{refusal}"
            raise click.BadParameter(message, param_hint=event.option) from None


async def _publish(publisher: Publisher, execution_id: str, events: Iterator[Due]) -> None:
    for event, seconds in events:
        if event is not None:
            event_id = await publisher.publish(
                execution_id, event.type, event.data, timestamp=event.timestamp
            )
            echo(f"Published {event.type} in {execution_id} as {event_id}.")
        await asyncio.sleep(seconds)


def _from_lines(lines: Iterable[bytes]) -> list[Event]:
    """One event a line, as `tail --json` and the gateway write them; their ids are left out."""
    events = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"line {number}: "
            document = _decode(line, "--file", where)
            type_, data = document.get("type"), document.get("data", {})
            events.append(Event(type_, data, document.get("timestamp"), "--file", where))
    return events


def schedule(events: list[Event], pace: float | None) -> Iterator[Due]:
    """*events* with the time between their timestamps, *pace* times faster; None: at once."""
    # The last event has no successor to wait for.
    for event, after in pairwise([*events, *events[-1:]]):
        if pace is None or event.timestamp is None or after.timestamp is None:
            yield event, 0.0
        else:
            between = instant(after.timestamp) - instant(event.timestamp)
            yield event, max(0.0, between.total_seconds() / pace)


def _simulated(execution_id: str, ending: str, pace: float) -> Iterator[Due]:
    workflow = STARTABLE[ending]
    for payload, seconds in simulate(Run(execution_id, workflow.workflow_id), workflow, pace):
        yield Event(**orjson.loads(payload)) if payload else None, seconds


def _decode(text: bytes, option: str, where: str = "") -> Any:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        message = f"{where}it is not JSON: {error}"
        raise click.BadParameter(message, param_hint=option) from None
    if not isinstance(document, dict):
        raise click.BadParameter(f"{where}it is not a JSON object", param_hint=option)
    return document
