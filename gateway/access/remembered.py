"""What was found out, by a digest of what was asked, in a bounded number of bytes."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class Remembered(Generic[V]):
    """Forgets first what was not used for longest."""

    def __init__(self, max_bytes: int, cost: Callable[[V], int]) -> None:
        """*cost*: how many bytes one entry takes, with its digest."""
        self._max_bytes = max_bytes
        self._cost = cost
        self._entries: OrderedDict[bytes, V] = OrderedDict()
        self.bytes = 0
        """What all entries take."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, digest: bytes) -> V | None:
        """The value; it counts as used."""
        value = self._entries.get(digest)
        if value is not None:
            self._entries.move_to_end(digest)
        return value

    def put(self, digest: bytes, value: V) -> None:
        """Remember *value*, in the place of what was remembered for *digest*."""
        if (former := self._entries.pop(digest, None)) is not None:
            self.bytes -= self._cost(former)
        self._entries[digest] = value
        self.bytes += self._cost(value)
        while self.bytes > self._max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self.bytes -= self._cost(oldest)

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
        self.bytes = 0
