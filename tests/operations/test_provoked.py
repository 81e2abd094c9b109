"""Alerts for what users notice, each provoked: real gateways, scraped by a real Prometheus."""

import asyncio
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path
from typing import Any

import aiohttp
import orjson
import pytest
from redis.asyncio import Redis

from gateway.access import jwks
from gateway.bus import revocations
from gateway.bus.presence import Presence
from gateway.publisher import Publisher, PublishFailed
from gateway.settings import load
from tests.access.jwks_server import start_issuer
from tests.conftest import RunningGateway, StartGateway
from tests.harness.program import Program, running
from tests.harness.redis_process import RedisProcess
from tests.operations.test_prometheus import ALERTS
from tests.support import eventually, free_port, require

MINUTE = 1.0
"""Seconds that a minute of the rules takes here: each window, each `for`, and each age."""

LONGEST = 5
"""What is longer is as many of these minutes."""

EXPECTED = {
    "tokens": "SseGatewayTokensRefused",
    "backend": "SseGatewayUnavailable",
    "registry": "SseGatewayExecutionsNotFound",
    "silent": "SseGatewayNoEvents",
    "revocations": "SseGatewayRevocationsStale",
    "others": "SseGatewaySettingsDiffer",
    "keys": "SseGatewayKeysOld",
    "reload": "SseGatewayReloadFailed",
    "full": "SseGatewayNotRecording",
    "emptied": "SseGatewayStorageLost",
}
"""The alert of each gateway, by its instance."""


def hurried(rules: str) -> str:
    """*rules* with minutes of `MINUTE` seconds."""

    def seconds(found: re.Match[str]) -> float:
        return min(int(found[1]), LONGEST) * MINUTE

    rules = re.sub(r"\b(\d+)m\b", lambda found: f"{seconds(found) * 1000:.0f}ms", rules)
    rules = re.sub(r"\b(\d+) \* 60\n", lambda found: f"{seconds(found)}\n", rules)
    # Revocations are looked at once a second, here too.
    return rules.replace("age_seconds > 30", "age_seconds > 3")


class Prometheus(Program):
    """A server that scrapes gateways, and applies the hurried rules."""

    def __init__(self, directory: Path, targets: dict[str, str]) -> None:
        """*targets*: addresses by instance."""
        (directory / "alerts.yml").write_text(hurried(ALERTS.read_text()))
        jobs = [
            {"targets": [url.removeprefix("http://")], "labels": {"instance": name}}
            for name, url in targets.items()
        ]
        every = f"{MINUTE * 1000:.0f}ms"
        settings = {
            "global": {
                "scrape_interval": every,
                "scrape_timeout": every,
                "evaluation_interval": every,
            },
            "rule_files": ["alerts.yml"],
            "scrape_configs": [{"job_name": "sse-gateway", "static_configs": jobs}],
        }
        # JSON is YAML.
        file = directory / "prometheus.yml"
        file.write_bytes(orjson.dumps(settings))
        self.url = f"http://127.0.0.1:{free_port()}"
        super().__init__(
            require("prometheus"),
            f"--config.file={file}",
            f"--storage.tsdb.path={directory / 'data'}",
            f"--web.listen-address={self.url.removeprefix('http://')}",
            environment={},
        )

    async def query(self, session: aiohttp.ClientSession, query: str) -> list[dict[str, str]]:
        """The labels of all series that *query* finds now."""
        with suppress(aiohttp.ClientError):
            url = f"{self.url}/api/v1/query"
            async with session.get(url, params={"query": query}) as response:
                return [one["metric"] for one in (await response.json())["data"]["result"]]
        return []

    async def fired(self, session: aiohttp.ClientSession) -> set[tuple[str, str]]:
        """The alerts that have fired so far, each with its instance."""
        found = await self.query(session, 'count_over_time(ALERTS{alertstate="firing"}[5m])')
        return {(one["instance"], one["alertname"]) for one in found}


