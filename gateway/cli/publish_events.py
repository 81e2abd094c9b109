"""Where `sse-gateway publish` takes its events from, and how long it waits between them.

It publishes nothing, and does not know whether an event will be taken.
"""

from collections.abc import Iterable, Iterator
from itertools import pairwise
from typing import Any, NamedTuple

import click
import orjson

from gateway.publisher.timestamps import instant
from gateway.tools.dev.script import STARTED
from gateway.tools.dev.simulation import Run, simulate


class Event(NamedTuple):
    """One event to be published; without a timestamp it happens then."""

    type: Any
    data: Any
    timestamp: Any = None
    option: str = "TYPE"
    """What it was given by."""
    where: str = ""
    """Begins a complaint about it."""


Due = tuple[Event | None, float]
"""An event, if one is due, and seconds until the next one."""


def from_option(event_type: str, data: str) -> Event:
    """The one event of the command line.

    Raises:
        BadParameter: *data* is no JSON.
    """
    return Event(event_type, _decoded(data.encode(), "--data", ""))


def from_lines(lines: Iterable[bytes]) -> list[Event]:
    """One event a line, as `tail --json` and the gateway itself write it; what else it has (its id)
    is left out, and so are empty lines.

    Raises:
        BadParameter: a line is no JSON object.
    """
    events = []
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"line {number}: "
            document = _decoded(line, "--file", where)
            type_, data = document.get("type"), document.get("data", {})
            events.append(Event(type_, data, document.get("timestamp"), "--file", where))
    return events


def at_once(events: Iterable[Event]) -> Iterator[Due]:
    """One after the other, without waiting."""
    return ((event, 0.0) for event in events)


def as_it_happened(events: list[Event], pace: float) -> Iterator[Due]:
    """With the time between their timestamps, so many times faster."""
    # Nothing follows the last one.
    for event, after in pairwise([*events, events[-1]] if events else []):
        if event.timestamp is None or after.timestamp is None:
            yield event, 0.0
        else:
            between = instant(after.timestamp) - instant(event.timestamp)
            yield event, max(0.0, between.total_seconds() / pace)


def simulated(execution_id: str, ending: str, pace: float) -> Iterator[Due]:
    """A made-up run, as `sse-gateway dev` plays them; needs a running loop."""
    workflow = STARTED[ending]
    for payload, seconds in simulate(Run(execution_id, workflow.workflow_id), workflow, pace):
        yield Event(**orjson.loads(payload)) if payload else None, seconds


def _decoded(text: bytes, option: str, where: str) -> Any:
    try:
        document = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        message = f"{where}it is not JSON: {error}"
        raise click.BadParameter(message, param_hint=option) from None
    if not isinstance(document, dict):
        raise click.BadParameter(f"{where}it is not a JSON object", param_hint=option)
    return document
