"""A cluster whose clients and nodes speak TLS."""

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from redis.crc import key_slot

from gateway.contract.acl import GATEWAY, PUBLISHER
from gateway.contract.keys import meta_key
from gateway.publisher import Publisher, SyncPublisher
from gateway.tools.check.finding import Level
from gateway.tools.check.redis_server import check_redis
from tests.conftest import MakeSettings, StartGateway
from tests.harness.certificates import Pair, make_authority, sign
from tests.harness.redis_cluster import RedisCluster
from tests.harness.redis_process import PASSWORD
from tests.support import eventually, free_port, producer_message, require

pytestmark = pytest.mark.long

RUNS = [f"run-{number}" for number in range(6)]


class TlsCluster(RedisCluster):
    """A test talks to its nodes as usual; clients with a URL of `tls_url` at other ports."""

    def __init__(self, authority: Pair, pair: Pair) -> None:
        # Valkey's wheel speaks no TLS.
        super().__init__(program=require("redis-server"))
        self._authority = authority
        self.ports = [free_port() for _ in self.nodes]
        for node, port in zip(self.nodes, self.ports, strict=True):
            # fmt: off
            node.add(
                "--tls-port", str(port), "--tls-cluster", "yes", "--tls-auth-clients", "no",
                "--tls-ca-cert-file", str(authority.certificate),
                "--tls-cert-file", str(pair.certificate), "--tls-key-file", str(pair.key),
            )
            # fmt: on

    def tls_url(self, user: str) -> str:
        """With the rights of *user*."""
        nodes = ",".join(f"127.0.0.1:{port}" for port in self.ports)
        certificates = f"ssl_ca_certs={self._authority.certificate}"
        return f"rediss+cluster://{user}:{PASSWORD}@{nodes}?{certificates}"

    def clients(self, user: str) -> set[int]:
        """The ports to which clients of *user* are connected."""
        lines = [line for node in self.nodes for line in node.raw("CLIENT", "LIST").splitlines()]
        fields = [dict(one.split(b"=", 1) for one in line.split()) for line in lines]
        return {
            int(one[b"laddr"].rpartition(b":")[2])
            for one in fields
            if one[b"user"] == user.encode()
        }


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[TlsCluster]:
    authority = make_authority(tmp_path, "authority")
    cluster = TlsCluster(authority, sign(authority, "node"))
    cluster.start()
    yield cluster
    cluster.clean_up()


@pytest.mark.parametrize("subscription", ["pattern", "execution"])
async def test_all_that_talks_to_a_cluster_speaks_tls(
    cluster: TlsCluster, start_gateway: StartGateway, make_settings: MakeSettings
) -> None:
    """Gateways of both kinds, publishers of both kinds, and `check`; also where a slot has moved,
    of which a node tells the address."""
    gateway = await start_gateway(ownership="token", redis_url=cluster.tls_url(GATEWAY.name))
    readers = [await gateway.open(one) for one in RUNS]
    slot = key_slot(meta_key(RUNS[0]).encode())
    target = next(node for node in cluster.primaries if node is not cluster.owner_of_slot(slot))
    url = cluster.tls_url(PUBLISHER.name)
    with SyncPublisher(url) as threads:
        async with Publisher(url) as publisher:
            # It asks once who serves what.
            await publisher.publish(RUNS[1], "by:publisher", {})
            await asyncio.to_thread(threads.publish, RUNS[1], "by:thread", {})
            await asyncio.to_thread(cluster.move, slot, target)
            for one in (RUNS[0], *RUNS[2:]):
                await publisher.publish(one, "by:publisher", {})
                await asyncio.to_thread(threads.publish, one, "by:thread", {})
            assert cluster.clients(PUBLISHER.name) == set(cluster.ports)
    for one, reader in zip(RUNS, readers, strict=True):
        assert (await reader.expect("by:publisher")).id
        assert (await reader.expect("by:thread")).id
        target.command("PUBLISH", f"execution:{one}", producer_message("bare").decode())
    if gateway.components.intake.recorder is not None:
        for reader in readers:
            assert (await reader.expect("bare")).id
    await eventually(gateway.healthy)
    assert cluster.clients(GATEWAY.name) == set(cluster.ports)


async def test_check_looks_at_a_cluster_over_tls(
    cluster: TlsCluster, make_settings: MakeSettings
) -> None:
    """And says what is wrong where the authority of its certificates is not trusted."""
    url = cluster.tls_url(GATEWAY.name)
    found = await check_redis(make_settings(redis_url=url))
    assert [one.sentence for one in found if one.level is Level.ERROR] == []
    assert any(one.sentence.startswith("The cluster has 3 primaries") for one in found)
    found = await check_redis(make_settings(redis_url=url.partition("?")[0]))
    [sentence] = [one.sentence for one in found if one.level is Level.ERROR]
    assert "The certificate of Redis is not trusted" in sentence
