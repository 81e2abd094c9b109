"""The clocks of a cluster's nodes differ: two gateways agree all the same on what they record."""

import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from redis.crc import key_slot

from gateway.contract.keys import events_key, meta_key
from tests.conftest import RunningGateway, StartGateway
from tests.harness.redis_cluster import ClusterNode, RedisCluster
from tests.harness.redis_process import server_program
from tests.support import eventually, require

pytestmark = pytest.mark.long

SOURCE = Path(__file__).parents[1] / "harness" / "clock.c"


class Clocks:
    """A cluster whose nodes each have a clock that the test sets."""

    def __init__(self, start: Callable[..., RedisCluster], directory: Path) -> None:
        compiler = require("cc")
        library, program = directory / "clock.so", directory / "server"
        subprocess.run([compiler, "-shared", "-fPIC", "-o", library, SOURCE], check=True)
        # Its first two arguments are --port and the port.
        program.write_text(
            f'#!/bin/sh\nCLOCK_FILE="{directory}/$2" LD_PRELOAD="{library}" '
            f'exec "{server_program()}" "$@"\n'
        )
        program.chmod(0o700)
        self._directory = directory
        # A node whose clock is set takes the others for silent.
        self.cluster = start("--cluster-node-timeout", "15000", program=str(program))

    def set(self, node: ClusterNode, seconds: int) -> None:
        """The clock of *node* is so many *seconds* ahead."""
        before = self.time(node)
        file = self._directory / str(node.port)
        file.with_suffix(".new").write_text(str(seconds))
        file.with_suffix(".new").replace(file)
        assert abs(self.time(node) - before - seconds) < 1

    @staticmethod
    def time(node: ClusterNode) -> float:
        """What its clock says."""
        seconds, microseconds = node.raw("TIME")
        return float(seconds) + float(microseconds) / 10**6


@pytest.fixture
def clocks(redis_cluster: Callable[..., RedisCluster], tmp_path: Path) -> Clocks:
    return Clocks(redis_cluster, tmp_path)


class Fleet:
    """Two gateways, and an execution at each node."""

    def __init__(self, cluster: RedisCluster, gateways: list[RunningGateway]) -> None:
        self._cluster = cluster
        self._all = [gateway.components for gateway in gateways]
        self._published = 0
        runs = [f"run-{number}" for number in range(30)]
        by_node = {cluster.owner(meta_key(one)): one for one in runs}
        self.executions = [by_node[node] for node in cluster.primaries]
        """In the order of their nodes; the gateways subscribe at the first."""

    async def publish(self, *names: str) -> None:
        """The same messages for each execution, at one node; each gateway records them."""
        for name in names:
            for one in self.executions:
                message = f'{{"type":"{name}","timestamp":"2026-01-31T12:00:00.000Z"}}'
                self._cluster.primaries[1].command("PUBLISH", f"execution:{one}", message)
        self._published += len(names) * len(self.executions)
        await eventually(
            lambda: all(one.metrics.events_received == self._published for one in self._all)
        )

    async def subscribe_again(self) -> None:
        """Each gateway begins another session."""
        before = [one.metrics.feed_connections for one in self._all]
        self._cluster.primaries[0].command("CLIENT", "KILL", "TYPE", "pubsub")

        def begun() -> bool:
            return all(
                one.metrics.feed_connections > then and one.subscription.problem is None
                for one, then in zip(self._all, before, strict=True)
            )

        await eventually(begun)

    async def kept(self) -> list[list[str]]:
        """The events that Redis has of each execution."""
        async with self._cluster.client() as client:
            histories: list[Any] = [await client.xrange(events_key(one)) for one in self.executions]
        return [
            [orjson.loads(fields[b"event"])["type"] for _, fields in history]
            for history in histories
        ]


@pytest.mark.parametrize("seconds", [2, -2])
async def test_nothing_is_recorded_twice_and_no_equal_message_vanishes(
    clocks: Clocks, start_gateway: StartGateway, seconds: int
) -> None:
    """The clock of the node where they subscribe is ahead of the others, or behind."""
    clocks.set(clocks.cluster.primaries[0], seconds)
    options: dict[str, Any] = {"ownership": "token", "redis_url": clocks.cluster.gateway_url}
    fleet = Fleet(clocks.cluster, [await start_gateway(**options) for _ in range(2)])
    await fleet.publish("one")
    await fleet.subscribe_again()
    await fleet.publish("one", "two")
    assert await fleet.kept() == [["one", "one", "two"]] * 3


@pytest.mark.parametrize("seconds", [2, -2])
async def test_a_slot_that_moves_to_a_node_with_another_clock(
    clocks: Clocks, start_gateway: StartGateway, seconds: int
) -> None:
    """Nothing is recorded twice, though the sessions began by the clock of the former node."""
    target = clocks.cluster.primaries[0]
    clocks.set(target, seconds)
    options: dict[str, Any] = {"ownership": "token", "redis_url": clocks.cluster.gateway_url}
    fleet = Fleet(clocks.cluster, [await start_gateway(**options) for _ in range(2)])
    await fleet.publish("one")
    await fleet.subscribe_again()
    slot = key_slot(meta_key(fleet.executions[2]).encode())
    clocks.cluster.begin_migration(slot, target)
    clocks.cluster.end_migration(slot, target)
    await fleet.publish("two")
    assert await fleet.kept() == [["one", "two"]] * 3
