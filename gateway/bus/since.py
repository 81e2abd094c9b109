"""When a session of the subscription began, by the clocks with which this is compared.

`record.lua` skips messages that were recorded before that: this session did not receive them. On a
cluster the times of recording are by the clock of the execution's node. And a message takes a while
from the node where it was published to the one where a gateway subscribes: another session may have
recorded it before this one receives it.

So before the session subscribes, each node is asked its time, and then publishes a mark; the
session subscribes when all marks have arrived. What was recorded before these times was published
before the marks, and arrived before them: this session does not receive it. It records all else.
"""

import asyncio
import logging
import math
import secrets
import time
from collections.abc import Iterable
from contextlib import suppress

from redis.asyncio import Redis
from redis.asyncio.connection import AbstractConnection
from redis.exceptions import ClusterDownError

from gateway.bus.cluster import Cluster
from gateway.bus.errors import REDIS_ERRORS
from gateway.bus.node import Node
from gateway.bus.slots import Address, slot_of_key
from gateway.contract.keys import meta_key

log = logging.getLogger(__name__)

MARKED_WITHIN = 1.0
"""Seconds that a session waits for the marks: nobody hears bare messages meanwhile, unless the
connection before it is read on."""


class Since:
    """The moment on a single Redis, in microseconds of its TIME."""

    def __init__(self, moment: int) -> None:
        self.latest = moment
        """By the clock that is ahead of the others."""

    async def learn(self, execution_ids: Iterable[str]) -> None:
        """Ask what `of` has to know of these. Raises as redis-py does."""

    def of(self, execution_id: str) -> int:
        """By the clock with which this execution is recorded."""
        return self.latest

    def moves(self, execution_id: str) -> bool:
        """Whether it has been at more than one node since then."""
        return False

    def redirected(self, execution_id: str) -> None:
        """A node has sent a call of it to another one."""


class ClusterSince(Since):
    """The moment by the clock of each node."""

    def __init__(self, cluster: Cluster, begun: float, times: dict[Address, int]) -> None:
        """*times* were asked from *begun* on, by this process's monotonic clock."""
        super().__init__(max(times.values(), default=0))
        self._nodes = cluster.nodes
        self._begun = begun
        self._times = times
        self._owners = cluster.nodes.owners()
        self._redirected: set[int] = set()

    async def learn(self, execution_ids: Iterable[str]) -> None:
        """Ask the nodes that serve these, and were no primaries then, or did not answer."""
        for execution_id in execution_ids:
            node = self._nodes.owner(_slot(execution_id))
            if node is None:
                raise ClusterDownError("CLUSTERDOWN Hash slot not served")
            if node.address not in self._times:
                now = await _time_of(node)
                elapsed = round((time.monotonic() - self._begun) * 10**6)
                self._times[node.address] = now - elapsed

    def of(self, execution_id: str) -> int:
        """Where its slot has moved since, by the clock that is behind the others: what a node has
        recorded since then must not be recorded again, here or at the next one."""
        node = self._nodes.owner(_slot(execution_id))
        earliest = min(self._times.values(), default=0)
        if node is None or self.moves(execution_id):
            return earliest
        return self._times.get(node.address, earliest)

    def moves(self, execution_id: str) -> bool:
        slot = _slot(execution_id)
        node, former = self._nodes.owner(slot), self._owners[slot]
        return slot in self._redirected or (node and node.address) != (former and former.address)

    def redirected(self, execution_id: str) -> None:
        self._redirected.add(_slot(execution_id))


def _slot(execution_id: str) -> int:
    return slot_of_key(meta_key(execution_id))


async def begin_session(redis: Redis, connection: AbstractConnection, channel: str) -> Since:
    """Called before *connection* subscribes; *channel* is this gateway's own. Raises as redis-py
    does."""
    if isinstance(redis, Cluster):
        return await _begin_in_cluster(redis, connection, channel)
    await connection.send_command("TIME")
    seconds, microseconds = await connection.read_response()
    return Since(int(seconds) * 10**6 + int(microseconds))


async def _begin_in_cluster(
    cluster: Cluster, connection: AbstractConnection, channel: str
) -> Since:
    await connection.send_command("SUBSCRIBE", channel)
    await connection.read_response()
    begun, name = time.monotonic(), f"mark:{secrets.token_hex(8)}"
    # Of a primary that was replaced, too: bare producers may not know it yet.
    nodes = cluster.nodes.answering()
    times: dict[Address, int] = {}
    # All times first: what one node has recorded then, another one may have published.
    await asyncio.gather(*(_ask_time(node, times) for node in nodes))
    marks = (_mark(one, channel, f"{name} {at}") for at, one in enumerate(nodes))
    published = {one for one in await asyncio.gather(*marks) if one}
    try:
        async with asyncio.timeout(MARKED_WITHIN):
            await _read_marks(connection, published)
    except TimeoutError:
        log.warning(
            "Messages of one node of the cluster do not reach the node where the gateway "
            "subscribes within %.0f s: its bare messages may be lost or recorded twice.",
            MARKED_WITHIN,
        )
    # The answer is read as one of the subscription's own.
    await connection.send_command("UNSUBSCRIBE", channel)
    return ClusterSince(cluster, begun, times)


async def _time_of(node: Node) -> int:
    async with asyncio.timeout(MARKED_WITHIN), node.in_flight():
        seconds, microseconds = await node.client.time()
    return int(seconds * 10**6 + microseconds)


async def _ask_time(node: Node, times: dict[Address, int]) -> None:
    # One that does not answer records nothing, or is asked later.
    with suppress(*REDIS_ERRORS):
        times[node.address] = await _time_of(node)


async def _mark(node: Node, channel: str, mark: str) -> bytes | None:
    """Have *node* publish *mark*, which is returned if it has."""
    if node.is_doubtful:
        # It has not answered just now.
        return None
    with suppress(*REDIS_ERRORS):
        async with asyncio.timeout(MARKED_WITHIN), node.in_flight():
            await node.client.publish(channel, mark)
        return mark.encode()
    return None


async def _read_marks(connection: AbstractConnection, marks: set[bytes]) -> None:
    while marks:
        match await connection.read_response(timeout=math.inf, disconnect_on_error=False):
            case [b"message", _, mark]:
                marks.discard(mark)
