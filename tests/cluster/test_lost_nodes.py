"""A node of a cluster without replicas is lost: the executions of the others go on."""

import asyncio
import time
from collections.abc import Callable, Sequence
from functools import partial

import pytest

from gateway.bus.cluster import Cluster
from gateway.bus.connection import COMMAND_TIMEOUT, create_redis, server_of
from gateway.bus.errors import REDIS_ERRORS, code_of
from gateway.bus.registry import CHECK_INTERVAL, Registry, UnregisteredWatch, register
from gateway.bus.revocations import COPY_SECONDS, VERSION_KEY
from gateway.contract.keys import events_key, meta_key
from gateway.contract.scripts import HistoryLimits
from tests.conftest import RunningGateway, StartGateway, credentials
from tests.harness.history import append, payload, record
from tests.harness.redis_cluster import ClusterNode, RedisCluster
from tests.sets.support import of, open_set
from tests.support import eventually, producer_message

pytestmark = [pytest.mark.long, pytest.mark.alone]

StartCluster = Callable[..., RedisCluster]

HOUR_MS = 3_600_000

FEW = 1.5
"""Seconds in which what goes to another node is answered; with a lost one it would be five."""


@pytest.fixture
def cluster(redis_cluster: StartCluster) -> RedisCluster:
    return redis_cluster("--cluster-require-full-coverage", "no")


def lost_and_others(cluster: RedisCluster, key: str) -> tuple[ClusterNode, str, list[str]]:
    """The node of *key*, an execution of its own and some of the others."""
    lost = cluster.owner(key)
    runs = [f"run-{number}" for number in range(30)]
    own = [one for one in runs if cluster.owner(meta_key(one)) is lost]
    return lost, own[0], [one for one in runs if one not in own][:6]


@pytest.mark.parametrize("hangs", [False, True])
async def test_commands_to_other_nodes_do_not_wait(cluster: RedisCluster, hangs: bool) -> None:
    lost, own, others = lost_and_others(cluster, meta_key("run-1"))
    async with create_redis(cluster.gateway_url, max_connections=4) as client:
        assert isinstance(client, Cluster)
        await asyncio.gather(*(client.hset(meta_key(one), "a", "1") for one in (own, *others)))
        await asyncio.to_thread(lost.suspend if hangs else lost.kill)
        began = time.monotonic()
        waiting = asyncio.ensure_future(client.hget(meta_key(own), "a"))
        while not waiting.done():
            asked = time.monotonic()
            assert await client.hget(meta_key(others[0]), "a") == b"1"
            assert time.monotonic() - asked < FEW
        with pytest.raises(REDIS_ERRORS) as refused:
            await waiting
        assert code_of(refused.value) == ("timeout" if hangs else "unreachable")
        assert time.monotonic() - began < 7
        # Known to be lost by now: nothing waits for it any more.
        await eventually(lambda: _fails_at_once(client, own))
        async with client.pipeline(transaction=False) as pipeline:
            for one in (own, *others):
                pipeline.hget(meta_key(one), "a")
            asked = time.monotonic()
            answers = await pipeline.execute(raise_on_error=False)
        assert time.monotonic() - asked < FEW
        assert isinstance(answers[0], Exception)
        assert answers[1:] == [b"1"] * 6
        # Nor does the look at who serves what.
        asked = time.monotonic()
        await client.nodes.tick()
        assert time.monotonic() - asked < FEW


async def _fails_at_once(client: Cluster, execution_id: str) -> bool:
    asked = time.monotonic()
    [answer] = await client.exchange([("HGET", meta_key(execution_id), "a")])
    return isinstance(answer, Exception) and time.monotonic() - asked < FEW


async def ready(gateway: RunningGateway) -> tuple[int, str]:
    async with gateway.session.get(f"{gateway.server.admin_url}/ready") as response:
        return response.status, await response.text()


