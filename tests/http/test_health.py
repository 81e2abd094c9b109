"""Health is what has just been shown: a canary that came back on the streams' own subscription."""

import time
from collections.abc import Callable

import orjson
import pytest

from gateway.bus.probe import Probe, wrong_server
from gateway.errors import ConfigurationError
from gateway.server import serve
from tests.conftest import MakeSettings, RunningGateway, StartGateway
from tests.harness.redis_process import RedisProcess
from tests.harness.sse import SseReader
from tests.operations.exposition import families
from tests.support import cancel_task, eventually, free_port, producer_message

WITHIN = 10.0
"""Seconds in which a problem, and its end, must show."""

StartRedis = Callable[..., RedisProcess]


async def becomes(gateway: RunningGateway, status: str, why: str = "") -> dict[str, str]:
    async def shows() -> dict[str, str] | None:
        _, document = await gateway.health()
        shown = document["status"] == status and why in document.get("reason", "")
        return document if shown else None

    document: dict[str, str] = await eventually(shows, WITHIN)
    return document


async def heartbeat(reader: SseReader) -> dict[str, str]:
    """What the next frame says, which is a heartbeat."""
    seen = await reader.next(timeout=2)
    assert seen is not None
    assert seen.event == "heartbeat"
    document: dict[str, str] = orjson.loads(seen.data)
    return document


async def test_healthy(gateway: RunningGateway) -> None:
    """With everything in place: 200 and the contract's two words, not to be cached."""
    async with gateway.session.get(f"{gateway.url}/api/v1/sse/health") as response:
        assert response.status == 200
        assert await response.json() == {"status": "healthy", "redis": "connected"}
        assert response.headers["Cache-Control"] == "no-store"


async def test_redis_killed(start_gateway: StartGateway, redis_process: StartRedis) -> None:
    """A killed Redis is the reason within 10 s, and healthy returns within 10 s of its restart."""
    process = redis_process()
    gateway = await start_gateway(ownership="token", redis_url=process.url)
    process.kill()
    document = await becomes(gateway, "unhealthy")
    assert document["redis"] == "disconnected"
    assert "Redis cannot be reached" in document["reason"]
    assert str(process.port) not in document["reason"]
    process.start()
    await becomes(gateway, "healthy")


async def test_redis_absent_at_start(start_gateway: StartGateway) -> None:
    """Redis absent at start is no error: health says so, and the gateway goes on trying."""
    port = free_port()
    gateway = await start_gateway(
        wait=False, ownership="token", redis_url=f"redis://127.0.0.1:{port}/0"
    )
    assert (await gateway.health())[0] == 503
    process = RedisProcess(port=port)
    process.start()
    try:
        await becomes(gateway, "healthy")
    finally:
        process.clean_up()


async def test_deaf_subscription(start_gateway: StartGateway, redis_process: StartRedis) -> None:
    """Channel rights taken away while PING still answers: unhealthy within 10 s, healthy again
    within 10 s of their return."""
    process = redis_process()
    process.command("ACL", "SETUSER", "gateway", "on", ">secret", "~*", "&*", "+@all")
    url = f"redis://gateway:secret@127.0.0.1:{process.port}/0"
    gateway = await start_gateway(ownership="token", redis_url=url)
    process.command("ACL", "SETUSER", "gateway", "resetchannels")
    await becomes(gateway, "unhealthy", "NOPERM")
    assert await gateway.components.redis.ping()
    process.command("ACL", "SETUSER", "gateway", "&*")
    await becomes(gateway, "healthy")


async def test_redis_hangs(start_gateway: StartGateway, redis_process: StartRedis) -> None:
    """A Redis that hangs (SIGSTOP) shows within 10 s, and healthy returns within 10 s."""
    process = redis_process()
    gateway = await start_gateway(ownership="token", redis_url=process.url)
    process.suspend()
    document = await becomes(gateway, "unhealthy")
    assert "does not answer in time" in document["reason"]
    process.resume()
    await becomes(gateway, "healthy")


async def test_streams_outlive_redis(
    start_gateway: StartGateway, redis_process: StartRedis
) -> None:
    """Under Redis stopped, killed and restarted, open streams stay open and keep their heartbeat,
    which says that Redis is away, and deliver again what is published after."""
    process = redis_process()
    gateway = await start_gateway(ownership="token", redis_url=process.url, heartbeat_seconds=0.3)
    reader = await gateway.open("run-1")
    for end in (process.stop, process.kill):
        end()
        await becomes(gateway, "unhealthy")
        beats = [await heartbeat(reader) for _ in range(3)]
        assert beats[-1].get("redis") == "disconnected"
        process.start()
        await becomes(gateway, "healthy")
        process.command("PUBLISH", "execution:run-1", producer_message("step:started").decode())
        # This Redis keeps nothing over a restart: the reader learns that its history is gone.
        while (seen := await reader.next()) is not None and seen.event != "step:started":
            assert seen.event in ("heartbeat", "stream:reset")
        assert (await heartbeat(reader)).keys() == {"timestamp"}
    assert gateway.components.metrics.feed_connections == 3


async def test_dead_task(gateway: RunningGateway) -> None:
    """A background task that dies is unhealthy, named, though Redis is well."""

    async def dies() -> None:
        raise ZeroDivisionError("a bug")

    gateway.components.supervisor.start("example", dies())
    document = await becomes(gateway, "unhealthy")
    assert document["redis"] == "connected"
    assert "task example has died" in document["reason"]


