"""A Redis Cluster of a test: real nodes, which it may kill, suspend and reshard."""

import functools
import operator
import time
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import redis
from redis.asyncio.client import Pipeline
from redis.crc import key_slot

from gateway.bus.cluster import Cluster
from gateway.bus.connection import COMMAND_TIMEOUT, primaries_of
from gateway.bus.slots import slot_of
from gateway.contract.acl import GATEWAY
from gateway.settings.redis_url import parse_cluster_url
from tests.harness.redis_process import PASSWORD, RedisProcess
from tests.support import DEADLINE, free_port

SLOTS = 16384

NODE_TIMEOUT_MS = 1000
"""After which the nodes take one of them for dead."""


class ClusterNode(RedisProcess):
    """One node, which remembers over restarts which one it is."""

    def __init__(self, *arguments: str, program: str | None = None) -> None:
        # fmt: off
        super().__init__(
            "--cluster-enabled", "yes", "--cluster-node-timeout", str(NODE_TIMEOUT_MS),
            # The usual one, 10,000 above, may be another test's port.
            "--cluster-port", str(free_port()),
            "--repl-ping-replica-period", "1", "--repl-diskless-sync-delay", "0",
            *arguments,
            program=program,
            in_cluster=True,
        )
        # fmt: on

    @property
    def name(self) -> str:
        return f"127.0.0.1:{self.port}"

    def raw(self, *words: str | int) -> Any:
        """The answer to one command as the server gives it."""
        with redis.Redis(port=self.port, socket_timeout=DEADLINE) as client:
            client.response_callbacks.clear()
            return client.execute_command(*words)

    @property
    def id(self) -> str:
        return str(self.raw("CLUSTER", "MYID").decode())

    @property
    def bus_port(self) -> int:
        """Where it listens to the other nodes."""
        return int(_option(self, "--cluster-port"))

    def add(self, *arguments: str) -> None:
        """Of its program, before its start."""
        self._arguments += arguments

    @property
    def announced_bus_port(self) -> int:
        """Where the other nodes connect: a proxy may lead to `bus_port`."""
        name = "--cluster-announce-bus-port"
        return int(_option(self, name)) if name in self.options else self.bus_port

    @property
    def is_primary(self) -> bool:
        return bool(self.raw("ROLE")[0] == b"master")


class ClusterClient(Cluster):
    """A client of a test, for which the whole cluster is one Redis."""

    async def execute_command(self, *args: Any, **options: Any) -> Any:
        """As in redis-py; what asks about all that there is asks all primaries."""
        name = str(args[0]).partition(" ")[0]
        if name == "EXISTS":
            return sum(await self.exchange([(name, key) for key in args[1:]]))
        if name not in ("CLIENT", "DBSIZE", "FLUSHALL", "FLUSHDB", "KEYS", "PUBSUB"):
            return await super().execute_command(*args, **options)
        # After a failover nothing has to have shown it yet.
        await self.nodes.refresh()
        nodes = await primaries_of(self)
        answers = [await node.execute_command(*args, **options) for node in nodes]
        return functools.reduce(operator.add, answers)

    async def scan_iter(  # type: ignore[override] # redis-py has the type of its other client
        self, *args: Any, **options: Any
    ) -> AsyncIterator[Any]:
        """As in redis-py."""
        for node in await primaries_of(self):
            async for key in node.scan_iter(*args, **options):
                yield key

    def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
        """As in redis-py, but never a transaction."""
        return super().pipeline(transaction=False)