async def test_health_names_the_node_and_other_executions_go_on(
    cluster: RedisCluster, start_gateway: StartGateway
) -> None:
    """Where the node also has the revocations: their copy is enough for ten seconds, then nobody
    new is let in, and open streams go on all the same."""
    lost, own, others = lost_and_others(cluster, VERSION_KEY)
    async with cluster.client() as client:
        for one in (own, *others):
            await register(client, one, "acme")
    gateway = await start_gateway(
        ownership="registry", redis_url=cluster.gateway_url, admin_port=0, ownership_wait_seconds=2
    )
    open_ones = {one: await gateway.open(one) for one in (own, *others[:3])}
    node_id = lost.id
    await asyncio.to_thread(lost.kill)
    killed = time.monotonic()
    speaker = next(node for node in cluster.running if node is not lost)

    def publish(execution_id: str, event: str) -> None:
        message = producer_message(event).decode()
        speaker.command("PUBLISH", f"execution:{execution_id}", message)

    named = f"({node_id[:8]})"
    status, text = await eventually(lambda: _names(gateway, named), timeout=5)
    assert (status, "degraded" in text) == (200, True)
    assert named in (await gateway.health())[1]["reason"]
    publish(own, "waits")
    for one in others[:3]:
        publish(one, "bare")
        assert (await open_ones[one].expect("bare", timeout=3)).id
    # Its own executions are unavailable, and no others.
    refusal = asyncio.create_task(_refused(gateway, own))
    began = time.monotonic()
    reader = await gateway.open(others[4])
    assert time.monotonic() - began < 2
    assert await refusal
    publish(others[4], "bare")
    assert (await reader.expect("bare", timeout=3)).id
    await eventually(lambda: _refused(gateway, others[5]), timeout=COPY_SECONDS + 8)
    assert time.monotonic() - killed > COPY_SECONDS - 2
    publish(others[0], "later")
    await open_ones[others[0]].expect("later", timeout=3)
    await asyncio.to_thread(lost.start)
    await eventually(gateway.healthy)
    # What arrived for the lost node was kept until it could be recorded.
    assert (await open_ones[own].expect("waits")).id
    await gateway.open(others[5])


async def _names(gateway: RunningGateway, named: str) -> tuple[int, str] | None:
    """When that is all, so the subscription is at another node by now, if it was at this one."""
    status, text = await ready(gateway)
    return (status, text) if named in text and status == 200 else None


async def _refused(gateway: RunningGateway, execution_id: str) -> bool:
    url = gateway.stream_url(execution_id)
    async with gateway.session.get(url, headers=credentials()) as response:
        return response.status == 503


async def test_a_node_that_has_lost_its_data_is_noticed(
    cluster: RedisCluster, start_gateway: StartGateway
) -> None:
    gateway = await start_gateway(ownership="registry", redis_url=cluster.gateway_url)
    presence = gateway.components.presence
    await eventually(lambda: len(presence._written_at) == 3)
    for node in cluster.primaries:
        losses = gateway.components.metrics.storage_losses + 1
        node.raw("FLUSHALL")
        gateway.components.questions.ask_soon("presence")
        await eventually(partial(_has_lost, gateway, losses))


def _has_lost(gateway: RunningGateway, times: int) -> bool:
    return gateway.components.metrics.storage_losses == times


