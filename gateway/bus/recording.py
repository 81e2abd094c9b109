"""Bare messages of one execution, recorded by one call, and the ids that they were given."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from gateway.bus.inbox import SubscriptionSession
from gateway.contract.keys import LiveCommand
from gateway.contract.meta import kind_of
from gateway.contract.scripts import BareMessage, Call, HistoryLimits, record_call
from gateway.events.ending import TerminalTypes, with_status
from gateway.events.envelope import Envelope, untimed
from gateway.events.fields import times_of
from gateway.events.ids import NO_EVENT, EventId, parse_id
from gateway.events.json_edit import parse_object


class Given(NamedTuple):
    """What a bare message was given when it was recorded."""

    id: EventId
    timestamp: bytes = b""
    """Empty where it has one of its own."""


FORGOTTEN = Given(NO_EVENT)
"""Given to a message that was recorded so long ago that nobody remembers its id."""


@dataclass(frozen=True, slots=True)
class RecordingRules:
    """How the bare messages of one gateway are recorded."""

    limits: HistoryLimits
    terminal_types: TerminalTypes
    unregistered_ttl_ms: int = 0
    """See `record_call`."""
    restart_types: Collection[str] = ()
    """These restart their run."""
    live: LiveCommand = ""
    """The command that publishes what was recorded on the execution's own channel."""
    in_cluster: bool = False

    def message(self, envelope: Envelope) -> BareMessage:
        """What a call has of one message."""
        body = envelope.body
        times = envelope.times or times_of(parse_object(body))
        # Looking for the member in the text costs ten times as much, and most messages have one.
        without_time = untimed(body) if times.timestamp is None else None
        terminal_type = with_status(envelope.type, body, self.terminal_types)
        return BareMessage(
            body if without_time is None else without_time,
            envelope.digest,
            terminal_type,
            kind_of(envelope.type),
            times.moment(ends=terminal_type != ""),
            int(without_time is not None),
            envelope.type in self.restart_types,
        )


@dataclass(slots=True)
class Recording:
    """Messages of one execution that are recorded in one call."""

    execution_id: str
    envelopes: Sequence[Envelope]
    session: SubscriptionSession
    number: int
    """Of its call, which may be repeated."""
    given: list[Given | None] | None = None
    """To each message, once that is settled; None where recording was refused."""
    _call: Call | None = field(default=None, init=False)
    _since: int = field(default=0, init=False)
    """What the call says of the session."""

    def call(self, rules: RecordingRules) -> Call:
        """The call, which is the same each time unless the execution's node is another one."""
        # That has another clock.
        since = self.session.since.of(self.execution_id)
        if self._call is None or self._since != since:
            self._since = since
            self._call = record_call(
                self.execution_id,
                [rules.message(envelope) for envelope in self.envelopes],
                instance=self.session.name,
                since=since,
                batch=self.number,
                limits=rules.limits,
                unregistered_ttl_ms=rules.unregistered_ttl_ms,
                live=rules.live,
                in_cluster=rules.in_cluster,
            )
        return self._call


def given_of(answer: Any) -> Given | None:
    """What an *answer* gives to one recorded message; None where it makes no sense."""
    if answer == b"":
        return FORGOTTEN
    if not isinstance(answer, bytes):
        return None
    text, _, timestamp = answer.partition(b" ")
    event_id = parse_id(text.decode(errors="replace"))
    return Given(event_id, timestamp) if event_id is not None else None
