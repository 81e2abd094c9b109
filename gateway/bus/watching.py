"""How many streams each execution has at all gateways.

Each gateway keeps the counts of its own streams in a hash of its own, and writes once a second what
has changed. It reads those of the others for executions that an open list shows. A count may be a
few seconds old, and nothing is refused because of it.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import partial
from typing import Any, ClassVar

from gateway.bus.questions import Question
from gateway.fanout.hub import Hub

_AT_ONCE = 500
"""Executions in one command: Redis and the gateway do nothing else meanwhile."""

_MOST = 10_000
"""Counts of another gateway that are kept: some are of executions that no list shows any more."""

_TTL_MS = 30_000
"""For how long the counts of a gateway that was killed are kept."""

_RENEWED = 5
"""Rounds between two renewals."""


def watching_key(gateway: str) -> str:
    """The hash of one gateway: how many streams each execution has there."""
    # `!` is in no execution id, so no key of an execution can be this.
    return f"sse:{{!watching}}:{gateway}"


class Watching:
    """The counts of this gateway and, of what lists show here, those of the others."""

    rounds: ClassVar = 1
    """The shared pipelines, one a second, from one look to the next."""

    def __init__(
        self,
        name: str,
        hub: Hub,
        others: Callable[[], Iterable[str]],
        shown: Callable[[], Iterable[str]],
    ) -> None:
        """*name*: of this gateway, as *others* are named that run. *shown*: the executions that
        open lists show."""
        self._key = watching_key(name)
        self._hub = hub
        self._others = others
        self._shown = shown
        self._changed: set[str] = set()
        """Since they were last written."""
        self._is_lost = False
        """What Redis has of this gateway is not known: all is written again."""
        self._elsewhere: dict[str, dict[str, int]] = {}
        """By gateway."""
        self._round = 0
        hub.on_watching = self._note

    def total(self, execution_id: str) -> int:
        """How many streams of the execution are open, here and elsewhere."""
        elsewhere = sum(counts.get(execution_id, 0) for counts in self._elsewhere.values())
        return self._hub.watching(execution_id) + elsewhere

    def questions(self) -> Sequence[Question]:
        """What has changed since the last round, and what the others have."""
        self._round += 1
        return [*self._write(), *self._read()]

    def _note(self, execution_id: str) -> None:
        self._changed.add(execution_id)

    def _write(self) -> Iterator[Question]:
        if self._is_lost:
            self._is_lost = False
            self._changed = {one for one in self._hub.executions if self._hub.watching(one)}
            yield Question(("PEXPIRE", self._key, 0), lambda _: None)
        elif self._changed or (len(self._hub) and self._round % _RENEWED == 0):
            yield Question(("PEXPIRE", self._key, _TTL_MS), self._renewed)
        changed, self._changed = list(self._changed), set()
        for at in range(0, len(changed), _AT_ONCE):
            yield from self._write_some(changed[at : at + _AT_ONCE])

    def _write_some(self, execution_ids: Sequence[str]) -> Iterator[Question]:
        counts = {one: self._hub.watching(one) for one in execution_ids}
        words = [word for pair in counts.items() if pair[1] for word in pair]
        gone = [one for one, count in counts.items() if not count]
        if words:
            yield Question(("HSET", self._key, *words), self._wrote)
            yield Question(("PEXPIRE", self._key, _TTL_MS), lambda _: None)
        if gone:
            yield Question(("HDEL", self._key, *gone), self._wrote)

    def _wrote(self, answer: object) -> None:
        # Health says what is wrong with Redis.
        self._is_lost |= isinstance(answer, Exception)

    def _renewed(self, answer: object) -> None:
        # 0: it was never written, has expired, or Redis has lost it.
        self._is_lost |= answer == 0

    def _read(self) -> Iterator[Question]:
        shown = list(self._shown())
        names = set(self._others()) if shown else set()
        for gone in self._elsewhere.keys() - names:
            del self._elsewhere[gone]
        parts = [shown[at : at + _AT_ONCE] for at in range(0, len(shown), _AT_ONCE)]
        for name in names:
            some = parts[self._round % len(parts)]
            command = ("HMGET", watching_key(name), *some)
            yield Question(command, partial(self._counted, name, some))

    def _counted(self, name: str, shown: Sequence[str], answer: Any) -> None:
        if not isinstance(answer, list):
            # Of a gateway of which nothing is known, nothing is counted.
            self._elsewhere.pop(name, None)
            return
        known = self._elsewhere.setdefault(name, {})
        for one, count in zip(shown, answer, strict=True):
            known.pop(one, None)
            if count is not None and count.isdigit():
                known[one] = int(count)
        while len(known) > _MOST:
            del known[next(iter(known))]
