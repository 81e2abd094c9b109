"""Publishes the events of a load test so that its gateway receives them.

For the pattern that is a bare PUBLISH, as workers without the library do it. For single executions
it is the script that `Publisher` calls: a gateway that subscribes to them receives a bare PUBLISH
only through a recorder.
"""

import asyncio
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from gateway.bus import scripts
from gateway.bus.cluster import Cluster
from gateway.bus.connection import primaries_of
from gateway.contract.keys import channel_pattern, channels_of, live_channel
from gateway.contract.meta import kind_of
from gateway.contract.scripts import Call, HistoryLimits, publish_call
from gateway.errors import GatewayError
from gateway.tools.loadtest.ledger import compose, type_of
from gateway.tools.loadtest.plan import Target

_TIMEOUT = 5.0
"""Seconds."""

_LIMITS = HistoryLimits()


class NobodyListens(GatewayError):
    """No gateway would hear what is published; `str(error)` says what to change."""


class Producer:
    """Publishes to one *target*; each execution has *last* events."""

    def __init__(self, redis: Redis, target: Target, last: int) -> None:
        self._redis = redis
        self._target = target
        self._last = last
        self._in_cluster = isinstance(redis, Cluster)

    async def make_sure(self, execution_id: str) -> None:
        """Make sure that somebody listens to this execution, which has an open stream.

        Raises:
            NobodyListens: nobody does.
        """
        # A user that may not ask goes on: what is lost shows at the end.
        with suppress(ResponseError):
            async with asyncio.timeout(_TIMEOUT):
                nodes = await primaries_of(self._redis)
                found = [await self._listeners(node, execution_id) for node in nodes]
            if not any(found):
                raise NobodyListens(self._advice())

    async def _listeners(self, node: Redis, execution_id: str) -> int:
        found = 0
        if self._target.publish_to != "execution":
            [(_, some)] = await node.pubsub_numsub(self._target.channel(execution_id))
            found += some + await node.pubsub_numpat()
        if self._target.publish_to != "pattern":
            live = live_channel(execution_id)
            ask = node.pubsub_shardnumsub if self._in_cluster else node.pubsub_numsub
            [(_, some)] = await ask(live)
            found += some
        return found

    def _advice(self) -> str:
        pattern = channel_pattern(self._target.channel_prefix)
        where = {
            "pattern": f"{pattern}. A gateway with GATEWAY_SUBSCRIPTION=execution does not: run a "
            "recorder, or give --publish-to=execution",
            "execution": "the executions' own channels. Only a gateway with "
            "GATEWAY_SUBSCRIPTION=execution does: for another one give --publish-to=pattern",
            "both": f"{pattern} or the executions' own channels",
        }[self._target.publish_to]
        return (
            f"Nobody subscribes to {where}. Otherwise: is --publish the Redis that the gateway "
            "listens on, and --channel-prefix its prefix?"
        )

    async def publish(self, events: Sequence[tuple[str, int]]) -> int:
        """Publish these, each an execution and the number of its event; returns how many of them
        reached no subscription, as far as Redis says."""
        async with asyncio.timeout(_TIMEOUT):
            if self._target.publish_to == "pattern":
                return (await self._bare(events)).count(0)
            for answer in await scripts.run_all(self._redis, [self._call(*one) for one in events]):
                if isinstance(answer, Exception):
                    raise answer
            return 0

    async def _bare(self, events: Sequence[tuple[str, int]]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipeline:
            for execution_id, n in events:
                pipeline.publish(self._target.channel(execution_id), self._payload(execution_id, n))
            return list(await pipeline.execute())

    def _call(self, execution_id: str, n: int) -> Call:
        kind = type_of(n, self._last)
        target = self._target
        to = channels_of(
            target.publish_to, target.channel_prefix, execution_id, in_cluster=self._in_cluster
        )
        return publish_call(
            execution_id,
            self._payload(execution_id, n),
            **to._asdict(),
            idempotency_key=str(n),
            terminal_type=f"{kind}=completed" if n == self._last else "",
            limits=_LIMITS,
            kind=kind_of(kind),
        )

    def _payload(self, execution_id: str, n: int) -> bytes:
        return compose(execution_id, n, self._last, time.monotonic_ns())
