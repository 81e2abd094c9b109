"""The cursor of a stream of several executions: one text with the position in each.

`s1`, then 20 characters for each execution that has shown an event, in base64url: a digest of its
id (5 bytes), and the epoch (6) and the number (4) of its last event. So 50 executions take 1,002
characters, and one position can be exchanged without looking at the others.

A cursor comes back as untrusted input: what does not parse counts as no position.
"""

import base64
import hashlib
import re
from collections.abc import Iterable, Mapping

from gateway.events.ids import EventId

MOST_EXECUTIONS = 50
"""Of one set."""

_PREFIX = "s1"
_DIGEST, _EPOCH, _SEQ = 5, 6, 4
_CHARACTERS = (_DIGEST + _EPOCH + _SEQ) * 4 // 3
_FORM = re.compile(rf"{_PREFIX}(?:[A-Za-z0-9_-]{{{_CHARACTERS}}}){{1,{MOST_EXECUTIONS}}}")

NOWHERE = EventId(0, 0)
"""The position of an execution that a cursor cannot hold: no history has this id, so that all that
is kept follows, after a `stream:reset`."""


def digest_of(execution_id: str) -> bytes:
    """What stands for *execution_id* in a cursor."""
    return hashlib.blake2b(execution_id.encode(), digest_size=_DIGEST).digest()


def entry(digest: bytes, position: EventId) -> bytes:
    """The part of a cursor that says that a reader stands at *position*."""
    if position.epoch >> 8 * _EPOCH or position.seq >> 8 * _SEQ:
        # Of a history that no script of ours has written.
        position = NOWHERE
    epoch, seq = position.epoch.to_bytes(_EPOCH, "big"), position.seq.to_bytes(_SEQ, "big")
    return base64.urlsafe_b64encode(digest + epoch + seq)


def join(entries: Iterable[bytes]) -> bytes:
    """The cursor with these *entries*."""
    return _PREFIX.encode() + b"".join(entries)


class SetCursor:
    """A cursor that a reader has sent."""

    def __init__(self, positions: Mapping[bytes, EventId]) -> None:
        """*positions* by digest; see `parse`."""
        self._positions = positions

    @classmethod
    def parse(cls, text: object) -> "SetCursor | None":
        """*text* as a cursor; None if it has not the form of one."""
        if not isinstance(text, str) or not _FORM.fullmatch(text):
            return None
        found = {}
        raw = base64.urlsafe_b64decode(text[len(_PREFIX) :])
        for begin in range(0, len(raw), _DIGEST + _EPOCH + _SEQ):
            digest, rest = raw[begin : begin + _DIGEST], raw[begin + _DIGEST :]
            epoch, seq = rest[:_EPOCH], rest[_EPOCH : _EPOCH + _SEQ]
            found[digest] = EventId(int.from_bytes(epoch, "big"), int.from_bytes(seq, "big"))
        return cls(found)

    def __str__(self) -> str:
        """The same cursor, written from its numbers."""
        return join(entry(*one) for one in self._positions.items()).decode()

    def positions(self, execution_ids: Iterable[str]) -> dict[str, EventId]:
        """Where its reader stands, of these executions that it knows."""
        digests = {one: digest_of(one) for one in execution_ids}
        names = list(digests.values())
        return {
            one: self._positions[digest] if names.count(digest) == 1 else NOWHERE
            for one, digest in digests.items()
            if digest in self._positions
        }