@pytest.fixture
async def again() -> AsyncIterator[Callable[[Callable[[], Awaitable[Any]]], None]]:
    """Calls what it is given again and again, until the end of the test; three at once, so that the
    rate of calls hardly depends on how long one takes."""
    async with AsyncExitStack() as stack:

        def start(call: Callable[[], Awaitable[Any]]) -> None:
            async def loop() -> None:
                while True:
                    await call()
                    await asyncio.sleep(MINUTE / 3)

            for _ in range(3):
                stack.callback(asyncio.create_task(loop()).cancel)

        yield start


async def test_each_alert_fires_when_it_is_provoked(
    start_gateway: StartGateway,
    redis_process: Callable[..., RedisProcess],
    again: Callable[[Callable[[], Awaitable[Any]]], None],
    aiohttp_server: Any,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """And none of these of a gateway that is well."""
    monkeypatch.setattr(jwks, "REFRESH_SECONDS", MINUTE)
    monkeypatch.setattr(Presence, "rounds", 1)
    gateways: dict[str, RunningGateway] = {}

    async def start(name: str, **settings: Any) -> RunningGateway:
        gateways[name] = await start_gateway(
            **{"ownership": "token", "admin_port": 0, "wait": name != "full", **settings}
        )
        return gateways[name]

    async def refuse(name: str, **headers: str) -> None:
        async with await gateways[name].get("run-1", **headers) as response:
            assert response.status in (401, 404, 503)

    await start("well", redis_url=redis_process().url)
    await start("tokens")
    nobody = f"http://127.0.0.1:{free_port()}/{{execution_id}}"
    await start("backend", ownership="backend", backend_url=nobody, ownership_wait_seconds=0.05)
    # In less time Redis may not have answered on a busy machine, which is another refusal.
    await start("registry", ownership="registry", ownership_wait_seconds=0.25)
    await start("silent")
    await gateways["silent"].open("run-1")
    again(lambda: refuse("tokens", Authorization="Bearer of-another.issuer"))
    again(lambda: refuse("backend"))
    again(lambda: refuse("registry"))

    shared = redis_process().url
    async with Redis.from_url(shared) as client:
        await client.set(revocations.VERSION_KEY, "1")
        await client.set(revocations.MEMBERS_KEY, "of another program")
    await start("revocations", redis_url=shared)
    await start("others", redis_url=shared, history_max_events=77)

    issuer = await start_issuer(aiohttp_server)
    await start("keys", jwt_secret=None, jwks_url=issuer.url, jwt_algorithms="RS256")
    issuer.fail()

    await start("reload")
    gateways["reload"].server.reload(lambda: load(queue_events=0))

    full = redis_process("--maxmemory", "1", "--maxmemory-policy", "noeviction").url
    await start("full", redis_url=full, record_bare_events=False)
    async with Publisher(full, deadline=0.3) as publisher:
        with pytest.raises(PublishFailed):
            await publisher.publish("run-1", "step:started", {})

    emptied = redis_process().url
    async with Redis.from_url(emptied) as client:
        await client.hset("sse:{run-1}:meta", "organization_id", "acme")
        gateway = await start("emptied", redis_url=emptied, ownership="registry")
        await gateway.open("run-1")

        targets = {name: str(one.server.admin_url) for name, one in gateways.items()}
        async with running(Prometheus(tmp_path, targets)) as prometheus:
            fired: set[tuple[str, str]] = set()
            before = 'sse_gateway_storage_losses_total{instance="emptied"}'
            # A first value: without it nothing has increased.
            await eventually(lambda: prometheus.query(gateway.session, before))
            with suppress(TimeoutError):
                async with asyncio.timeout(40):
                    while not set(EXPECTED.items()) <= fired:
                        # Again, since a busy machine may miss the scrapes around one loss.
                        await client.flushall()
                        await asyncio.sleep(MINUTE)
                        fired = await prometheus.fired(gateway.session)
        assert set(EXPECTED.items()) - fired == set()
        # On a busy machine its event loop may be late, of which other alerts tell.
        assert {alert for name, alert in fired if name == "well"} & {*EXPECTED.values()} == set()
