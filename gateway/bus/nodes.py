"""The nodes of a cluster: which nodes there are, which slots each serves, and which of them answer.

A node is asked about the others at the first command, every second, more often while a node does
not answer, after a redirection, and when a node is lost. A host name in REDIS_URL may have many
addresses (a configuration endpoint), so the names are resolved again if no known node answers.
"""

import asyncio
import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis
from redis.exceptions import ClusterDownError

from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.bus.node import Node
from gateway.bus.server import Server, ServerPool
from gateway.bus.slots import (
    NO_SLOTS,
    Address,
    MovedLog,
    Primary,
    Slots,
    read_slots,
    slot_of_key,
)
from gateway.bus.subscription_pool import SubscriptionPool
from gateway.dataloader import SingleFlight
from gateway.settings.redis_url import ClusterUrl
from gateway.tasks import cancel_all

log = logging.getLogger(__name__)

ASKED_WITHIN = 1.0
"""Seconds after which another node is asked who serves what, and a node counts as lost."""

_LOOKS_EVERY = 1.0
"""Seconds between two looks who serves what, while all nodes answer."""

_FORMER = 16
"""Most nodes that are remembered though they serve nothing any more: where nodes are replaced, each
new one may have another address."""

LEASE_KEY = "sse:{!node}:subscription"
"""The id of the node where all gateways subscribe; `gateway.bus.agreed` writes it."""


