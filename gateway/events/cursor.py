"""Ids of events, and which one follows which.

An id is `<epoch>-<seq>`: the life of a history and the place in it. Epochs are only ever compared
for equality: a life that began on a clock five minutes behind is not older (delivery rules, 1).
"""

import re
from typing import NamedTuple

_FORM = re.compile(r"(\d{1,20})-(\d{1,20})")
_LARGEST = 2**64 - 1


class Id(NamedTuple):
    """An event's id; `str(id)` is what stands on the wire."""

    epoch: int
    seq: int

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"

    def next(self) -> "Id":
        """The id that follows in the same life."""
        return Id(self.epoch, self.seq + 1)

    def reaches(self, other: "Id") -> bool:
        """Whether this is *other* or a later one of the same life."""
        return self.epoch == other.epoch and self.seq >= other.seq


def parse_id(text: object) -> Id | None:
    """The id that *text* is, or None: some SDKs send `-1`, and producers put their own there."""
    if not isinstance(text, str) or (match := _FORM.fullmatch(text)) is None:
        return None
    epoch, seq = int(match[1]), int(match[2])
    # Redis ids are two unsigned 64-bit numbers; a script would fail on more.
    return Id(epoch, seq) if max(epoch, seq) <= _LARGEST else None
