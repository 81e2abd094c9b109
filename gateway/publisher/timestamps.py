"""Times as events have them: UTC with `Z`, to the millisecond."""

from datetime import UTC, datetime, timedelta

from gateway.publisher.retry import EventRefused

Moment = datetime | str
"""A time from a producer: a datetime or ISO 8601 text. Without a zone it is UTC."""


def instant(moment: Moment | None) -> datetime:
    """*moment* with its zone; None is now.

    Raises:
        EventRefused: it is not a time.
    """
    if moment is None:
        return datetime.now(UTC)
    try:
        when = moment if isinstance(moment, datetime) else datetime.fromisoformat(moment)
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        raise EventRefused(
            f"{moment!r} is not a time: give a datetime, or text like 2025-01-31T12:00:00.000Z."
        ) from None


def milliseconds(begin: datetime, end: datetime) -> int:
    """Whole milliseconds between two instants; 0 where the clocks of two machines disagree."""
    return max(0, (end - begin) // timedelta(milliseconds=1))
