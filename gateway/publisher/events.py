"""A method for each event of the contract, the same for every publisher.

A time may be a datetime or ISO 8601 text (without a zone: UTC), by default now; durations are whole
milliseconds, by default computed. The methods of publishers differ only in what they return.
"""

from abc import ABC, abstractmethod
from typing import Generic, TypedDict, TypeVar, Unpack

from gateway.events.fields import stamp
from gateway.publisher.composer import Composer, Outgoing
from gateway.publisher.encoding import JsonObject, Moment, instant, milliseconds

R = TypeVar("R")


class Sending(TypedDict, total=False):
    """Options of every event method."""

    timestamp: Moment | None
    """The envelope's time; now by default."""
    idempotency_key: str | None
    """A second event with the same key within five minutes is not published again."""


class EventMethods(ABC, Generic[R]):
    """Publishes events; R is what a method of this publisher returns."""

    def __init__(self, composer: Composer) -> None:
        self._composer = composer

    @abstractmethod
    def _deliver(self, event: Outgoing) -> R:
        """Send *event*, or buffer it."""

    def publish(
        self,
        execution_id: str,
        type: str,
        data: JsonObject,
        **sending: Unpack[Sending],
    ) -> R:
        """Publish an event of any type.

        *data* is a dict, dataclass or pydantic model. It may hold all that `json.dumps` takes,
        and these: dates, times and UUIDs as text (a datetime in UTC), Decimal as text, an Enum as
        its value, bytes as Base64, dataclasses and pydantic models as objects, NaN as null. Pass
        `default` to the publisher for other types.

        Raises:
            EventRefused: it is no valid event; nothing was sent.
            EventTooLarge: it has too many bytes; nothing was sent.
            PublishFailed: Redis, or the gateway, did not accept it (a publisher).
            RunRestarted: it is of a run that was restarted since (a publisher).
            BufferFull: the buffer did not accept it (a buffer).
        """
        return self._deliver(self._composer.compose(execution_id, type, data, **sending))

    def restart(
        self,
        execution_id: str,
        type: str = "execution:restarted",
        data: JsonObject | None = None,
        *,
        keep: bool = False,
        **sending: Unpack[Sending],
    ) -> R:
        """Begin a new run under the same id, with this event as its first one.

        Streams show the new run after a `stream:reset`; events of the former one raise
        `RunRestarted` in every publisher that has published in it. Its history is kept for an
        hour; with *keep* for as long as the history of an ended run. Raises what `publish` does.
        """
        event = self._composer.compose(
            execution_id,
            type,
            data if data is not None else {},
            restarts=True,
            keeps=keep,
            **sending,
        )
        return self._deliver(event)

    def check(
        self,
        execution_id: str,
        type: str,
        data: JsonObject,
        *,
        timestamp: Moment | None = None,
    ) -> None:
        """Raise EventRefused or EventTooLarge where `publish` would; nothing is sent."""
        self._composer.compose(execution_id, type, data, timestamp=timestamp)

    def step_started(
        self,
        execution_id: str,
        *,
        node_id: str,
        node_type: str,
        position: int | None = None,
        started_at: Moment | None = None,
        **sending: Unpack[Sending],
    ) -> R:
        """A step starts; *position* is its number in the workflow."""
        data = {
            "node_id": node_id,
            "node_type": node_type,
            "status": "running",
            "started_at": stamp(instant(started_at)),
            **_given(position=position),
        }
        return self.publish(execution_id, "step:started", data, **sending)

    def step_completed(
        self,
        execution_id: str,
        *,
        node_id: str,
        node_type: str,
        started_at: Moment,
        completed_at: Moment | None = None,
        duration_ms: int | None = None,
        position: int | None = None,
        output: JsonObject | None = None,
        **sending: Unpack[Sending],
    ) -> R:
        """A step has succeeded; *output* is its result."""
        data = {
            "node_id": node_id,
            "node_type": node_type,
            "status": "success",
            **_span(started_at, completed_at, duration_ms),
            **_given(position=position),
            "output": output if output is not None else {},
        }
        return self.publish(execution_id, "step:completed", data, **sending)

    def step_failed(
        self,
        execution_id: str,
        *,
        node_id: str,
        node_type: str,
        started_at: Moment,
        error: str,
        completed_at: Moment | None = None,
        duration_ms: int | None = None,
        position: int | None = None,
        **sending: Unpack[Sending],
    ) -> R:
        """A step has failed; *error* is shown to people."""
        data = {
            "node_id": node_id,
            "node_type": node_type,
            "status": "error",
            **_span(started_at, completed_at, duration_ms),
            **_given(position=position),
            "error": error,
        }
        return self.publish(execution_id, "step:failed", data, **sending)

    def execution_completed(
        self,
        execution_id: str,
        *,
        started_at: Moment | None = None,
        completed_at: Moment | None = None,
        execution_time_ms: int | None = None,
        generated_document_id: str | None = None,
        **sending: Unpack[Sending],
    ) -> R:
        """The execution has succeeded, and nothing follows.

        `execution_time_ms` is computed from *started_at*, and null when neither is given.
        """
        data = {
            "execution_time_ms": None,
            **_ended(execution_id, "completed", started_at, completed_at, execution_time_ms),
            "generated_document_id": generated_document_id,
        }
        return self.publish(execution_id, "execution:completed", data, **sending)

    def execution_failed(
        self,
        execution_id: str,
        *,
        error_message: str,
        started_at: Moment | None = None,
        completed_at: Moment | None = None,
        execution_time_ms: int | None = None,
        **sending: Unpack[Sending],
    ) -> R:
        """The execution has failed, and nothing follows; *error_message* is shown to people."""
        data = {
            **_ended(execution_id, "failed", started_at, completed_at, execution_time_ms),
            "error_message": error_message,
        }
        return self.publish(execution_id, "execution:failed", data, **sending)

    def execution_canceled(
        self,
        execution_id: str,
        *,
        reason: str | None = None,
        started_at: Moment | None = None,
        completed_at: Moment | None = None,
        execution_time_ms: int | None = None,
        **sending: Unpack[Sending],
    ) -> R:
        """The execution was canceled, and nothing follows."""
        data = {
            **_ended(execution_id, "canceled", started_at, completed_at, execution_time_ms),
            **_given(reason=reason),
        }
        return self.publish(execution_id, "execution:canceled", data, **sending)

    def execution_paused(
        self,
        execution_id: str,
        *,
        reason: str,
        waiting_for: JsonObject | None = None,
        **sending: Unpack[Sending],
    ) -> R:
        """The execution waits; *reason* is a word like `approval`, *waiting_for* has details."""
        data = {
            "execution_id": execution_id,
            "reason": reason,
            "waiting_for": waiting_for if waiting_for is not None else {},
        }
        return self.publish(execution_id, "execution:paused", data, **sending)


def _given(**fields: object) -> dict[str, object]:
    """The *fields* that were given: these are left out rather than null."""
    return {name: value for name, value in fields.items() if value is not None}


def _span(
    started_at: Moment, completed_at: Moment | None, duration_ms: int | None
) -> dict[str, object]:
    begin, end = instant(started_at), instant(completed_at)
    return {
        "started_at": stamp(begin),
        "completed_at": stamp(end),
        "duration_ms": milliseconds(begin, end) if duration_ms is None else duration_ms,
    }


def _ended(
    execution_id: str,
    status: str,
    started_at: Moment | None,
    completed_at: Moment | None,
    execution_time_ms: int | None,
) -> dict[str, object]:
    end = instant(completed_at)
    if execution_time_ms is None and started_at is not None:
        execution_time_ms = milliseconds(instant(started_at), end)
    return {
        "execution_id": execution_id,
        "status": status,
        "completed_at": stamp(end),
        **_given(execution_time_ms=execution_time_ms),
    }
