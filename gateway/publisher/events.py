"""A method for each event that the front-end document describes, the same for every publisher.

Each event has every field that the document shows for it. A time may be a datetime or ISO 8601
text (without a zone: UTC) and is now where none is given; durations are whole milliseconds and
computed where none is given. The methods differ between publishers only in what they return.
"""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, TypedDict, TypeVar, Unpack

from gateway.publisher.composer import Composer, Outgoing
from gateway.publisher.timestamps import Moment, instant, milliseconds, stamp

R = TypeVar("R")


class Sending(TypedDict, total=False):
    """What every event method takes besides the event's own fields."""

    timestamp: Moment | None
    """The envelope's time; now by default."""
    idempotency_key: str | None
    """Within five minutes, a second event with the key of a first is taken for the first."""


class EventMethods(ABC, Generic[R]):
    """Publishes events; what a method returns (R) is the publisher's to say."""

    def __init__(self, composer: Composer) -> None:
        self._composer = composer

    @abstractmethod
    def _deliver(self, event: Outgoing) -> R:
        """Send *event*, or see to it that it will be."""

    def publish(
        self,
        execution_id: str,
        type: str,
        data: Mapping[str, Any],
        *,
        timestamp: Moment | None = None,
        idempotency_key: str | None = None,
    ) -> R:
        """Publish an event of any type; see `Sending` for the last two.

        *data* is what JSON can hold; a datetime in it becomes UTC text, a UUID its text.

        Raises:
            EventRefused: it can be no event; nothing was sent.
            EventTooLarge: the same, because of its size.
            PublishFailed: Redis did not take it (a publisher).
            BufferFull: it was not taken (a buffer).
        """
        event = self._composer.compose(
            execution_id, type, data, timestamp=timestamp, idempotency_key=idempotency_key
        )
        return self._deliver(event)

    def check(
        self,
        execution_id: str,
        type: str,
        data: Mapping[str, Any],
        *,
        timestamp: Moment | None = None,
    ) -> None:
        """Raise EventRefused or EventTooLarge where `publish` would; nothing is sent."""
        self._composer.compose(execution_id, type, data, timestamp=timestamp, idempotency_key=None)

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
        """A step begins; *position* is its place in the workflow."""
        data = {
            "node_id": node_id,
            "node_type": node_type,
            "status": "running",
            "started_at": stamp(instant(started_at)),
            **_known(position=position),
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
        output: Mapping[str, Any] | None = None,
        **sending: Unpack[Sending],
    ) -> R:
        """A step has succeeded; *output* is what it made."""
        data = {
            "node_id": node_id,
            "node_type": node_type,
            "status": "success",
            **_span(started_at, completed_at, duration_ms),
            **_known(position=position),
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
        """A step has failed; people read *error*."""
        data = {
            "node_id": node_id,
            "node_type": node_type,
            "status": "error",
            **_span(started_at, completed_at, duration_ms),
            **_known(position=position),
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
        """The execution has failed, and nothing follows; people read *error_message*."""
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
        """Somebody has canceled the execution, and nothing follows."""
        data = {
            **_ended(execution_id, "canceled", started_at, completed_at, execution_time_ms),
            **_known(reason=reason),
        }
        return self.publish(execution_id, "execution:canceled", data, **sending)

    def execution_paused(
        self,
        execution_id: str,
        *,
        reason: str,
        waiting_for: Mapping[str, Any] | None = None,
        **sending: Unpack[Sending],
    ) -> R:
        """The execution waits; *reason* is a word like `approval`, *waiting_for* tells more."""
        data = {
            "execution_id": execution_id,
            "reason": reason,
            "waiting_for": waiting_for if waiting_for is not None else {},
        }
        return self.publish(execution_id, "execution:paused", data, **sending)


def _known(**fields: object) -> dict[str, object]:
    """Those of *fields* that were given: the document shows none of them as null."""
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
        **_known(execution_time_ms=execution_time_ms),
    }