async def test_only_what_a_lost_node_could_not_answer_is_asked_for_again_soon(
    redis_cluster: StartCluster,
) -> None:
    """Whose history a plain HSET has registered is kept at once where its node answers, and within
    seconds where that one is back."""
    cluster = redis_cluster(
        "--cluster-require-full-coverage", "no", "--appendonly", "yes", "--appendfsync", "always"
    )
    lost, own, others = lost_and_others(cluster, meta_key("run-0"))
    asked = list[set[str]]()

    class Noted(Registry):
        async def keep_registered(
            self, execution_ids: Sequence[str], limits: HistoryLimits
        ) -> dict[str, bool]:
            asked.append({*execution_ids})
            return await super().keep_registered(execution_ids, limits)

    gateways = create_redis(cluster.gateway_url, max_connections=4)
    async with gateways, cluster.client() as client:
        watch = UnregisteredWatch(Noted(gateways))
        for one in (own, *others):
            await record(client, one, payload("a"), unregistered_ttl_ms=HOUR_MS)
            await client.hset(meta_key(one), "organization_id", "acme")
            watch.note_events(one, 1)

        async def kept(*executions: str) -> bool:
            times = [await client.pttl(events_key(one)) for one in executions]
            return min(times) > HOUR_MS

        assert watch.tick_seconds <= 5
        await asyncio.to_thread(lost.kill)
        for _ in range(round(CHECK_INTERVAL / watch.tick_seconds)):
            await (watch.tick() or asyncio.sleep(0))
        assert await kept(*others)
        await asyncio.to_thread(lost.start)

        async def is_kept() -> bool:
            # As a gateway does each second, which sees then that the node answers.
            await server_of(gateways).tick()
            await (watch.tick() or asyncio.sleep(0))
            return await kept(own)

        await eventually(is_kept)
    assert asked[0] == {own, *others}
    assert all(some == {own} for some in asked[1:])


async def test_a_set_opens_and_executions_of_a_lost_node_follow(
    redis_cluster: StartCluster, start_gateway: StartGateway
) -> None:
    """Their owners are asked for when it is back: those of another organization are absent."""
    cluster = redis_cluster(
        "--cluster-require-full-coverage", "no", "--appendonly", "yes", "--appendfsync", "always"
    )
    lost, own, [other, *_] = lost_and_others(cluster, meta_key("run-0"))
    foreign = next(
        one for one in map("foreign-{}".format, range(30)) if cluster.owner(meta_key(one)) is lost
    )
    gateway = await start_gateway(
        ownership="registry", redis_url=cluster.gateway_url, ownership_wait_seconds=0.5
    )
    asked = [own, foreign, other]
    async with cluster.client() as client:
        for one, organization in zip(asked, ("acme", "globex", "acme"), strict=True):
            await register(client, one, organization)
            await append(client, one, "before")
        node_id = lost.id
        await asyncio.to_thread(lost.kill)
        health = gateway.components.health
        await eventually(lambda: node_id[:8] in str(health.status().reasons))
        reader, _ = await open_set(gateway, asked)
        assert (await reader.expect("before")).json()["execution_id"] == other
        await asyncio.to_thread(lost.start)
        await eventually(gateway.healthy)
        for one in asked:
            await append(client, one, "execution:completed")
    seen = await reader.rest()
    assert [one.event for one in of(seen, own)] == ["before", "execution:completed", "stream:ended"]
    assert [one.event for one in of(seen, foreign)] == ["stream:absent"]


async def test_a_set_reads_on_while_executions_of_a_node_that_hangs_come_first(
    cluster: RedisCluster, start_gateway: StartGateway
) -> None:
    """They read history by turns, one at a time in so small a set, and that one answers to none."""
    lost = cluster.primaries[-1]
    runs = [f"run-{number}" for number in range(60)]
    own = [one for one in runs if cluster.owner(meta_key(one)) is lost][:9]
    other = next(one for one in runs if cluster.owner(meta_key(one)) is not lost)
    gateway = await start_gateway(ownership="token", redis_url=cluster.gateway_url)
    async with cluster.client() as client:
        for one in (*own, other):
            await append(client, one, "before")
        await asyncio.to_thread(lost.suspend)
        reader, _ = await open_set(gateway, [*own, other])
        seen = await reader.expect("before", timeout=COMMAND_TIMEOUT)
        assert seen.json()["execution_id"] == other
        await asyncio.to_thread(lost.resume)
        found = [(await reader.expect("before")).json()["execution_id"] for _ in own]
    assert sorted(found) == sorted(own)
