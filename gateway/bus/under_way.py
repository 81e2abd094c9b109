"""Commands that were sent to a cluster, until each is answered or has failed. No I/O."""

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from gateway.bus.node import Node
from gateway.bus.slots import Address, Command, new_keys


@dataclass(slots=True)
class UnderWay:
    """Commands, and what is known of each by its place in the list."""

    commands: Sequence[Command]
    deadline: float
    node: Node | None
    """Where commands without a key go."""
    follows: bool
    """ASK."""
    waits: bool
    """For what is refused with TRYAGAIN."""
    answers: list[Any] = field(init=False)
    asks: dict[int, Address] = field(default_factory=dict)
    """Where the next attempt goes, by ASK."""
    narrowed: dict[int, Command] = field(default_factory=dict)
    """What is sent in place of those that were refused, once: see `new_keys`."""
    lost: Counter[int] = field(default_factory=Counter)
    """How often it may have been run without an answer."""

    def __post_init__(self) -> None:
        self.answers = [None] * len(self.commands)

    def with_waits(self, indices: Iterable[int]) -> list[int]:
        """And the WAIT that follows one of these: it is about what its connection has written."""
        found = set(indices)
        return sorted(found | {one + 1 for one in found if self._is_wait(one + 1)})

    def command(self, index: int) -> Command:
        """What is sent now."""
        return self.narrowed.get(index, self.commands[index])

    def refused(self, index: int) -> bool:
        """TRYAGAIN; whether it has to wait before it is sent again."""
        was_narrowed = self.narrowed.pop(index, None) is not None
        if was_narrowed or (other := new_keys(self.commands[index])) is None:
            return True
        self.narrowed[index] = other
        return False

    def _is_wait(self, index: int) -> bool:
        return index < len(self.commands) and self.commands[index][0] == "WAIT"
