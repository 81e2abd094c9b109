"""Ids of events: `<epoch>-<seq>`, the epoch of a history and the number in it.

Epochs are only compared for equality: one that began on a clock five minutes behind is not older
(DELIVERY.md, rule 3).
"""

from typing import NamedTuple

_LARGEST = 2**64 - 1
_LONGEST = 41
"""Characters: two numbers of 20 digits, and the hyphen."""


class EventId(NamedTuple):
    """An event's id; `str(id)` is what stands on the wire."""

    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    def next(self) -> "EventId":
        """The id that follows in the same epoch."""
        return EventId(self.epoch, self.seq + 1)

    def is_at_or_after(self, other: "EventId") -> bool:
        """Whether this is *other* or a later one of the same epoch."""
        return self.epoch == other.epoch and self.seq >= other.seq


NO_EVENT = EventId(0, 0)
"""An id that no history holds: they begin with 1."""


def parse_id(text: object) -> EventId | None:
    """*text* as an id, or None: some SDKs send `-1`, and producers have ids of their own."""
    if not isinstance(text, str) or not text.isascii() or len(text) > _LONGEST:
        return None
    # A regular expression takes three times as long, and every event has an id.
    epoch, _, seq = text.partition("-")
    if not (epoch.isdigit() and seq.isdigit()):
        return None
    parsed = EventId(int(epoch), int(seq))
    # Ids in Redis are two unsigned 64-bit numbers; a script fails on larger ones.
    return parsed if max(parsed) <= _LARGEST else None
