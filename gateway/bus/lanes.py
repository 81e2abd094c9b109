"""Received messages, grouped by cluster node, so that those of a lost node delay no others.

A message may have to wait for its node, which records it or looks up its id. Messages of one node
are delivered in order. An execution stays in its lane while a message of it waits there, even if
its slot has moved meanwhile. An execution whose keys are at two nodes, while its slot moves, gets
its own lane: that may take minutes, and its node has other executions.
"""

import asyncio
from collections import Counter, deque
from collections.abc import Callable, Collection, Coroutine, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gateway.bus.cluster import Cluster
from gateway.bus.node import Node
from gateway.contract.keys import meta_key
from gateway.events.envelope import Envelope
from gateway.tasks import cancel_all

WAITED = 0.25
"""Seconds that a batch waits for all of its parts; then those that are left go on by themselves."""

MOST_BYTES = 64 * 1024 * 1024
"""That may wait in all lanes; then the feed waits too."""

Arrived = dict[str, list[Envelope]]
Deliver = Callable[[Arrived], Coroutine[Any, Any, None]]
"""Delivers all of it, and removes from it what is done."""


@dataclass(slots=True, eq=False)
class _Part:
    """What has arrived together, for one lane."""

    arrived: Arrived
    deliver: Deliver
    names: list[str] = field(init=False)
    """Of the executions that wait because of it."""
    size: int = field(init=False)
    work: asyncio.Task[None] | None = None
    """Once it is begun."""

    def __post_init__(self) -> None:
        self.names = list(self.arrived)
        self.size = sum(len(one.body) for some in self.arrived.values() for one in some)

    def without(self, names: Collection[str]) -> "_Part | None":
        """Take *names* out of it, which is not begun; returns what that was."""
        taken = {one: self.arrived.pop(one) for one in names if one in self.arrived}
        self.__post_init__()
        return _Part(taken, self.deliver) if taken else None


class _Lane:
    """Parts that are delivered one after the other."""

    def __init__(self) -> None:
        self.parts: deque[_Part] = deque()
        self.task: asyncio.Task[None] | None = None


class Lanes:
    """One for each node that has something to deliver."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._lanes: dict[Node | None, _Lane] = {}
        self._own: set[_Lane] = set()
        """Of executions that wait for their keys."""
        self._waiting: dict[str, _Lane] = {}
        """Where the executions are of which something waits."""
        self._parts: Counter[str] = Counter()
        """How many of each wait."""
        self._bytes = 0

    async def run(self, arrived: Arrived, deliver: Deliver) -> None:
        """Have *arrived* delivered by *deliver*, a part for each node. Raises what that raised, now
        or for an earlier part."""
        self._reap()
        begun = set()
        for lane, some in self._split(arrived).items():
            part = _Part(some, deliver)
            self._bytes += part.size
            lane.parts.append(part)
            if lane.task is None:
                lane.task = asyncio.create_task(self._deliver(lane))
                begun.add(lane.task)
        if begun:
            await asyncio.wait(begun, timeout=WAITED)
        while self._bytes > MOST_BYTES and (tasks := self._tasks()):
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            self._reap()
        self._reap()

    def _reap(self) -> None:
        ended = [task for task in self._tasks() if task.done()]
        self._lanes = {node: one for node, one in self._lanes.items() if one.task not in ended}
        self._own = {one for one in self._own if one.task not in ended}
        for task in ended:
            task.result()

    def _split(self, arrived: Arrived) -> Mapping[_Lane, Arrived]:
        parts: dict[_Lane, Arrived] = {}
        for execution_id, envelopes in arrived.items():
            lane = self._waiting.get(execution_id)
            if lane is None:
                node = self._cluster.node_of(meta_key(execution_id))
                lane = self._lanes.setdefault(node, _Lane())
                self._waiting[execution_id] = lane
            self._parts[execution_id] += 1
            parts.setdefault(lane, {})[execution_id] = envelopes
        return parts

    async def _deliver(self, lane: _Lane) -> None:
        while lane.parts:
            part = lane.parts[0]
            work = part.work = part.work or asyncio.create_task(part.deliver(part.arrived))
            try:
                while not (await asyncio.wait([work], timeout=WAITED))[0]:
                    if lane not in self._own and self._is_split(part):
                        self._give_own_lane(lane)
                        break
                else:
                    work.result()
                    lane.parts.popleft()
                    self._bytes -= part.size
                    self._do_not_wait(part.names)
            except asyncio.CancelledError:
                await cancel_all([work])
                raise

    def _is_split(self, part: _Part) -> bool:
        return any(self._cluster.is_split(meta_key(one)) for one in part.arrived)

    def _give_own_lane(self, lane: _Lane) -> None:
        """To what is left of the first part of *lane*, and to what follows it."""
        first = lane.parts.popleft()
        own, names = _Lane(), list(first.arrived)
        self._do_not_wait(one for one in first.names if one not in first.arrived)
        first.names = names
        own.parts.append(first)
        own.parts.extend(part for one in lane.parts if (part := one.without(names)) is not None)
        self._waiting.update(dict.fromkeys(names, own))
        self._own.add(own)
        own.task = asyncio.create_task(self._deliver(own))

    def _do_not_wait(self, execution_ids: Iterable[str]) -> None:
        """One part fewer has something of each of these."""
        for execution_id in execution_ids:
            self._parts[execution_id] -= 1
            if not self._parts[execution_id]:
                del self._parts[execution_id], self._waiting[execution_id]

    def _tasks(self) -> set[asyncio.Task[None]]:
        lanes = [*self._lanes.values(), *self._own]
        return {lane.task for lane in lanes if lane.task is not None}

    async def stop(self) -> None:
        """Cancel what is under way."""
        await cancel_all(self._tasks())
