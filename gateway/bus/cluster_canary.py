"""The canaries of a cluster, where a gateway subscribes at one of its nodes.

Each primary publishes one, since its messages reach the subscription over its own link. If that
link is interrupted, canaries are missing, and so are events.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from gateway.bus.canary import Canary, Publishing, read_canary
from gateway.bus.cluster import Cluster
from gateway.bus.node import Node
from gateway.bus.questions import Question

_ROUNDS = 3
"""Canaries of one node that are missing, one after the other, where its link counts as lost."""


@dataclass(slots=True)
class _Link:
    """The way from one node to the subscription."""

    node: Node
    publishing: Publishing
    returned: int
    """The number of the last canary that came back."""
    missed: int = 0
    """That of the last one of which was said that it did not."""

    def lacks(self, newest: int, rounds: int) -> int:
        """The number of a canary that is missing though the node has accepted it, and *newest*,
        which was published *rounds* later, has come; 0 if there is none."""
        number = min(self.publishing.accepted, newest - rounds)
        return number if self.returned < number else 0


class ClusterCanary(Canary):
    """As on a single Redis while one comes back; and says which links are down."""

    def __init__(self, prefix: str, cluster: Cluster) -> None:
        super().__init__(prefix)
        self._cluster = cluster
        self._links: list[_Link] = []
        self._newest = 0
        """The highest number that came back."""
        self.on_missed: Callable[[Node], None] = lambda _: None
        """Called with a node from which messages may have been lost on their way."""

    def questions(self) -> list[Question]:
        """Publishes one more at each primary; at any, while they are unknown."""
        if not (primaries := self._cluster.primaries()):
            return super().questions()
        self.published_in_all += 1
        number, known = self.published_in_all, {one.node: one for one in self._links}
        self._links = [
            known.get(node) or _Link(node, Publishing(), number - 1) for node in primaries
        ]
        return [
            one.publishing.question(number, self.channel, f"{number} {one.node.id}", one.node)
            for one in self._links
        ]

    def session_begun(self) -> None:
        """See `Canary.session_begun`."""
        for one in self._links:
            one.returned = self.published_in_all

    def returned(self, instance: str, canary: bytes) -> None:
        """See `Canary.returned`."""
        super().returned(instance, canary)
        number, name = read_canary(canary)
        if instance != self.instance or number > self.published_in_all:
            # It is somebody else's.
            return
        self._newest = max(self._newest, number)
        for one in self._links:
            if one.node.id.encode() == name:
                one.returned = max(one.returned, number)
            if one.missed < (lost := one.lacks(self._newest, 1)):
                one.missed = lost
                self.on_missed(one.node)

    def servers(self) -> Sequence[Publishing]:
        """See `Canary.servers`."""
        return [one.publishing for one in self._links] or super().servers()

    @property
    def names(self) -> set[bytes]:
        """See `Canary.names`."""
        links = [one for one in self._links if one.publishing.refusal is None]
        return {one.node.id.encode() for one in links}

    @property
    def lost_links(self) -> Iterable[str]:
        """A sentence about each node from which nothing arrives, though it answers."""
        for one in self._links:
            if one.lacks(self._newest, _ROUNDS):
                yield (
                    f"Nothing arrives from one node of the cluster ({one.node.id[:8]}), though it "
                    "answers: events of its executions are read from history, up to seconds late, "
                    "and what is only PUBLISHed there is lost. See CLUSTER LINKS at that node."
                )
