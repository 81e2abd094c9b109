"""`check`, the printed rights and a start, with a cluster."""

import pytest

from gateway.contract.acl import GATEWAY, IN_CLUSTER, ROLES
from gateway.errors import ConfigurationError
from gateway.server import serve
from gateway.settings import check_redis_url
from gateway.tools.check.finding import Finding, Level
from gateway.tools.check.redis_server import check_redis
from tests.conftest import MakeSettings
from tests.harness.gateway_process import run
from tests.harness.redis_cluster import RedisCluster
from tests.harness.redis_process import RedisProcess


def errors(found: list[Finding]) -> list[str]:
    return [one.sentence for one in found if one.level is Level.ERROR]


async def test_check_names_each_primary_and_that_it_records(
    cluster: RedisCluster, make_settings: MakeSettings
) -> None:
    """With the rights that `check --acl` prints and no others."""
    found = await check_redis(make_settings(redis_url=cluster.gateway_url))
    assert errors(found) == []
    said = {one.sentence for one in found}
    assert any(one.startswith("The cluster has 3 primaries: 127.0.0.1:") for one in said)
    assert {f"127.0.0.1:{node.port} records events." for node in cluster.primaries} <= said
    assert {f"Redis 127.0.0.1:{node.port}" for node in cluster.primaries} <= {
        one.about for one in found
    }
    assert "Redis allows the gateway's user all that a gateway does." in said


@pytest.mark.long
async def test_check_names_a_right_that_is_missing_at_one_node(
    cluster: RedisCluster, make_settings: MakeSettings
) -> None:
    node = cluster.primaries[-1]
    node.raw("ACL", "SETUSER", GATEWAY.name, "-asking", "-psubscribe")
    try:
        found = await check_redis(make_settings(redis_url=cluster.gateway_url))
    finally:
        node.raw("ACL", "SETUSER", GATEWAY.name, "+asking", "+psubscribe")
    [sentence] = errors(found)
    assert sentence.endswith("what the gateway calls: ASKING, PSUBSCRIBE.")


async def test_the_rights_for_a_cluster_are_printed(cluster: RedisCluster) -> None:
    """Every role can find the slots, and follow one that moves; only with the cluster's URL."""
    _, out, _ = await run("check", "--acl", REDIS_URL=cluster.url)
    for command in IN_CLUSTER:
        assert out.count(f"+{command.lower()}") == len(ROLES)
    assert out.startswith("# At each node of the cluster:")
    _, out, _ = await run("check", "--acl", REDIS_URL="redis://localhost:6379")
    assert "cluster" not in out
    assert "asking" not in out


async def test_the_wrong_kind_of_url_is_refused_at_start(
    cluster: RedisCluster,
    redis_server: RedisProcess,
    make_settings: MakeSettings,
) -> None:
    single = f"redis+cluster://127.0.0.1:{redis_server.port}"
    node = f"redis://127.0.0.1:{cluster.nodes[0].port}"
    for url, sentence in (
        (single, "REDIS_URL: Redis is not a node of a cluster: let REDIS_URL begin with redis://"),
        (node, r"REDIS_URL: Redis is a node of a cluster \(MOVED\): let REDIS_URL begin with"),
    ):
        settings = make_settings(redis_url=url)
        with pytest.raises(ConfigurationError, match=sentence):
            await serve(settings, ready=lambda *_: None, reread=lambda: settings)  # noqa: B023
        found = errors(await check_redis(settings))
        assert any(sentence.replace("\\", "").split(": ")[1] in one for one in found), found


@pytest.mark.parametrize(
    ("url", "why"),
    [
        ("redis+cluster://", "name one or more nodes of the cluster"),
        ("redis+cluster://user:pass@host:6379/1", "a cluster has only database 0"),
        ("redis+cluster://host:6379?db=3", "a cluster has only database 0"),
        ("redis+cluster://host:6379/0?ssl_ca_certs=/ca.pem", "ssl_ca_certs"),
        ("rediss+cluster://host:port", "it is not a URL"),
    ],
)
def test_a_url_that_names_no_cluster_is_refused(url: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refusal:
        check_redis_url(url)
    assert "pass@" not in str(refusal.value)


def test_a_url_of_a_cluster_may_name_nodes_without_a_port() -> None:
    url = "rediss+cluster://user:p%40ss@a,b:7001/0?client_name=x&ssl_check_hostname=false"
    assert check_redis_url(url) == url
