"""`sse-gateway dev` as a user starts it, with its lines really pasted into a shell."""

import resource
import shlex
import signal
import time
from collections.abc import AsyncIterator
from pathlib import Path
from socket import create_server
from urllib.parse import urlsplit

import aiohttp
import jwt
import pytest
from click.testing import CliRunner

from gateway.access.tokens import issue
from gateway.cli.dev import dev
from gateway.errors import ConfigurationError
from tests.support import SECRET, free_port, producer_message, require
from tests.tools.dev.processes import MODULE, Gone, dev_of, lines_of, pasted, running_dev

WITHIN = 5.0
"""Seconds within which it promises to have started, and to have stopped."""


@pytest.mark.alone
async def test_pasted_lines() -> None:
    """It starts within 5 s; its curl line shows `demo` live, its publish line makes an event
    appear there, and so does a producer at its REDIS_URL; Ctrl-C then ends all of it within 5 s,
    in silence and with nothing left."""
    require("curl")
    require("redis-cli")
    began = time.monotonic()
    # A narrow terminal must not break the lines, nor REDIS_URL let events into another Redis.
    nowhere = f"redis://127.0.0.1:{free_port()}/0"
    narrow = {"COLUMNS": "40", "REDIS_URL": nowhere}
    async with running_dev("--port", "0", "--pace", "2", **narrow) as started:
        assert time.monotonic() - began < WITHIN
        banner = started.said
        assert "WARNING" not in banner
        # The address comes first, in a box.
        assert "http://127.0.0.1" in banner.strip().splitlines()[2]
        assert "Ownership: token" in banner
        assert "CORS: open to every origin, without credentials" in banner
        await started.says("--redis-url")
        banner = started.said
        gone = await Gone.of(started.redis_url)
        assert urlsplit(started.redis_url).password
        tail = started.found(r"^ *(SSE_GATEWAY_TOKEN=.* tail .*)$")
        assert banner.index(tail) < banner.index("curl -N")
        # In place of the shell, so that it can be ended.
        followed = await pasted(f"exec env {tail}")
        await until("step:started", lines_of(followed))
        followed.terminate()
        await followed.communicate()
        curl = await pasted(started.found(r"^ *(curl -N .*)$"))
        lines = lines_of(curl)
        assert [await anext(lines) for _ in range(3)][1] == "event: connected"
        publish = await pasted(started.found(r"^ *(REDIS_URL=.* publish .*)$"))
        assert b"Published step:started in demo as" in (await publish.communicate())[0]
        await until("hello", lines)
        # As README does it.
        message = shlex.quote(producer_message("step:mine").decode())
        redis_cli = await pasted(
            f"redis-cli -u {started.redis_url} PUBLISH execution:demo {message}"
        )
        assert int((await redis_cli.communicate())[0]) > 0
        await until("event: step:mine", lines)
        # Only the engine counts the steps.
        await until('"position"', lines)
        began = time.monotonic()
        started.signal(signal.SIGINT)
        assert await started.ended() == 0
        assert time.monotonic() - began < WITHIN
        assert started.said == banner
        assert "event: stream:closing" in [line async for line in lines]
        assert await curl.wait() == 0
        await gone.wait()


async def until(word: str, lines: AsyncIterator[str]) -> None:
    """Read on to the line with *word*."""
    while word not in await anext(lines):
        pass


