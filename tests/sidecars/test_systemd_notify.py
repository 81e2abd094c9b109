"""What systemd gets: readiness, reloads, the end, and the watchdog's food."""

import asyncio
import signal
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from gateway.systemd import Notifier
from tests.conftest import StartGateway, credentials
from tests.harness.gateway_process import GatewayProcess, run, serving
from tests.harness.redis_process import RedisProcess
from tests.sidecars.service_manager import Listening, listening
from tests.support import DEADLINE, cancel_task, eventually

WATCHDOG = 0.45
"""Seconds after which systemd would end it."""


@pytest.fixture(params=["path", "abstract"])
def systemd(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Listening]:
    """A notify socket of either kind."""
    path = tmp_path / "notify"
    with listening(str(path) if request.param == "path" else f"@{path}") as heard:
        yield heard


@pytest.fixture
def heard(tmp_path: Path) -> Iterator[Listening]:
    with listening(str(tmp_path / "notify")) as one:
        yield one


def watched(heard: Listening, **settings: str) -> dict[str, str]:
    """Settings of a gateway with a watchdog."""
    microseconds = str(int(WATCHDOG * 1e6))
    return {"NOTIFY_SOCKET": heard.address, "WATCHDOG_USEC": microseconds, **settings}


def fed(messages: list[dict[str, str]]) -> bool:
    return any(message.get("WATCHDOG") == "1" for message in messages)


async def test_life(systemd: Listening, redis_url: str, tmp_path: Path) -> None:
    """READY=1 comes when connections are taken, around a reload RELOADING=1 and READY=1 (also when
    it failed), STOPPING=1 before the streams are sent away, and nothing after it but the status."""
    file = tmp_path / "gateway.toml"
    file.write_text("drain_seconds = 0.5")
    settings = {"REDIS_URL": redis_url, "GATEWAY_OWNERSHIP": "token", "GATEWAY_CONFIG": str(file)}
    async with serving(**settings, NOTIFY_SOCKET=systemd.address) as process:
        # The status that the watch gives comes before it.
        ready = await systemd.until("READY")
        assert ready["READY"] == "1"
        assert ready["STATUS"].startswith(f"0 streams on {process.url}.")
        socket.create_connection(_address(process)).close()

        for content in ("drain_seconds = 0.5", "drain_seconds = -1"):
            file.write_text(content)
            before = time.clock_gettime(time.CLOCK_MONOTONIC) * 1e6
            process.signal(signal.SIGHUP)
            reloading = await systemd.until("RELOADING")
            assert before < int(reloading["MONOTONIC_USEC"]) < before + DEADLINE * 1e6
            assert (await systemd.until("READY"))["READY"] == "1"
        await process.says("Not reloaded")

        async with aiohttp.ClientSession() as session:
            await process.healthy(session)
            url = f"{process.url}/api/v1/sse/executions/run-1/stream"
            async with session.get(url, headers=credentials()) as stream:
                process.signal(signal.SIGTERM)
                assert (await systemd.until("STOPPING"))["STOPPING"] == "1"
                assert not stream.content.at_eof()
                assert b'"drain"' in await stream.content.read()
        assert await process.ended() == 0
    assert not [one for one in await systemd.during(0.1) if one.keys() != {"STATUS"}]


