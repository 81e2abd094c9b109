"""The stage on a Redis Cluster of three primaries: all of it goes to the node of each execution."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass

from redis.crc import key_slot

from gateway.contract.keys import meta_key
from tests.bench.messages import Publisher
from tests.bench.stage import Stage
from tests.harness.proc import cpu_seconds
from tests.harness.redis_cluster import SLOTS, RedisCluster


@dataclass
class ClusterStage(Stage):
    """As `Stage`."""

    redis_process: RedisCluster  # type: ignore[assignment] # it has all that a stage needs
    in_cluster = True

    def port_of(self, execution: str) -> int:
        """Of the primary that has it; no slot moves here."""
        nodes = self.redis_process.nodes
        slot = key_slot(meta_key(execution).encode())
        [node] = [
            node
            for at, node in enumerate(nodes)
            if SLOTS * at // len(nodes) <= slot < SLOTS * (at + 1) // len(nodes)
        ]
        return node.port

    def parts(self, executions: Sequence[str]) -> dict[int, list[str]]:
        """By the port of their primary."""
        found: dict[int, list[str]] = {}
        for one in executions:
            found.setdefault(self.port_of(one), []).append(one)
        return found

    async def redis_cpu(self) -> float:
        """CPU seconds that all primaries have used."""
        return sum(cpu_seconds(one.pid) for one in self.redis_process.nodes)

    async def publisher(self) -> Publisher:
        """One that publishes at the node of each execution."""
        connections = {}
        for node in self.redis_process.nodes:
            reader, writer = await asyncio.open_connection("127.0.0.1", node.port)
            connections[node.port] = Publisher(reader, writer, b"SPUBLISH")
        return ClusterPublisher(self, connections)


class ClusterPublisher(Publisher):
    """A connection to each primary."""

    def __init__(self, stage: ClusterStage, connections: dict[int, Publisher]) -> None:
        self._stage = stage
        self._connections = connections

    async def publish(
        self,
        executions: Sequence[str],
        messages: Sequence[bytes],
        channel_of: Callable[[str], str] = "execution:{}".format,
    ) -> None:
        """Each message on the channel of the execution at its place."""
        parts: dict[int, tuple[list[str], list[bytes]]] = {}
        for name, message in zip(executions, messages, strict=True):
            names, some = parts.setdefault(self._stage.port_of(name), ([], []))
            names.append(name)
            some.append(message)
        for port, (names, some) in parts.items():
            await self._connections[port].publish(names, some, channel_of)

    async def close(self) -> None:
        for one in self._connections.values():
            await one.close()


@asynccontextmanager
async def on_a_cluster(made: Stage) -> AsyncIterator[ClusterStage]:
    """A stage on a cluster of its own, whose figures are *made*'s."""
    cluster = RedisCluster()
    try:
        cluster.start()
        async with cluster.client() as redis:
            yield ClusterStage(cluster, redis, made.core, made.full, made.figures, made.notes)
    finally:
        cluster.clean_up()
