"""The subcommands that talk to Redis for a moment, and their help."""

import orjson
import pytest
from redis.asyncio import Redis

from tests.conftest import RunningGateway, StartGateway
from tests.process.programs import run
from tests.support import SECRET, free_port

COMMANDS = ("serve", "dev", "register", "revoke", "status", "publish", "token", "loadtest", "check")


@pytest.mark.parametrize("command", COMMANDS)
async def test_help(command: str) -> None:
    """Each command's --help shows an example."""
    status, out, _ = await run(command, "--help")
    assert status == 0
    assert "Example" in out
    assert f"sse-gateway {command}" in out


async def test_list() -> None:
    """`sse-gateway --help` lists all commands, and `--version` the version."""
    _, out, _ = await run("--help")
    assert all(command in out for command in COMMANDS)
    _, out, _ = await run("--version")
    assert "sse-gateway" in out


async def test_register_and_status(redis: Redis, redis_url: str) -> None:
    """`register` says whose an execution is; `status` shows it, and what is missing before."""
    status, out, _ = await run("status", "run-1", REDIS_URL=redis_url)
    assert status == 1
    assert "sse-gateway register run-1" in out
    words = ("register", "run-1", "--organization", "acme", "--workflow", "invoices")
    status, out, _ = await run(*words, REDIS_URL=redis_url)
    assert status == 0, out
    assert await redis.hgetall("sse:{run-1}:meta") == {
        b"organization_id": b"acme",
        b"workflow_id": b"invoices",
    }
    status, out, _ = await run("status", "run-1", REDIS_URL=redis_url)
    assert status == 0
    assert "acme" in out
    assert "invoices" in out


async def test_publish(gateway: RunningGateway, redis_url: str) -> None:
    """`publish` makes an event appear on an open stream."""
    reader = await gateway.open("run-1")
    data = '{"node_type": "email"}'
    words = ("publish", "run-1", "step:started", "--data", data)
    status, out, _ = await run(*words, REDIS_URL=redis_url)
    assert status == 0
    seen = await reader.expect("step:started")
    assert seen.id is not None
    assert seen.id in out
    document = seen.json()
    assert document["data"] == orjson.loads(data)
    assert document["timestamp"].endswith("Z")


async def test_publish_to_nobody(start_gateway: StartGateway, redis_url: str) -> None:
    """An event that nobody hears now is kept for whoever comes later."""
    status, _, _ = await run("publish", "run-1", "step:started", REDIS_URL=redis_url)
    assert status == 0
    gateway = await start_gateway(ownership="token")
    reader = await gateway.open("run-1")
    await reader.expect("step:started")


async def test_register_for_another(redis_url: str) -> None:
    """An execution that belongs to one organization cannot be registered for another."""
    words = ("register", "run-1", "--organization")
    assert (await run(*words, "acme", REDIS_URL=redis_url))[0] == 0
    assert (await run(*words, "acme", REDIS_URL=redis_url))[0] == 0
    status, _, err = await run(*words, "other", REDIS_URL=redis_url)
    assert status == 1
    assert "registered with another organization" in err


@pytest.mark.parametrize(
    "words",
    [
        ("publish", "run-1", "step:started", "--data", "nonsense"),
        ("publish", "run-1", "step:started", "--data", "[]"),
        ("publish", "run-1", "heartbeat"),
        ("publish", "run-1", "two\nlines"),
        ("publish", "a b", "step:started"),
        ("register", "a/b", "--organization", "acme"),
        ("register", "run-1"),
    ],
)
async def test_wrong_usage(words: tuple[str, ...], redis_url: str) -> None:
    """Wrong usage is exit status 2 with a sentence, and publishes nothing."""
    status, _, err = await run(*words, REDIS_URL=redis_url)
    assert status == 2
    assert "Error" in err
    assert "Traceback" not in err


async def test_redis_away() -> None:
    """Without Redis each command says so in a sentence, without the password in the URL."""
    url = f"redis://:hush@127.0.0.1:{free_port()}/0"
    for words in (("status", "a"), ("publish", "a", "b"), ("register", "a", "--organization", "b")):
        status, _, err = await run(*words, REDIS_URL=url)
        assert status == 1
        assert "Redis cannot be reached" in err
        assert "hush" not in err
        assert "Traceback" not in err


async def test_token(start_gateway: StartGateway) -> None:
    """`token` prints a token that opens a stream, and says loudly that it is for development."""
    gateway = await start_gateway(ownership="token")
    status, out, err = await run("token", "--organization", "acme", GATEWAY_JWT_SECRET=SECRET)
    assert status == 0
    assert "development" in err
    headers = {"Authorization": f"Bearer {out.strip()}", "X-Organization-ID": "acme"}
    async with gateway.session.get(gateway.stream_url("run-1"), headers=headers) as response:
        assert response.status == 200


async def test_token_without_secret() -> None:
    """Without a secret `token` says what is missing."""
    status, _, err = await run("token", "--organization", "acme", GATEWAY_JWT_SECRET="")
    assert status == 2
    assert "--secret" in err