class Nodes(Server):
    """The nodes of one cluster. What a gateway subscribes to, it does at one of them."""

    tick_seconds = 0.25

    def __init__(self, url: ClusterUrl, options: Mapping[str, Any]) -> None:
        """*options*: of the pool of each node."""
        self._url = url
        self._options = {**options, **url.options}
        super().__init__(SubscriptionPool(self, tls=url.tls, **self._options))
        self.on_moved: Callable[[frozenset[int]], None] = lambda _: None
        """Called with the slots that another node serves now."""
        self._moved_log = MovedLog()
        self._nodes: dict[Address, Node] = {}
        self._slots = NO_SLOTS
        self._asked: SingleFlight[str, None] = SingleFlight()
        self._refreshing: asyncio.Task[None] | None = None
        self._next_look = 0.0
        self._looking: asyncio.Task[None] | None = None
        self._answered_last: Address | None = None
        self.agreed = ""
        """The id of the node where all gateways subscribe; empty before anybody has asked."""
        self._problem = False
        self._must_ask = False

    @property
    def pool(self) -> BlockingConnectionPool:
        """Its connections lead to where this gateway subscribes."""
        return self._pool

    def primaries(self) -> list[Node]:
        """Those that serve slots, as last known, by their ids."""
        found = [self.node(address) for address in self._slots.primaries]
        return sorted(found, key=lambda node: node.id)

    def answering(self) -> list[Node]:
        """All that answer, also those that serve nothing any more."""
        nodes = self._nodes.values()
        return [node for node in nodes if node.problem is None and not node.is_doubtful]

    def unserved(self) -> int:
        """How many slots nobody serves, as last known."""
        return self._slots.owners.count(None)

    def owner(self, slot: int) -> Node | None:
        """Who serves *slot*, as last known."""
        primary = self._slots.owners[slot]
        return self.node(primary.address) if primary is not None else None

    def first_at(
        self, node: Node, names: Iterable[str], key_of: Callable[[str], str] = str
    ) -> str | None:
        """The first of *names* whose key, by *key_of*, is in a slot of *node*. Its slots may
        be few: give thousands."""
        return next((one for one in names if self.owner(slot_of_key(key_of(one))) is node), None)

    def owners(self) -> list[Primary | None]:
        """Who serves each slot now, as last known."""
        return self._slots.owners.copy()

    def node(self, address: Address) -> Node:
        """The one at *address*, whether it is known to serve anything or not."""
        known = self._nodes.get(address)
        if known is None:
            known = self._nodes[address] = Node(address, self._client(address))
        return known

    def _client(self, address: Address) -> Redis:
        host, port = address
        name = f"[{host}]" if ":" in host else host
        scheme = "rediss" if self._url.tls else "redis"
        return Redis.from_pool(ServerPool(f"{scheme}://{name}:{port}", **self._options))

    async def known(self) -> None:
        """Ask who serves what, unless it is known. Raises as redis-py does."""
        if self._slots is NO_SLOTS:
            await self.refresh()
        elif self._must_ask:
            await self.look_again()

    def failed(self) -> None:
        """A command was given up: its node may have been replaced. Who has no task calls this."""
        self._must_ask = True

    def chosen(self) -> Node:
        """Where to subscribe: at the agreed node, or at the first one while that is lost."""
        return min(
            self.primaries(), key=lambda node: (node.problem is not None, node.id != self.agreed)
        )

    async def subscription_node(self) -> Node:
        """The same; asks first what is not known. Raises as redis-py does."""
        await self.known()
        return self.chosen()

    async def learn_agreed(self) -> None:
        """Ask where the others subscribe, unless that is known. Raises as redis-py does."""
        await self.known()
        owner = self._lease_owner()
        if self.agreed or owner is None:
            return
        # Without an answer the first node is right, too, until the next question.
        with suppress(*REDIS_ERRORS):
            async with asyncio.timeout(ASKED_WITHIN):
                named: Any = await owner.client.get(LEASE_KEY)
            self.agreed = named.decode("utf-8", "replace") if named else self.chosen().id

    def subscribed_at(self, node: Node) -> None:
        """It is where to stay, while the node that has the lease cannot say so."""
        owner = self._lease_owner()
        if owner is None or owner.problem is not None:
            self.agreed = node.id

    def _lease_owner(self) -> Node | None:
        return self.owner(slot_of_key(LEASE_KEY))

    def moved(self, slot: int, address: Address) -> None:
        """A node has said that the one at *address* serves *slot* now."""
        before = self._slots.owners[slot]
        if before is None or before.address != address:
            known = self._slots.primaries.get(address)
            self._slots.owners[slot] = known or Primary("", address)
            self._have_moved(frozenset([slot]))
        if self._refreshing is None or self._refreshing.done():
            self._refreshing = asyncio.create_task(self.look_again())

    async def look_again(self) -> None:
        """Ask who serves what; where nobody answers, what was known stays."""
        with suppress(*REDIS_ERRORS):
            await self.refresh()

    async def refresh(self) -> None:
        """Ask who serves what; who asks meanwhile gets the same answer. Raises as redis-py does."""
        await self._asked.ask("slots", self._refresh)

    async def _refresh(self) -> None:
        failure: Exception | None = None
        for address, client in self._candidates():
            try:
                async with asyncio.timeout(ASKED_WITHIN):
                    answer = await client.execute_command("CLUSTER", "SLOTS")
            except REDIS_ERRORS as error:
                failure = error
                if (known := self._nodes.get(address)) is not None:
                    known.is_doubtful = True
                continue
            finally:
                if address not in self._nodes:
                    await client.aclose()
            slots = read_slots(answer, address)
            if slots.primaries:
                self._answered_last = address
                self._learn(slots)
                return
            failure = ClusterDownError("CLUSTERDOWN No node serves any slot")
        assert failure is not None  # noqa: S101 - there is a candidate
        raise failure

    def _candidates(self) -> Iterator[tuple[Address, Redis]]:
        known = sorted(
            self._nodes.values(),
            key=lambda node: (
                node.problem is not None or node.is_doubtful,
                node.address != self._answered_last,
            ),
        )
        yield from [(node.address, node.client) for node in known]
        for address in self._url.nodes:
            if address not in self._nodes:
                yield address, self._client(address)

    def _learn(self, slots: Slots) -> None:
        before, self._slots, self._must_ask = self._slots, slots, False
        for node in self._nodes.values():
            if node.address not in slots.primaries:
                node.replaced()
        for primary in slots.primaries.values():
            self.node(primary.address).id = primary.id
        moved = slots.moved_from(before)
        if moved and before is not NO_SLOTS:
            self._have_moved(moved)

    def _have_moved(self, slots: frozenset[int]) -> None:
        self._moved_log.add(slots)
        self.on_moved(slots)

    async def tick(self) -> None:
        """Each second, and at once while a node does not answer, since it may be replaced now: look
        who serves what, whether those that were lost answer again, and whether this gateway
        subscribes at the right one."""
        now = asyncio.get_running_loop().time()
        if now < self._next_look and not any(node.is_slow for node in self._nodes.values()):
            return
        self._next_look = now + _LOOKS_EVERY - self.tick_seconds / 2
        try:
            await self.refresh()
            self._problem = False
        except REDIS_ERRORS as error:
            # What is wrong health says as well.
            if not self._problem:
                log.warning("No node of the cluster says which node serves which slots: %s", error)
            self._problem = True
        # A node that hangs must not keep this from the next look.
        before = self._looking
        if before is None or before.done():
            self._looking = asyncio.create_task(self._look_around())
            if before is not None:
                before.result()

    async def _look_around(self) -> None:
        serving = self.primaries()
        former = [one for one in self._nodes.values() if one not in serving]
        for node in former[: max(0, len(former) - _FORMER)]:
            del self._nodes[node.address]
        for node in former:
            await node.client.connection_pool.disconnect(inuse_connections=False)
        await asyncio.gather(*(self._look(node) for node in serving if node.problem is not None))
        with suppress(TimeoutError):
            async with asyncio.timeout(ASKED_WITHIN):
                await super().tick()

    async def _look(self, node: Node) -> None:
        with suppress(*REDIS_ERRORS):
            async with asyncio.timeout(ASKED_WITHIN):
                await node.client.time()
            node.answered()

    @property
    def problems(self) -> Iterable[str]:
        """A sentence about each node that is lost, without its address: health is public."""
        for node in self.primaries():
            if node.problem is not None:
                yield (
                    f"The executions of one node of the cluster ({node.id[:8]}) are unavailable: "
                    f"{describe_redis_error(node.problem)}"
                )

    async def aclose(self) -> None:
        """Close all connections."""
        self._moved_log.say()
        await self._asked.stop()
        if self._looking is not None:
            await cancel_all([self._looking])
        if self._refreshing is not None:
            await asyncio.gather(self._refreshing, return_exceptions=True)
        for node in self._nodes.values():
            await node.client.aclose()