async def test_not_ready(heard: Listening, redis_url: str) -> None:
    """Who cannot listen is never ready."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = {"REDIS_URL": redis_url, "NOTIFY_SOCKET": heard.address}
        status, _, _ = await run("serve", GATEWAY_PORT=str(taken.getsockname()[1]), **settings)
    assert status == 1
    assert await heard.during(0.1) == []


@pytest.mark.alone
async def test_frozen(heard: Listening, redis_url: str) -> None:
    """The watchdog is fed in time, not at all by a process that does not run, and again later."""
    async with serving(REDIS_URL=redis_url, **watched(heard)) as process:
        for _ in range(5):
            began = time.monotonic()
            await heard.until("WATCHDOG")
            assert time.monotonic() - began < WATCHDOG
        process.signal(signal.SIGSTOP)
        # What had been said before it stopped.
        await heard.during(WATCHDOG / 6)
        assert await heard.during(WATCHDOG) == []
        process.signal(signal.SIGCONT)
        await heard.until("WATCHDOG")


async def test_another_process(heard: Listening, start_gateway: StartGateway) -> None:
    """A watchdog of another process is not fed."""
    gateway = await start_gateway()
    gateway.server.watch(Notifier(watched(heard, WATCHDOG_PID="1")))
    assert await heard.until("STATUS")
    assert not fed(await heard.during(WATCHDOG))


async def test_redis_away(heard: Listening, redis_process: Callable[..., RedisProcess]) -> None:
    """While Redis is away the watchdog is fed: a restart would only cut the streams. `systemctl
    status` says what is wrong."""
    redis = redis_process()
    async with serving(**watched(heard, REDIS_URL=redis.url)):
        redis.kill()
        for _ in range(5):
            message = await heard.until("WATCHDOG")
        async with asyncio.timeout(DEADLINE):
            while "Redis" not in message["STATUS"]:
                message = await heard.until("WATCHDOG")


@pytest.mark.parametrize("killed", ["feed", "subscription"])
async def test_dead_task(
    heard: Listening, start_gateway: StartGateway, killed: str, caplog: pytest.LogCaptureFixture
) -> None:
    """A background task that has died is not survived: the watchdog is fed no more, and status and
    log say why."""
    gateway = await start_gateway()
    environment = watched(heard)
    gateway.server.watch(Notifier(environment))
    assert environment == {}
    await heard.until("WATCHDOG")
    cancel_task(killed)
    await eventually(lambda: gateway.components.supervisor.failures)
    # What had been said before.
    await heard.during(WATCHDOG / 6)
    assert not fed(await heard.during(WATCHDOG))
    status = (await heard.until("STATUS"))["STATUS"]
    assert f"The background task {killed} has died" in status
    assert "systemd will restart the gateway" in caplog.text


async def test_stuck_again(heard: Listening, caplog: pytest.LogCaptureFixture) -> None:
    """Each time that the watchdog is no longer fed the log says why, also after trouble that has
    passed."""
    problem: str | None = None
    watching = asyncio.create_task(
        Notifier(watched(heard)).watch(lambda: problem, lambda: "All is well.")
    )

    def said() -> list[str]:
        lines = [one.getMessage() for one in caplog.records if one.levelname == "CRITICAL"]
        return [line.rpartition(": ")[2] for line in lines]

    for number, words in enumerate(("first", "second")):
        problem = words
        await eventually(lambda number=number: len(said()) > number)  # type: ignore[misc]
        # It says so once.
        await heard.during(WATCHDOG)
        problem = None
        await heard.until("WATCHDOG")
    watching.cancel()
    assert said() == ["first", "second"]


@pytest.mark.alone
async def test_blocked_loop(heard: Listening, start_gateway: StartGateway) -> None:
    """An event loop that is kept busy feeds nobody."""
    gateway = await start_gateway()
    gateway.server.watch(Notifier(watched(heard)))
    await heard.until("WATCHDOG")
    time.sleep(WATCHDOG)
    assert len(await heard.during(0.01)) <= 1


async def test_deaf(start_gateway: StartGateway, caplog: pytest.LogCaptureFixture) -> None:
    """A systemd that cannot be told anything is complained of, and nothing else comes of it."""
    gateway = await start_gateway()
    notifier = Notifier({"NOTIFY_SOCKET": "/nowhere/notify"})
    notifier.ready("")
    assert "systemd does not accept READY=1: " in caplog.text
    assert await gateway.healthy()


def _address(process: GatewayProcess) -> tuple[str, int]:
    host, _, port = process.url.removeprefix("http://").partition(":")
    return host, int(port)
