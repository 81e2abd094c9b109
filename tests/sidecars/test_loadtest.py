"""A load test through nginx and TLS: what operators have in front of the gateway."""

from pathlib import Path

from redis.asyncio import Redis

from gateway.tools.loadtest.plan import Plan, Target
from gateway.tools.loadtest.run import LoadTest
from tests.conftest import StartGateway, credentials
from tests.harness.nginx import Nginx


async def test_through_nginx_and_tls(
    start_gateway: StartGateway, redis_url: str, redis: Redis, tmp_path: Path
) -> None:
    """All tabs get all their events through nginx and TLS, also after they were all dropped at
    once."""
    gateway = await start_gateway(ownership="registry")
    nginx = Nginx(tmp_path, gateway.url, tls=True)
    nginx.start()
    try:
        target = Target(
            url=nginx.url,
            publish_url=redis_url,
            organization="acme",
            token=credentials()["Authorization"].removeprefix("Bearer "),
            insecure=True,
        )
        plan = Plan(tabs=30, executions=3, events=20, rate=60, storm=True)
        found = await LoadTest(target, plan).run()
    finally:
        nginx.stop()
    assert found.ok, found
    assert (found.received, found.reconnects) == (600, 30)
