"""The subscription on a cluster to single executions: one link to each primary, one inbox.

A link is a `Subscription` with its own session and canary, so a problem of one node affects only
its own executions. The map of the slots says which links there are.
"""

import asyncio
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from gateway.bus.canary import Canary
from gateway.bus.cluster import Cluster
from gateway.bus.errors import describe_code
from gateway.bus.inbox import Inbox
from gateway.bus.node import Node
from gateway.bus.placed import NodeWatched, Placed
from gateway.bus.questions import Question
from gateway.bus.subscription import Subscription
from gateway.metrics import Metrics
from gateway.retry import Backoff
from gateway.tasks import cancel_all

_PAUSES = (0.02, 0.2)
"""Seconds before channels are placed again, and before later times, at most: for a moment nodes
disagree about who serves a slot."""

_QUIET_SECONDS = 1.0
"""After which the pauses are short again."""

_MOVING = re.compile(rb"\[(\d+)-[<>]-")
"""A slot that moves, in the line of CLUSTER NODES of the node that was asked."""


@dataclass(frozen=True, eq=False, slots=True)
class Shard:
    """The link to one primary."""

    node: Node
    watched: NodeWatched
    subscription: Subscription
    task: asyncio.Task[None]

    @property
    def canary(self) -> Canary:
        """Shows that its messages arrive."""
        return self.watched.canary

    @property
    def problem(self) -> str | None:
        """Why nothing can arrive from this node."""
        return self.subscription.problem or self.canary.problem


class Canaries(Canary):
    """The canaries of all links, for who asks about all: well while one of them is."""

    def __init__(self, prefix: str, shards: dict[Node, Shard]) -> None:
        super().__init__(prefix)
        self._shards = shards

    def _all(self) -> list[Canary]:
        return [one.canary for one in self._shards.values()]

    def questions(self) -> list[Question]:
        """Publishes one more at each node."""
        subscribed = [one for one in self._shards.values() if one.subscription.problem is None]
        return [question for one in subscribed for question in one.canary.questions()]

    def returned(self, instance: str, canary: bytes) -> None:
        """A link has brought a canary of *instance*."""
        for one in self._all():
            one.returned(instance, canary)

    @property
    def published(self) -> bool:
        """Whether a node accepted its last canary."""
        return any(one.published for one in self._all())

    @property
    def age(self) -> float:
        """Seconds since the last one came back; infinite before the first."""
        return min((one.age for one in self._all()), default=float("inf"))

    @property
    def problem(self) -> str | None:
        """Why nothing may arrive from any node."""
        problems = [one.problem for one in self._all()]
        if not problems:
            return super().problem
        return None if None in problems else problems[0]


