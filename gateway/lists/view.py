"""What one reader of a list asks for and may see. Pure."""

from collections.abc import Collection, Hashable, Sequence
from typing import NamedTuple, Protocol

from gateway.contract.index import Entry


class Viewer(Protocol):
    """Who looks at a list."""

    @property
    def is_asked(self) -> bool:
        """Whether somebody else is asked what it may see."""

    @property
    def sees_any(self) -> bool:
        """Whether it was said to see any execution of the organization."""

    @property
    def key(self) -> Hashable:
        """Viewers with equal keys see the same."""

    def may_see(self, execution_id: str) -> bool | None:
        """Whether it may be shown to the viewer; None where that must be asked."""

    async def ask(self, execution_ids: Sequence[str]) -> None:
        """Ask about these, so that `may_see` knows.

        Raises:
            Unavailable: there was no answer.
        """


class Filter(NamedTuple):
    """Which executions are asked for."""

    statuses: frozenset[str] = frozenset()
    """Empty for any."""
    workflow_id: str = ""
    """Empty for any."""

    def matches(self, entry: Entry) -> bool:
        return (not self.statuses or entry.status in self.statuses) and (
            not self.workflow_id or entry.workflow_id == self.workflow_id
        )


class Place(NamedTuple):
    """Where an execution stands in a list: newest activity first."""

    age: int
    """Minus the time of its activity in ms."""
    execution_id: str


class Chosen(NamedTuple):
    """What a reader is shown, in order, and what must be asked before that is certain."""

    execution_ids: list[str]
    unknown: Collection[str] = ()


class Page(NamedTuple):
    """A page of a list: the summaries as JSON, and where the next page begins."""

    executions: list[bytes]
    following: Place | None