async def test_a_regular_function_that_fails(start_gateway: StartGateway) -> None:
    """It is unhealthy, named and counted, until it succeeds again; no restart is asked for."""
    gateway = await start_gateway(ownership="token", admin_port=0)
    await becomes(gateway, "healthy")
    broken = True

    def example() -> None:
        if broken:
            raise ZeroDivisionError

    gateway.components.ticker.every(0.05, "example", example)
    document = await becomes(gateway, "unhealthy")
    assert document["redis"] == "connected"
    assert document["reason"] == "The example fails (ZeroDivisionError): see the gateway's log."
    assert gateway.components.health.stuck() is None
    async with gateway.session.get(f"{gateway.server.admin_url}/metrics") as response:
        assert 'sse_gateway_failures_total{name="example"}' in await response.text()
    broken = False
    await becomes(gateway, "healthy")


async def test_feed_that_dies(gateway: RunningGateway) -> None:
    """When the task that delivers events dies, health says so within 10 s."""
    cancel_task("feed")
    begin = time.monotonic()
    document = await becomes(gateway, "unhealthy")
    assert "task feed has died" in document["reason"]
    assert time.monotonic() - begin < WITHIN


async def ready(gateway: RunningGateway) -> tuple[int, str, str]:
    """The status of `/ready`, its word, and all reasons."""
    async with gateway.session.get(f"{gateway.server.admin_url}/ready") as response:
        document = await response.json()
        return response.status, document["status"], " ".join(document.get("reasons", []))


async def is_recorded(gateway: RunningGateway) -> bool:
    """Whether the metrics say so."""
    [problems] = [one for one in await families(gateway) if one.name == "sse_gateway_problems"]
    return {one.labels["kind"]: one.value for one in problems.samples}["recording"] == 0


async def test_a_redis_that_refuses_writes_takes_no_gateway_away(
    start_gateway: StartGateway, redis_process: StartRedis,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Also where no bare message is recorded: no other gateway could do
    better, and streams open and read history all the same. A wrong server, or one that lets no
    script run, is another matter."""
    monkeypatch.setattr(Probe, "rounds", 1)
    process = redis_process()
    gateway = await start_gateway(
        ownership="token",
        admin_port=0,
        redis_url=process.gateway_url,
        record_bare_events=False,
    )
    assert await ready(gateway) == (200, "ready", "")

    async def says(status: int, why: str) -> bool:
        now, word, reasons = await ready(gateway)
        return now == status and why in reasons and word != "ready"

    process.command("CONFIG", "SET", "maxmemory", "1")
    await eventually(lambda: says(200, "(OOM)"))
    assert (await ready(gateway))[1] == "degraded"
    assert not await is_recorded(gateway)
    assert "No event can be recorded" in (await becomes(gateway, "unhealthy"))["reason"]
    await gateway.open("run-1")
    process.command("CONFIG", "SET", "maxmemory", "0")
    await becomes(gateway, "healthy")
    assert await is_recorded(gateway)
    process.command("ACL", "SETUSER", "gateway", "-rpush")
    await eventually(lambda: says(200, "(NOPERM)"))
    process.command("ACL", "SETUSER", "gateway", "+rpush", "-eval", "-evalsha")
    await eventually(lambda: says(503, "(NOPERM)"))
    process.command("ACL", "SETUSER", "gateway", "+eval", "+evalsha")
    await becomes(gateway, "healthy")
    process.command("REPLICAOF", "127.0.0.1", str(free_port()))
    await eventually(lambda: says(503, "it is a replica (READONLY)"))


async def test_a_node_of_a_cluster_is_refused_at_start(
    make_settings: MakeSettings, redis_process: StartRedis
) -> None:
    process = redis_process("--cluster-enabled", "yes")
    settings = make_settings(redis_url=process.url)
    with pytest.raises(ConfigurationError, match="REDIS_URL: Redis is a node of a cluster"):
        await serve(settings, ready=lambda *_: None, reread=lambda: settings)


@pytest.mark.parametrize(
    ("info", "expected"),
    [
        ({"redis_version": "6.0.16", "role": "master"}, "old"),
        ({"redis_version": "6.2.0", "role": "master", "redis_mode": "standalone"}, None),
        ({"redis_version": "7.2.4", "server_mode": "cluster"}, "MOVED"),
        ({"redis_version": "10.0.1", "role": "slave"}, "READONLY"),
        ({}, None),
    ],
)
def test_a_wrong_server_is_known_by_its_info(info: dict[str, str], expected: str | None) -> None:
    assert wrong_server(info) == expected


async def test_an_issuer_whose_keys_were_never_had_is_named(start_gateway: StartGateway) -> None:
    """No token can be checked then; once keys were had, a failed fetch takes nothing away."""
    gateway = await start_gateway(
        wait=False,
        ownership="token",
        admin_port=0,
        jwt_secret=None,
        jwt_algorithms="RS256",
        jwks_url=f"http://127.0.0.1:{free_port()}/keys",
    )

    async def says_so() -> bool:
        status, _, reasons = await ready(gateway)
        return status == 503 and "No token can be checked" in reasons

    await eventually(says_so)
    assert "127.0.0.1" not in (await ready(gateway))[2]