class Shards:
    """As a `Subscription` for the feed, streams, lists and health."""

    def __init__(self, cluster: Cluster, prefix: str, metrics: Metrics) -> None:
        self._cluster = cluster
        self._prefix = prefix
        self._metrics = metrics
        self.inbox = Inbox()
        self._shards: dict[Node, Shard] = {}
        self._ending: set[asyncio.Task[None]] = set()
        """Of nodes that are gone."""
        self._due = asyncio.Event()
        self._pauses = Backoff(*_PAUSES)
        self._confirmed = asyncio.Event()
        self._moving: dict[Node, frozenset[int]] = {}
        """The slots that each node says that move."""
        self.canary = Canaries(prefix, self._shards)
        self.watched = Placed(cluster, prefix)
        self.watched.on_due = self._due.set
        cluster.nodes.on_moved = self.watched.moved
        self.on_confirmed: Callable[[], None] = lambda: None
        """Called whenever a link begins."""
        self.on_moving: Callable[[list[str]], None] = lambda _: None
        """Called with executions whose slot has begun to move, so that their events may be
        published where nobody hears them."""
        self.on_moving_on: Callable[[list[str]], None] = lambda _: None
        """Called with those whose slot is still moving, before every pipeline."""
        self.since = 0
        """That of the newest session."""

    @property
    def problem(self) -> str | None:
        """Why nothing can arrive now from any node."""
        problems = [one.subscription.problem for one in self._shards.values()]
        if not problems:
            return describe_code("CLUSTERDOWN")
        return None if None in problems else problems[0]

    @property
    def problems(self) -> Iterable[str]:
        """A sentence about each node whose events do not arrive, while those of others do."""
        if self.problem or self.canary.problem:
            return
        for shard in self._shards.values():
            # What is lost the client knows.
            if shard.problem and shard.node.problem is None:
                yield (
                    f"Events of one node of the cluster ({shard.node.id[:8]}) do not arrive: "
                    f"{shard.problem}"
                )

    def problem_of(self, execution_id: str) -> str | None:
        """As of `Subscription`."""
        node = self.watched.node_of(execution_id)
        shard = self._shards.get(node) if node is not None else None
        problem = shard.subscription.problem if shard is not None else None
        return problem or self.watched.problem_of(execution_id)

    async def confirmed(self, execution_id: str | None = None) -> None:
        """Wait until one link is confirmed, or that to this execution."""
        if execution_id is None:
            while self.problem is not None:
                self._confirmed.clear()
                await self._confirmed.wait()
            return
        while self.problem_of(execution_id) is not None:
            await self.watched.confirmation(execution_id)

    async def run(self) -> None:
        """Have a link to each primary, and each channel at the node of its slot."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                self._due.clear()
                await self._cluster.nodes.look_again()
                self._follow()
                waits_since = loop.time()
                await self._ended_or_due()
                if loop.time() - waits_since > _QUIET_SECONDS:
                    self._pauses.reset()
                await asyncio.sleep(self._pauses.next())
        finally:
            await cancel_all([*self._ending, *(one.task for one in self._shards.values())])

    async def _ended_or_due(self) -> None:
        due = asyncio.ensure_future(self._due.wait())
        try:
            tasks = {one.task for one in self._shards.values()}
            done, _ = await asyncio.wait({due, *tasks}, return_when=asyncio.FIRST_COMPLETED)
            for task in done & tasks:
                task.result()
        finally:
            due.cancel()

    def _follow(self) -> None:
        serving = set(self._cluster.primaries())
        for node in serving - self._shards.keys():
            self._shards[node] = self._begin(node)
        gone = self._shards.keys() - serving
        for node in gone:
            task = self._shards.pop(node).task
            task.cancel()
            self._ending.add(task)
            task.add_done_callback(self._ending.discard)
            self._moving.pop(node, None)
        if self.watched.home not in self._heard():
            self.watched.home = next(iter(self._heard()), None)
        self.watched.place(gone)

    def _heard(self) -> list[Node | None]:
        return [node for node, one in self._shards.items() if one.subscription.problem is None]

    def _begin(self, node: Node) -> Shard:
        watched = NodeWatched(self._prefix, node, self._cluster.nodes)
        subscription = Subscription(node.client, watched, self._metrics, watched.canary, self.inbox)
        subscription.on_confirmed = partial(self._begun, subscription, watched)
        self.watched.add(node, watched)
        return Shard(node, watched, subscription, asyncio.create_task(subscription.run()))

    def _begun(self, subscription: Subscription, watched: NodeWatched) -> None:
        watched.begun()
        self.since = subscription.since
        self._confirmed.set()
        if self.watched.home is None:
            self._due.set()
        self.on_confirmed()

    def tick(self) -> None:
        """As of `Subscription`."""
        for one in self._shards.values():
            one.subscription.tick()
        for task in self._ending:
            # Again and again: a library that is connecting may swallow a cancellation.
            task.cancel()
        if self.watched.has_homeless or self.watched.home not in self._heard():
            self._due.set()

    def questions(self) -> Sequence[Question]:
        """Asks each node which slots move: what is published there by way of ASK nobody hears."""
        moving = frozenset[int]().union(*self._moving.values())
        if moving:
            self._compare(moving, self.on_moving_on)
        return [
            Question(("CLUSTER", "NODES"), partial(self._said, node), node)
            for node in self._shards
            if node.problem is None
        ]

    def _said(self, node: Node, answer: Any) -> None:
        # Its link may be gone by now.
        if not isinstance(answer, str | bytes) or node not in self._shards:
            return
        text = answer.encode() if isinstance(answer, str) else answer
        known = self._moving.pop(node, frozenset())
        if found := frozenset(int(slot) for slot in _MOVING.findall(text)):
            self._moving[node] = found
            if new := found - known:
                self._compare(new, self.on_moving)

    def _compare(self, slots: frozenset[int], compare: Callable[[list[str]], None]) -> None:
        self.watched.note_moving(slots)
        if found := self.watched.watched_in(slots):
            compare(found)


AnySubscription = Subscription | Shards
