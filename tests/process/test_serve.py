"""`sse-gateway serve` as systemd would run it."""

import asyncio
import resource
import signal
import stat
import time
from pathlib import Path
from urllib.parse import urlsplit

import aiohttp
import orjson
import pytest
from redis.asyncio import Redis

from gateway import __version__
from tests.conftest import StartGateway, credentials
from tests.harness.gateway_process import measured, run, serving
from tests.harness.proc import alive, descendants
from tests.harness.sse import SseReader
from tests.support import SECRET, eventually, free_port, producer_message

EX_CONFIG = 78


async def test_banner_shows_no_password(redis_url: str) -> None:
    """`serve` starts with a banner of five lines: address, ownership, CORS, Redis, history."""
    secretive = redis_url.replace("redis://", "redis://default:hush@")
    async with serving(REDIS_URL=secretive, GATEWAY_OWNERSHIP="token") as process:
        process.signal(signal.SIGTERM)
        assert await process.ended() == 0
    text = "".join(process.lines)
    for word in ("Listening on", "Ownership", "CORS origins", "Redis", "History"):
        assert word in text
    assert "hush" not in text
    assert SECRET not in text


async def test_sigterm_drains_and_exits(redis_url: str, redis: Redis) -> None:
    """SIGTERM ends within 5 s at the default drain time: every stream gets what was published,
    `stream:closing` (`drain`) with a jittered `retry:`, and a clean end."""
    async with (
        serving(REDIS_URL=redis_url, GATEWAY_OWNERSHIP="token", **measured()) as process,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session,
    ):
        await process.healthy(session)
        readers = []
        for number in range(30):
            url = f"{process.url}/api/v1/sse/executions/run-{number}/stream"
            reader = SseReader(await session.get(url, headers=credentials()))
            await reader.expect("connected")
            readers.append(reader)
        for number in range(30):
            await redis.publish(f"execution:run-{number}", producer_message("step:started"))
        for reader in readers:
            await reader.expect("step:started")
        begin = time.monotonic()
        process.signal(signal.SIGTERM)
        ends = await asyncio.gather(*[reader.rest() for reader in readers])
        assert await process.ended() == 0
        assert time.monotonic() - begin < 5
    closings = [closing for [closing] in ends]
    assert {closing.event for closing in closings} == {"stream:closing"}
    assert {closing.json()["reason"] for closing in closings} == {"drain"}
    assert all(closing.json()["retry_ms"] == closing.retry for closing in closings)
    assert len({closing.retry for closing in closings}) > 10


async def test_sigterm_with_a_frozen_reader(redis_url: str, redis: Redis) -> None:
    """A reader that takes nothing does not delay the exit: still within 5 s."""
    async with (
        serving(
            REDIS_URL=redis_url, GATEWAY_OWNERSHIP="token", GATEWAY_DRAIN_SECONDS="3"
        ) as process,
        aiohttp.ClientSession() as session,
    ):
        await process.healthy(session)
        url = f"{process.url}/api/v1/sse/executions/run-1/stream"
        async with session.get(url, headers=credentials()):
            for _ in range(30):
                message = producer_message("step:completed", output="x" * 900_000)
                await redis.publish("execution:run-1", message)
            begin = time.monotonic()
            process.signal(signal.SIGTERM)
            assert await process.ended() == 0
            assert time.monotonic() - begin < 5


async def test_wrong_settings_exit_with_78() -> None:
    """Wrong settings: exit status 78, every mistake listed, no traceback."""
    status, _, err = await run(
        "serve", GATEWAY_PORT="x", GATEWAY_JWT_SECRET="short", GATEWAY_OWNERSHP="token"
    )
    assert status == EX_CONFIG
    for named in ("GATEWAY_PORT", "GATEWAY_JWT_SECRET", "GATEWAY_OWNERSHP"):
        assert named in err
    assert "Traceback" not in err


async def test_a_busy_port_is_named(redis_url: str) -> None:
    """A busy port is named in one sentence, without a traceback."""
    async with serving(REDIS_URL=redis_url) as process:
        port = process.url.rpartition(":")[2]
        status, _, err = await run("serve", REDIS_URL=redis_url, GATEWAY_PORT=port)
    assert status == 1
    assert f"already listens on 127.0.0.1:{port}" in err
    assert "Traceback" not in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    "given",
    [
        {"GATEWAY_PORT": "{port}", "GATEWAY_ADMIN_PORT": "{port}"},
        {"GATEWAY_PORT": "{port}", "GATEWAY_ADMIN_PORT": "{port}", "GATEWAY_HOST": "::"},
        {"GATEWAY_UNIX_SOCKET": "{file}", "GATEWAY_ADMIN_UNIX_SOCKET": "{file}"},
    ],
)
async def test_readers_and_operators_need_two_addresses(
    redis_url: str, tmp_path: Path, given: dict[str, str]
) -> None:
    """One address for both is a mistake in the settings, for `serve` and for `check`."""
    places = {"port": free_port(), "file": tmp_path / "gateway.sock"}
    settings = {name: value.format_map(places) for name, value in given.items()}
    [mistake] = [f"{name}: {settings[name]} is" for name in settings if "ADMIN" in name]
    status, _, err = await run("serve", REDIS_URL=redis_url, **settings)
    assert (status, mistake in err) == (EX_CONFIG, True)
    status, out, _ = await run("check", "--json", REDIS_URL=redis_url, **settings)
    assert (status, mistake in out) == (1, True)