class RedisCluster:
    """Primaries that share the slots evenly, and as many replicas of each as are asked for."""

    def __init__(
        self,
        *arguments: str,
        primaries: int = 3,
        replicas: int = 0,
        program: str | None = None,
    ) -> None:
        self.nodes = [
            ClusterNode(*arguments, program=program) for _ in range(primaries * (1 + replicas))
        ]
        self._primaries = primaries

    @property
    def url(self) -> str:
        """With the rights of the default user."""
        return f"redis+cluster://{','.join(node.name for node in self.nodes)}"

    def client(
        self,
        *,
        retries: int = 1,
        timeout: float = COMMAND_TIMEOUT,
        deadline: float | None = None,
        kind: type[ClusterClient] = ClusterClient,
    ) -> ClusterClient:
        """Of the default user, for a test; *timeout*: seconds until an answer; *deadline*: of a
        command with all attempts, by default the same."""
        # fmt: off
        return kind(
            parse_cluster_url(self.url), retries=retries, command_timeout=deadline or timeout,
            max_connections=50, timeout=timeout, socket_timeout=timeout,
            socket_connect_timeout=timeout, protocol=2, driver_info=None,
        )
        # fmt: on

    @property
    def gateway_url(self) -> str:
        return self.url_of(GATEWAY.name)

    def url_of(self, user: str) -> str:
        return self.url.replace("://", f"://{user}:{PASSWORD}@", 1)

    def start(self) -> None:
        """Start all, and wait until each of them serves."""
        with ThreadPoolExecutor(len(self.nodes)) as pool:
            list(pool.map(ClusterNode.start, self.nodes))
        first, *others = self.nodes
        for epoch, node in enumerate(self.nodes[: self._primaries]):
            node.raw("CLUSTER", "SET-CONFIG-EPOCH", epoch + 1)
            begin, end = (SLOTS * at // self._primaries for at in (epoch, epoch + 1))
            node.raw("CLUSTER", "ADDSLOTSRANGE", begin, end - 1)
        for node in others:
            first.raw("CLUSTER", "MEET", "127.0.0.1", node.port, node.announced_bus_port)
        _wait(lambda: all(_knows(node, len(self.nodes)) for node in self.nodes))
        for index, node in enumerate(self.nodes[self._primaries :]):
            node.raw("CLUSTER", "REPLICATE", self.nodes[index % self._primaries].id)
        self.settled()

    def settled(self) -> None:
        """Wait until each node that runs says that the cluster is well, and all replicas follow."""
        _wait(lambda: all(_is_well(node) for node in self.running))

    @property
    def running(self) -> list[ClusterNode]:
        return [node for node in self.nodes if node.runs]

    @property
    def primaries(self) -> list[ClusterNode]:
        """Those that run, in the order of their ids."""
        return sorted((node for node in self.running if node.is_primary), key=lambda node: node.id)

    def owner(self, key: str) -> ClusterNode:
        """The node that serves *key*, as the nodes say that are not suspended."""
        return self.owner_of_slot(key_slot(key.encode()))

    def owner_of_slot(self, slot: int) -> ClusterNode:
        """The node that serves *slot*; in a failover the first one that runs may not know it for a
        moment."""
        found: list[ClusterNode] = []

        def is_known() -> bool:
            ports = [
                int(primary[1])
                for first, last, primary, *_ in self.running[0].raw("CLUSTER", "SLOTS")
                if first <= slot <= last
            ]
            found[:] = [node for node in self.nodes if node.port in ports]
            return bool(found)

        _wait(is_known)
        return found[0]

    def replica_of(self, primary: ClusterNode) -> ClusterNode:
        """One that runs and follows *primary*."""
        [found, *_] = [
            node
            for node in self.running
            if (role := node.raw("ROLE"))[0] == b"slave" and role[2] == primary.port
        ]
        return found

    def promoted(self, port: int) -> None:
        """Wait until a node says that another one serves what the one at *port* did: that one
        knows it first."""
        _wait(lambda: any(_serves_without(node, port) for node in self.running))

    def fail_over(self, primary: ClusterNode) -> ClusterNode:
        """A planned failover to a replica of *primary*, which is returned."""
        replica = self.replica_of(primary)
        replica.raw("CLUSTER", "FAILOVER")
        _wait(lambda: replica.is_primary)
        return replica

    def begin_migration(self, slot: int, target: ClusterNode) -> None:
        """From now on *slot* moves to *target*."""
        source = self.owner_of_slot(slot)
        target.raw("CLUSTER", "SETSLOT", slot, "IMPORTING", source.id)
        source.raw("CLUSTER", "SETSLOT", slot, "MIGRATING", target.id)

    def migrate_keys(self, slot: int, target: ClusterNode, keys: Sequence[bytes] = ()) -> int:
        """Move some *keys* of *slot*, or all that are there; returns how many."""
        source = self.owner_of_slot(slot)
        moved = list(keys) or source.raw("CLUSTER", "GETKEYSINSLOT", slot, 1000)
        if moved:
            address = ("127.0.0.1", target.port, "", 0, 5000)
            source.raw("MIGRATE", *address, "KEYS", *moved)
        return len(moved)

    def move(self, slot: int, target: ClusterNode, *keys: str) -> None:
        """Move *slot* to *target*, and these of its keys first, one after the other."""
        self.begin_migration(slot, target)
        for key in keys:
            self.migrate_keys(slot, target, [key.encode()])
        self.end_migration(slot, target)
        assert self.owner_of_slot(slot) is target

    def end_migration(self, slot: int, target: ClusterNode) -> None:
        """*slot* is at *target* now, all its keys too."""
        source = self.owner_of_slot(slot)
        while self.migrate_keys(slot, target):
            pass
        for node in (target, source, *self.running):
            if node.is_primary:
                node.raw("CLUSTER", "SETSLOT", slot, "NODE", target.id)

    def command(self, *words: str) -> object:
        """Send one command as the default user: to the node of its key, or without a key to all
        primaries that run, and the first one's answer counts."""
        slot = slot_of(words)
        nodes = self.primaries if slot is None else [self.owner_of_slot(slot)]
        answer, *_ = [node.command(*words) for node in nodes]
        return answer

    def clean_up(self) -> None:
        for node in self.nodes:
            node.clean_up()


def _option(node: ClusterNode, name: str) -> str:
    options = node.options
    return options[options.index(name) + 1]


def _knows(node: ClusterNode, nodes: int) -> bool:
    lines = node.raw("CLUSTER", "NODES").decode().splitlines()
    return len(lines) == nodes and not any("handshake" in line for line in lines)


def _serves_all(node: ClusterNode) -> bool:
    info = node.raw("CLUSTER", "INFO").decode()
    return "cluster_state:ok" in info and f"cluster_slots_ok:{SLOTS}" in info


def _serves_without(node: ClusterNode, port: int) -> bool:
    owners = {primary[1] for _, _, primary, *_ in node.raw("CLUSTER", "SLOTS")}
    return port not in owners and _serves_all(node)


def _is_well(node: ClusterNode) -> bool:
    if not _serves_all(node):
        return False
    role = node.raw("ROLE")
    return bool(role[0] == b"master" or role[3] == b"connected")


def _wait(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + DEADLINE
    while not condition():
        assert time.monotonic() < deadline, "the cluster does not get there"
        time.sleep(0.02)
