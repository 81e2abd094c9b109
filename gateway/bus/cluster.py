"""A Redis Cluster as one Redis: each command goes to the node of its key.

Commands for one node never wait for another node. A command that is redirected (MOVED, ASK) follows
at once; so does a script whose keys do not exist yet (TRYAGAIN), in another form. A command that
cannot be served now (TRYAGAIN to that form too, CLUSTERDOWN), or could not be sent, is retried
until `COMMAND_TIMEOUT` is over. After a lost connection the command may have been run: it is sent
again as often as on a single Redis, *retries* times.

A command to a node that has been lost for longer gets an error at once, so that the gateway can
continue with the executions of the other nodes.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from copy import copy
from typing import Any

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline
from redis.exceptions import (
    AskError,
    AuthenticationError,
    ClusterDownError,
    MovedError,
    ResponseError,
    TryAgainError,
)

from gateway.bus.errors import REDIS_ERRORS, is_loss
from gateway.bus.exchange import ask
from gateway.bus.node import Node
from gateway.bus.nodes import Nodes
from gateway.bus.slots import Command, slot_of, slot_of_key, target_of
from gateway.bus.under_way import UnderWay
from gateway.retry import Backoff
from gateway.settings.redis_url import ClusterUrl

_PAUSES = (0.02, 0.2)
"""Seconds before the second attempt, and before later ones, at most."""

_SPLIT_FOR = 2.0
"""Seconds for which a slot is taken to have keys of one execution at two nodes."""

_AT_ONCE = 3
"""Attempts after the first one without a pause: ASK, TRYAGAIN, ASK."""


class Cluster(Redis):
    """The client of one cluster. `connection_pool` leads to where its gateway subscribes."""

    def __init__(
        self, url: ClusterUrl, *, retries: int, command_timeout: float, **options: Any
    ) -> None:
        """*options*: of the bounded pool of each node."""
        self.nodes = Nodes(url, options)
        self._retries = retries
        self._follows = self._waits = True
        self._split: dict[int, float] = {}
        self._command_timeout = command_timeout
        super().__init__(connection_pool=self.nodes.pool)
        self.auto_close_connection_pool = True

    def without_waits(self, *, follows: bool) -> "Cluster":
        """The same client, but TRYAGAIN is an answer, so that it keeps no other one waiting; and
        ASK, unless it *follows*: what depends on the node is to be said otherwise there."""
        other = copy(self)
        other._follows, other._waits = follows, False
        return other

    def is_split(self, key: str) -> bool:
        """Whether a script of the slot of *key* had its keys at two nodes, a moment ago."""
        at = self._split.get(slot_of_key(key))
        return at is not None and time.monotonic() - at < _SPLIT_FOR

    def primaries(self) -> list[Node]:
        """Those that serve slots, as last known."""
        return self.nodes.primaries()

    def node_of(self, key: str) -> Node | None:
        """The node of *key*, as last known; None where nobody serves its slot."""
        return self.nodes.owner(slot_of_key(key))

    def place_of(self, command: Command) -> Node | None:
        """Where *command* goes first, as last known; None for any node."""
        slot = slot_of(command)
        return None if slot is None else self.nodes.owner(slot)

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """As in redis-py."""
        [answer] = await self.exchange([args])
        if isinstance(answer, Exception):
            raise answer
        return await self.read(args[0], answer, options)

    async def read(self, name: Any, answer: Any, options: Mapping[str, Any]) -> Any:
        """*answer* as redis-py's method of the command *name* gives it."""
        callback = self.response_callbacks.get(name)
        if callback is None:
            return answer
        found = callback(answer, **{key: one for key, one in options.items() if key != "keys"})
        return await found if isinstance(found, Awaitable) else found

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """Commands for several nodes, without *transaction*: the answer to one that its node has
        refused or lost is its exception. With it, see `transaction`."""
        if transaction:
            raise NotImplementedError("a transaction is of one node")
        return ClusterPipeline(self)

    async def transaction(
        self, func: Callable[[Pipeline], Any], *watches: Any, **options: Any
    ) -> Any:
        """As in redis-py; all keys are of the slot of the first of *watches*."""
        pauses = Backoff(*_PAUSES)
        deadline = asyncio.get_running_loop().time() + self._command_timeout
        while True:
            # It follows what MOVED says of this key.
            await self.execute_command("ZCARD", watches[0])
            node = self.node_of(watches[0])
            assert node is not None  # noqa: S101 - it has just answered
            try:
                return await node.client.transaction(func, *watches, **options)
            except (AskError, TryAgainError, ClusterDownError):
                if asyncio.get_running_loop().time() > deadline:
                    raise
            await asyncio.sleep(pauses.next())

    async def exchange(self, commands: Sequence[Command], node: Node | None = None) -> list[Any]:
        """The answers to *commands*, in order and as Redis gives them; an exception for each that
        its node has refused or lost. *node* is asked what has no key, by default any."""
        now = asyncio.get_running_loop().time()
        trip = UnderWay(commands, now + self._command_timeout, node, self._follows, self._waits)
        await self._settle(trip, range(len(commands)))
        return trip.answers

    async def _settle(self, trip: UnderWay, indices: Sequence[int]) -> None:
        """Have these answered, or given up."""
        pauses, at_once = Backoff(*_PAUSES), _AT_ONCE
        while indices:
            again: Sequence[int]
            groups = await self._grouped(trip, indices)
            if len(groups) > 1:
                await asyncio.gather(*(self._settle(trip, some) for some in groups.values()))
                return
            [((node, is_asking), _)] = groups.items()
            if node is None:
                again, pause = [one for one in indices if is_loss(trip.answers[one])], True
            else:
                again, pause = await self._once(trip, node, indices, is_asking=is_asking)
            indices = again
            if not indices or asyncio.get_running_loop().time() > trip.deadline:
                return
            at_once -= 1
            if pause or at_once < 0:
                await asyncio.sleep(pauses.next())
                await self.nodes.look_again()

    async def _grouped(
        self, trip: UnderWay, indices: Sequence[int]
    ) -> dict[tuple[Node | None, bool], list[int]]:
        """These by where they go, and whether by ASK; without a node, what is wrong is their
        answer."""
        try:
            default = trip.node or await self.nodes.subscription_node()
        except REDIS_ERRORS as error:
            for index in indices:
                trip.answers[index] = error
            return {(None, False): list(indices)}
        groups: dict[tuple[Node | None, bool], list[int]] = {}
        where: tuple[Node | None, bool] = (default, False)
        for index in indices:
            command = trip.commands[index]
            if index in trip.asks:
                where = self.nodes.node(trip.asks[index]), True
            elif command[0] != "WAIT":
                slot = slot_of(command)
                where = (default if slot is None else self.nodes.owner(slot)), False
            if where[0] is None:
                trip.answers[index] = ClusterDownError("CLUSTERDOWN Hash slot not served")
            groups.setdefault(where, []).append(index)
        return groups

    async def _once(
        self, trip: UnderWay, node: Node, indices: Sequence[int], *, is_asking: bool
    ) -> tuple[Sequence[int], bool]:
        """Send these to *node*; returns which have to be sent again, and whether after a pause."""
        commands = [trip.command(index) for index in indices]
        if node.problem is not None and node.lost_for(self._command_timeout):
            _give(trip, indices, node.problem)
            return [], False
        pool = node.client.connection_pool
        try:
            async with node.in_flight():
                connection = await pool.get_connection()
        except REDIS_ERRORS as error:
            _give(trip, indices, error)
            if isinstance(error, AuthenticationError | ResponseError):
                return [], False
            node.lost(error)
            return indices, True
        try:
            async with node.in_flight():
                answers = await ask(connection, _with_asking(commands) if is_asking else commands)
        except REDIS_ERRORS as error:
            await connection.disconnect(nowait=True)
            node.lost(error)
            trip.lost.update(_give(trip, indices, error))
            return [one for one in indices if trip.lost[one] <= self._retries], True
        finally:
            await pool.release(connection)
        node.answered()
        return self._sort(trip, node, indices, answers[1::2] if is_asking else answers)

    def _sort(
        self, trip: UnderWay, node: Node, indices: Sequence[int], answers: Sequence[Any]
    ) -> tuple[Sequence[int], bool]:
        """Keep what was answered; the rest is to be sent again."""
        again: list[int] = []
        pause = False
        for index, answer in zip(indices, answers, strict=True):
            trip.answers[index] = answer
            if not isinstance(answer, ResponseError):
                continue
            trip.asks.pop(index, None)
            match answer:
                case MovedError():
                    self.nodes.moved(answer.slot_id, target_of(answer, node.address))
                case AskError():
                    trip.asks[index] = target_of(answer, node.address)
                case TryAgainError():
                    if trip.refused(index):
                        pause = True
                        self._split[slot_of(trip.commands[index]) or 0] = time.monotonic()
                        if not trip.waits:
                            continue
                case ClusterDownError():
                    pause = True
                case _:
                    continue
            if trip.follows or not isinstance(answer, AskError):
                again.append(index)
        return trip.with_waits(again) if again else [], pause


def _give(trip: UnderWay, indices: Sequence[int], error: Exception) -> Sequence[int]:
    for index in indices:
        trip.answers[index] = error
    return indices


def _with_asking(commands: Sequence[Command]) -> list[Command]:
    return [one for command in commands for one in (("ASKING",), command)]


class ClusterPipeline(Pipeline):
    """Commands that are sent together, each to its node."""

    def __init__(self, cluster: Cluster) -> None:
        super().__init__(cluster.connection_pool, cluster.response_callbacks, False, None)
        self._cluster = cluster

    async def execute(self, raise_on_error: bool = True) -> list[Any]:
        """As in redis-py, but a lost node is the answer to its commands. Raises only where all
        commands were lost, or with *raise_on_error*."""
        stack, self.command_stack = self.command_stack, []
        answers = await self._cluster.exchange([args for args, _ in stack])
        for index, (args, options) in enumerate(stack):
            if not isinstance(answers[index], Exception):
                answers[index] = await self._cluster.read(args[0], answers[index], options)
        lost = [one for one in answers if is_loss(one)]
        if lost and (raise_on_error or len(lost) == len(answers)):
            raise lost[0]
        if raise_on_error:
            self.raise_first_error(stack, answers)
        return answers
