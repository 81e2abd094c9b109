"""Makes the script call that records and publishes an event of a type and data.

Everything that can be wrong with an event is found here, before anything is sent.
"""

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import orjson

from gateway.contract.keys import channel
from gateway.contract.meta import kind_of
from gateway.contract.scripts import Call, HistoryLimits, publish_call
from gateway.errors import MessageRefused
from gateway.events.ending import TerminalTypes, with_status
from gateway.events.envelope import decode, execution_id_problem
from gateway.events.fields import moment_of, stamp
from gateway.events.json_edit import parse_object
from gateway.publisher.encoding import Default, Moment, encode, instant
from gateway.publisher.retry import EventRefused, EventTooLarge

MAX_KEY_LENGTH = 256
"""Most characters of an idempotency key: Redis keeps each for five minutes."""

_ID_BYTES = len(b'"id":"-",') + 2 * 20
"""Most bytes that the id adds: the gateway's limit counts them."""


class Outgoing(NamedTuple):
    """One event, ready to be sent; repeating the call does not double it."""

    idempotency_key: str
    call: Callable[..., Call]
    """Makes the call; *began*: see `publish_call`."""
    execution_id: str
    restarts: bool
    """It begins a new run."""
    ends: bool
    """It ends the run."""


@dataclass(frozen=True, slots=True)
class Composer:
    """What all events of one publisher have in common."""

    channel_prefix: str
    terminal_types: TerminalTypes
    limits: HistoryLimits
    event_max_bytes: int
    default: Default | None = None

    def compose(
        self,
        execution_id: str,
        event_type: str,
        data: object,
        *,
        timestamp: Moment | None = None,
        idempotency_key: str | None = None,
        restart_ttl_ms: int | None = None,
    ) -> Outgoing:
        """The event; without a *timestamp* it happens now. *restart_ttl_ms*: see `publish_call`.

        Raises:
            EventRefused: it is no valid event.
        """
        if (problem := execution_id_problem(execution_id)) is not None:
            raise EventRefused(problem)
        _check_type(event_type)
        key = uuid.uuid4().hex if idempotency_key is None else _checked_key(idempotency_key)
        payload = self._payload(event_type, data, stamp(instant(timestamp)))
        terminal_type = with_status(event_type, payload, self.terminal_types)
        call = partial(
            publish_call,
            execution_id,
            payload,
            channel=channel(self.channel_prefix, execution_id),
            idempotency_key=key,
            terminal_type=terminal_type,
            limits=self.limits,
            kind=kind_of(event_type),
            moment=moment_of(parse_object(payload), ends=terminal_type != ""),
            restart_ttl_ms=restart_ttl_ms,
        )
        restarts = restart_ttl_ms is not None
        return Outgoing(key, call, execution_id, restarts, terminal_type != "")

    def _payload(self, event_type: str, data: object, timestamp: str) -> bytes:
        encoded = encode(data, self.default)
        if not encoded.startswith(b"{"):
            raise EventRefused(
                f"The event's data is not a JSON object but {_short(data)}: give a dict."
            )
        fragment = orjson.Fragment(encoded)
        payload = orjson.dumps({"type": event_type, "data": fragment, "timestamp": timestamp})
        size = len(payload) + _ID_BYTES
        if size > self.event_max_bytes:
            raise EventTooLarge(
                f"The event {event_type!r} has {size} bytes, {self.event_max_bytes} are allowed: "
                "store its data elsewhere, and publish a link to it."
            )
        return payload


def _check_type(event_type: object) -> None:
    try:
        # The gateway's own check, so that it never drops what was published here.
        decode(orjson.dumps({"type": event_type}))
    except (MessageRefused, TypeError) as error:
        raise EventRefused(f"The event {_short(event_type)} is refused: {error}.") from None


def _checked_key(key: object) -> str:
    # Half a surrogate pair is not printable either, and cannot be sent to Redis.
    if not isinstance(key, str) or not 0 < len(key) <= MAX_KEY_LENGTH or not key.isprintable():
        raise EventRefused(
            f"{_short(key)} is not an idempotency key: give 1 to {MAX_KEY_LENGTH} printable "
            "characters."
        )
    return key


def _short(value: object) -> str:
    return repr(value)[:100]
