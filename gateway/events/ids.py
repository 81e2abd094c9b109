"""Ids of events, and which one follows which.

An id is `<epoch>-<seq>`: the life of a history and the place in it. Epochs are only ever compared
for equality: a life that began on a clock five minutes behind is not older (DELIVERY.md, rule 3).
"""

from typing import NamedTuple

_LARGEST = 2**64 - 1
_LONGEST = 41
"""Characters of an id whose numbers have 20 digits each."""


class EventId(NamedTuple):
    """An event's id; `str(id)` is what stands on the wire."""

    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    def next(self) -> "EventId":
        """The id that follows in the same life."""
        return EventId(self.epoch, self.seq + 1)

    def is_at_or_after(self, other: "EventId") -> bool:
        """Whether this is *other* or a later one of the same life."""
        return self.epoch == other.epoch and self.seq >= other.seq


def parse_id(text: object) -> EventId | None:
    """The id that *text* is, or None: some SDKs send `-1`, and producers put their own there."""
    if not isinstance(text, str) or not text.isascii() or len(text) > _LONGEST:
        return None
    # Not a regular expression, which takes three times as long: every event comes by here.
    epoch, _, seq = text.partition("-")
    if not (epoch.isdigit() and seq.isdigit()):
        return None
    parsed = EventId(int(epoch), int(seq))
    # Redis ids are two unsigned 64-bit numbers; a script would fail on more.
    return parsed if max(parsed) <= _LARGEST else None