async def test_own_settings(redis_url: str, tmp_path: Path) -> None:
    """A taken port gives way to the next free one; a given secret and Redis are used; started as
    a module it prints lines that start it so; SIGTERM ends it. Its file limit is the hard one."""
    config = tmp_path / "gateway.toml"
    config.write_text("channel_prefix = 'mine:'\nunix_socket = '/nowhere/gateway.sock'\n")
    with create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        options = ("--port", str(port), "--config", str(config), "--redis-url", redis_url)
        settings = {"GATEWAY_JWT_SECRET": SECRET, "GATEWAY_JWT_ISSUER": "somebody"}
        settings["REDIS_URL"] = redis_url
        async with (
            dev_of(MODULE, (*options, "--no-engine"), settings) as started,
            aiohttp.ClientSession() as session,
        ):
            assert port < int(started.url.rpartition(":")[2]) < port + 50
            soft, hard = resource.prlimit(started.pid, resource.RLIMIT_NOFILE)
            assert soft == hard
            token = issue(SECRET, organization_id="acme")
            headers = {"Authorization": f"Bearer {token}", "X-Organization-ID": "acme"}
            url = f"{started.url}/api/v1/sse/executions/demo/stream"
            async with session.get(url, headers=headers) as response:
                assert response.status == 200
            async with session.get(f"{started.url}/dev/executions") as response:
                assert (await response.json())["executions"] == []
            publish = await pasted(
                started.found(r"^ *(REDIS_URL=.* -m gateway\.cli\.main publish .*)$")
            )
            assert b"Published step:started in my-run as" in (await publish.communicate())[0]
            started.signal(signal.SIGTERM)
            assert await started.ended() == 0
            assert "Traceback" not in started.said
            assert "does not use it" not in started.said


async def test_the_same_at_each_start(tmp_path: Path) -> None:
    """Port, token and Redis are the same after a restart, so that what was pasted or configured
    goes on working; the secret of it is the user's own, and no other user can read it."""
    port, state = free_port(), {"XDG_STATE_HOME": str(tmp_path)}
    banners = []
    for _ in range(2):
        async with running_dev("--port", str(port), "--pace", "5", **state) as started:
            banners.append(started.said)
            gone = await Gone.of(started.redis_url)
            redis_port = urlsplit(started.redis_url).port
            async with running_dev("--port", str(port), **state) as second:
                assert urlsplit(second.redis_url).port not in (None, redis_port)
            started.signal(signal.SIGINT)
            await started.ended()
        await gone.wait()
    assert banners[0] == banners[1]
    [secret] = tmp_path.rglob("dev-secret")
    assert secret.stat().st_mode & 0o077 == 0
    async with running_dev("--port", str(port), XDG_STATE_HOME=str(tmp_path / "other")) as another:
        assert another.found(r"(SSE_GATEWAY_TOKEN=\S+)") not in banners[0]


async def test_a_secret_of_the_users_signs_no_endless_token(redis_url: str) -> None:
    """Where the gateway's secret is given, which may be production's, a printed token ends soon."""
    options = ("--port", "0", "--redis-url", redis_url)
    async with running_dev(*options, GATEWAY_JWT_SECRET=SECRET) as started:
        token = started.found(r"SSE_GATEWAY_TOKEN=(\S+)")
    claims = jwt.decode(token, SECRET, algorithms=["HS256"])
    assert claims["exp"] - time.time() <= 12 * 3600


async def test_redis_away() -> None:
    """With a Redis of one's own that is away it starts, says so, and Ctrl-C still ends it. On an
    address that others reach, the banner says what that means."""
    options = ("--port", "0", "--redis-url", f"redis://127.0.0.1:{free_port()}/0")
    async with running_dev(*options, GATEWAY_HOST="0.0.0.0") as started:
        assert "Everybody who can reach this address" in started.said
        assert started.said.count("The simulated engine retries") <= 1
        assert "Redis cannot be reached" in started.said
        began = time.monotonic()
        started.signal(signal.SIGINT)
        assert await started.ended() == 0
        assert time.monotonic() - began < WITHIN
        assert "Traceback" not in started.said


@pytest.mark.parametrize("words", [("--pace", "0"), ("--port", "70000"), ("--pace", "x")])
def test_wrong_usage(words: tuple[str, str]) -> None:
    """A wrong option is named, with exit status 2."""
    result = CliRunner().invoke(dev, words)
    assert result.exit_code == 2
    assert words[0] in result.output


def test_wrong_settings(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Wrong settings are all reported, those of this command's own defaults as well."""
    monkeypatch.setenv("GATEWAY_DRAIN_SECONDS", "soon")
    monkeypatch.setenv("GATEWAY_JWT_SECRET", "short")
    missing = str(tmp_path / "none.toml")
    result = CliRunner().invoke(dev, ("--config", missing))
    assert isinstance(result.exception, ConfigurationError)
    for named in ("GATEWAY_DRAIN_SECONDS", "GATEWAY_JWT_SECRET", missing):
        assert named in str(result.exception)
