"""At which node of a cluster all gateways subscribe: a lease in Redis names it.

Two nodes do not agree on the order of what two producers publish, so gateways should subscribe at
the same node. The lease is kept while a gateway subscribes there, so a node that is back after an
outage moves no gateway. A gateway that cannot reach the agreed node subscribes at the first node
that answers, and returns when it can; until then it only receives messages in another order.
"""

from typing import Any

from redis.exceptions import ResponseError

from gateway.bus.errors import is_loss
from gateway.bus.nodes import LEASE_KEY, Nodes
from gateway.bus.questions import Question

LEASE_MS = 5000
"""Milliseconds until another node may be named, after nobody has renewed it."""


class AgreedNode:
    """Keeps `Nodes.agreed` up to date, by regular `questions`."""

    def __init__(self, nodes: Nodes) -> None:
        self._nodes = nodes

    def questions(self) -> list[Question]:
        """Names the node where this gateway subscribes, if none is named; says that this one still
        answers, if it is the named one; and asks which one it is."""
        if not self._nodes.primaries():
            # Nobody has said yet who they are.
            return []
        chosen = self._nodes.chosen()
        asked = [Question(("SET", LEASE_KEY, chosen.id, "NX", "PX", LEASE_MS), _ignored)]
        if chosen.id == self._nodes.agreed and chosen.problem is None:
            asked.append(Question(("PEXPIRE", LEASE_KEY, LEASE_MS), _ignored))
        return [*asked, Question(("GET", LEASE_KEY), self._named)]

    def _named(self, answer: Any) -> None:
        if isinstance(answer, bytes):
            self._nodes.agreed = answer.decode("utf-8", "replace")
        elif isinstance(answer, ResponseError) and not is_loss(answer):
            raise answer


def _ignored(_: Any) -> None:
    """What is wrong, the answer to GET says too."""