async def test_a_foreign_address_is_named() -> None:
    """An address that is not this machine's is named in one sentence."""
    status, _, err = await run("serve", GATEWAY_HOST="192.0.2.1")
    assert status == 1
    assert "192.0.2.1" in err
    assert "Traceback" not in err


async def test_unix_socket(redis_url: str, tmp_path: Path) -> None:
    """On a unix socket: mode 0660, taken over from a killed gateway, never from a living one."""
    path = tmp_path / "gateway.sock"
    settings = {"REDIS_URL": redis_url, "GATEWAY_UNIX_SOCKET": str(path)}
    async with serving(**settings):
        assert stat.S_IMODE(path.stat().st_mode) == 0o660
        status, _, err = await run("serve", **settings)
        assert status == 1
        assert "already listens" in err
    assert path.exists(), "a killed gateway leaves its socket behind"
    async with (
        serving(**settings) as process,
        aiohttp.ClientSession(connector=aiohttp.UnixConnector(str(path))) as session,
    ):
        process.url = "http://gateway"
        await process.healthy(session)


async def test_file_limit_is_raised(redis_url: str) -> None:
    """`serve` raises its soft limit of open files to the hard one."""
    async with serving(REDIS_URL=redis_url) as process:
        soft, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
        assert soft == hard


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
async def test_embedded_redis_ends_with_the_gateway(signum: signal.Signals) -> None:
    """`embedded://` starts a private Valkey on loopback, whose URL and password stand in the banner
    and in no line of the log; no process of it outlives the gateway, even one that was killed."""
    async with (
        serving(
            REDIS_URL="embedded://", GATEWAY_OWNERSHIP="token", GATEWAY_LOG_LEVEL="debug"
        ) as process,
        aiohttp.ClientSession() as session,
    ):
        await process.healthy(session)
        keeper_and_server = descendants(process.pid)
        assert len(keeper_and_server) == 2
        [_, url] = (await process.says("Redis  ")).split()
        async with Redis.from_url(url) as worker:
            assert await worker.publish("execution:run-1", "{}") == 1
        process.signal(signum)
        await process.ended()
        said = "".join(process.lines)
        password = urlsplit(url).password
        assert password
        assert said.count(password) == 1, "only the banner has it"
    await eventually(lambda: not any(map(alive, keeper_and_server)))


@pytest.mark.parametrize("form", ["text", "json"])
async def test_token_is_in_no_log(redis_url: str, form: str) -> None:
    """A token in the query is in no line that the process prints, in either form, at level
    debug too, neither about the stream that it opened nor about the request that was refused."""
    given = credentials()
    token = given["Authorization"].removeprefix("Bearer ")
    async with (
        serving(
            REDIS_URL=redis_url,
            GATEWAY_OWNERSHIP="token",
            GATEWAY_LOG_LEVEL="debug",
            GATEWAY_LOG_FORMAT=form,
        ) as process,
        aiohttp.ClientSession() as session,
    ):
        await process.healthy(session)
        query = {"Authorization": given["Authorization"], "organization_id": "acme"}
        url = f"{process.url}/api/v1/sse/executions/run-1/stream"
        async with session.get(url, params=query) as response:
            assert response.status == 200
        async with session.get(url, params={**query, "organization_id": "x"}) as response:
            assert response.status == 403
        process.signal(signal.SIGTERM)
        await process.ended()
    text = "".join(process.lines)
    [stream] = [line for line in text.splitlines() if "stream ended" in line]
    [refusal] = [line for line in text.splitlines() if "403" in line and "/run-1/stream" in line]
    if form == "json":
        assert orjson.loads(stream)["execution_id"] == "run-1"
        assert orjson.loads(refusal)["path"] == "/api/v1/sse/executions/run-1/stream"
    else:
        assert " execution_id=run-1 organization_id=acme " in stream
        assert " path=/api/v1/sse/executions/run-1/stream status=403 " in refusal
    for part in token.split("."):
        assert part not in text


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]"])
async def test_two_colons_listen_on_both_families(start_gateway: StartGateway, host: str) -> None:
    gateway = await start_gateway(ownership="token", host="::", wait=False)
    url = f"http://{host}:{urlsplit(gateway.url).port}/api/v1/sse/health"
    async with gateway.session.get(url) as response:
        assert response.status in (200, 503)


async def test_a_json_log_is_json_from_its_first_line(redis_url: str) -> None:
    """No banner comes before it; a line says that the gateway has started, where, and in which
    version. A gateway that cannot start says why in the same form."""
    given = {"REDIS_URL": redis_url, "GATEWAY_LOG_FORMAT": "json"}
    async with serving(**given) as process:
        process.signal(signal.SIGTERM)
        await process.ended()
        [started] = [
            line for line in map(orjson.loads, process.lines) if line["message"] == "started"
        ]
        assert (started["listening"], started["version"]) == (process.url, __version__)
    status, out, err = await run("serve", **given, GATEWAY_QUEUE_EVENTS="0")
    assert (status, out) == (EX_CONFIG, "")
    [line] = map(orjson.loads, err.splitlines())
    assert "GATEWAY_QUEUE_EVENTS" in line["message"]
