"""Makes an event that can be sent from a type and data.

Everything that can be wrong with an event is found here, before anything is sent.
"""

import uuid
from dataclasses import dataclass
from typing import NamedTuple

import orjson

try:
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
except ImportError:
    _PROPAGATOR = None
else:
    _PROPAGATOR = TraceContextTextMapPropagator()

from gateway.errors import MessageRefused
from gateway.events.ending import TerminalTypes, with_status
from gateway.events.envelope import decode, execution_id_problem
from gateway.events.fields import stamp
from gateway.publisher.encoding import Default, Moment, encode, instant
from gateway.publisher.retry import EventRefused, EventTooLarge

MAX_KEY_LENGTH = 256
"""Most characters of an idempotency key: Redis keeps each for five minutes."""

_ID_BYTES = len(b'"id":"-",') + 2 * 20
"""Most bytes that the id adds: the gateway's limit counts them."""


class Outgoing(NamedTuple):
    """One event, ready to be sent; sending it again does not double it."""

    execution_id: str
    event_type: str
    payload: bytes
    """A JSON object without `id`, in one line."""
    terminal_type: str
    """`<type>=<status>` if it ends the run, else empty."""
    idempotency_key: str
    has_given_key: bool = False
    """The caller has chosen the key, so the event is sent in a call of its own."""
    restarts: bool = False
    """It begins a new run."""
    keeps: bool = False
    """The history of the former run is kept as long as that of any ended run."""


@dataclass(frozen=True, slots=True)
class Composer:
    """What all events of one publisher have in common."""

    terminal_types: TerminalTypes
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
        restarts: bool = False,
        keeps: bool = False,
    ) -> Outgoing:
        """The event; without a *timestamp* it happens now.

        Raises:
            EventRefused: it is no valid event.
        """
        if (problem := execution_id_problem(execution_id)) is not None:
            raise EventRefused(problem)
        _check_type(event_type)
        key = uuid.uuid4().hex if idempotency_key is None else _checked_key(idempotency_key)
        payload = self._payload(event_type, data, stamp(instant(timestamp)))
        return Outgoing(
            execution_id,
            event_type,
            payload,
            with_status(event_type, payload, self.terminal_types),
            key,
            idempotency_key is not None,
            restarts,
            keeps,
        )

    def _payload(self, event_type: str, data: object, timestamp: str) -> bytes:
        encoded = encode(data, self.default)
        if not encoded.startswith(b"{"):
            raise EventRefused(
                f"The event's data is not a JSON object but {_short(data)}: give a dict."
            )
        fragment = orjson.Fragment(encoded)
        event = {"type": event_type, "data": fragment, "timestamp": timestamp, **_trace()}
        payload = orjson.dumps(event)
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


def _trace() -> dict[str, str]:
    """`traceparent` of the span in which this is called, if there is one."""
    carrier: dict[str, str] = {}
    if _PROPAGATOR is not None:
        _PROPAGATOR.inject(carrier)
        # That is for vendors alone, and browsers read events.
        carrier.pop("tracestate", None)
    return carrier


def _short(value: object) -> str:
    return repr(value)[:100]
