"""A cache with a limit in bytes, which drops the least recently used entry first."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class LruCache(Generic[V]):
    """Values by the digest of what was asked."""

    def __init__(self, max_bytes: int, size_of: Callable[[V], int]) -> None:
        """*size_of*: the bytes that one entry takes, with its digest."""
        self._max_bytes = max_bytes
        self._size_of = size_of
        self._entries: OrderedDict[bytes, V] = OrderedDict()
        self.bytes = 0
        """What all entries take."""

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, digest: bytes) -> V | None:
        """The value, which counts as used."""
        value = self._entries.get(digest)
        if value is not None:
            self._entries.move_to_end(digest)
        return value

    def put(self, digest: bytes, value: V) -> None:
        """Store *value*, in place of an earlier one."""
        if (former := self._entries.pop(digest, None)) is not None:
            self.bytes -= self._size_of(former)
        self._entries[digest] = value
        self.bytes += self._size_of(value)
        while self.bytes > self._max_bytes:
            _, oldest = self._entries.popitem(last=False)
            self.bytes -= self._size_of(oldest)

    def clear(self) -> None:
        """Drop all entries."""
        self._entries.clear()
        self.bytes = 0
