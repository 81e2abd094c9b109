"""A load test publishes where its gateway hears it, or says that nobody does."""

from collections.abc import Callable

import pytest

from gateway.contract.keys import PublishTo
from gateway.tools.loadtest.plan import Plan, Target
from gateway.tools.loadtest.producer import NobodyListens
from gateway.tools.loadtest.run import LoadTest
from tests.conftest import StartGateway, credentials
from tests.harness.redis_cluster import RedisCluster
from tests.harness.redis_process import Masters

TOKEN = credentials()["Authorization"].removeprefix("Bearer ")

WATCHING = {"subscription": "execution", "record_bare_events": "off", "recorder": False}
"""Without a recorder it hears nothing that is only PUBLISHed."""


def load_test(url: str, redis_url: str, publish_to: PublishTo) -> LoadTest:
    target = Target(
        url=url, publish_url=redis_url, organization="acme", token=TOKEN, publish_to=publish_to
    )
    return LoadTest(target, Plan(tabs=6, executions=3, events=5, rate=500, idle_timeout=5))


@pytest.fixture(params=["single", "sentinel", "cluster"])
def redis_of(request: pytest.FixtureRequest) -> Callable[[], str]:
    """The URL of each kind of Redis."""

    def url() -> str:
        if request.param == "cluster":
            cluster: RedisCluster = request.getfixturevalue("cluster")
            return cluster.url
        masters: Masters = request.getfixturevalue("masters")
        return masters.url if request.param == "sentinel" else masters.first.url

    return url


@pytest.mark.parametrize("publish_to", ["execution", "both"])
async def test_single_executions(
    redis_of: Callable[[], str], start_gateway: StartGateway, publish_to: PublishTo
) -> None:
    """Every tab gets each of its events once, of a gateway that hears nothing else."""
    url = redis_of()
    gateway = await start_gateway(redis_url=url, **WATCHING)
    findings = await load_test(gateway.server.url, url, publish_to).run()
    assert (findings.ok, findings.received, findings.lost) == (True, 30, 0)


async def test_the_pattern_of_a_cluster(cluster: RedisCluster, start_gateway: StartGateway) -> None:
    gateway = await start_gateway(redis_url=cluster.url)
    findings = await load_test(gateway.server.url, cluster.url, "pattern").run()
    assert (findings.ok, findings.received, findings.unheard) == (True, 30, 0)


@pytest.mark.parametrize(
    ("settings", "publish_to", "advice"),
    [
        (WATCHING, "pattern", "--publish-to=execution"),
        ({"publish_to": "both"}, "execution", "--publish-to=pattern"),
    ],
)
async def test_nobody_listens(
    redis_url: str,
    start_gateway: StartGateway,
    settings: dict[str, object],
    publish_to: PublishTo,
    advice: str,
) -> None:
    """It is said at once, with what to change, and nothing is published."""
    gateway = await start_gateway(redis_url=redis_url, **settings)
    test = load_test(gateway.server.url, redis_url, publish_to)
    with pytest.raises(NobodyListens, match=advice):
        await test.run()
    assert test.published == 0
