"""`sse-gateway tail`: an execution in a terminal and in a script."""

import asyncio
import fcntl
import os
import pty
import signal
import struct
import termios
from contextlib import suppress

import aiohttp
import orjson
import pytest
from redis.asyncio import Redis

from tests.conftest import RunningGateway, StartGateway
from tests.harness.gateway_process import COMMAND, environment, run, serving
from tests.support import DEADLINE, eventually, free_port, producer_message


async def publish(redis: Redis, event_type: str, **data: object) -> None:
    await redis.publish("execution:run-1", producer_message(event_type, **data))


def tail(url: str, *more: str) -> tuple[str, ...]:
    return ("tail", "run-1", "--url", url, "--organization", "acme", *more)


@pytest.mark.parametrize(
    ("end", "status"),
    [("execution:completed", 0), ("execution:failed", 1), ("execution:canceled", 1)],
)
async def test_exit_status(gateway: RunningGateway, redis: Redis, end: str, status: int) -> None:
    """It shows what has happened, and its exit status is how the execution ended."""
    await publish(redis, "step:started", node_id="n1", node_type="email")
    await publish(redis, end)
    await eventually(lambda: gateway.components.metrics.events_recorded == 2)
    code, out, err = await run(*tail(gateway.url))
    assert (code, err) == (status, "")
    lines = out.splitlines()
    assert [line.split()[1] for line in lines[:2]] == ["step:started", end]
    assert lines[0].endswith(" email")
    assert lines[2:] == ["interrupted: email", end.partition(":")[2]]


async def test_json(gateway: RunningGateway, redis: Redis) -> None:
    """With `--json` each line is an event as it was published; `--from` begins after one of them,
    also after the last one, whose end is still known."""
    await redis.publish("execution:run-1", b'{"type": "a:b", "data": {"n": 1.10}}')
    await publish(redis, "execution:failed")
    await eventually(lambda: gateway.components.metrics.events_recorded == 2)
    code, out, _ = await run(*tail(gateway.url, "--json"))
    first, last = out.splitlines()
    assert code == 1
    assert '"data": {"n": 1.10}' in first
    ids = [orjson.loads(line)["id"] for line in (first, last)]
    assert await run(*tail(gateway.url, "--json", "--from", ids[0])) == (1, last + "\n", "")
    assert await run(*tail(gateway.url, "--json", "--from", ids[1])) == (1, "", "")


async def test_lost(start_gateway: StartGateway) -> None:
    """What cannot be followed is status 3 and a sentence: refused, or nobody there."""
    gateway = await start_gateway(ownership_wait_seconds=0.5)
    code, _, err = await run(*tail(gateway.url))
    assert code == 3
    assert "Execution not found" in err
    nobody = f"http://127.0.0.1:{free_port()}"
    code, _, err = await run(*tail(nobody, "--give-up-after", "0"))
    assert code == 3
    address = nobody.removeprefix("http://")
    assert err == f"No stream for 0 s: no gateway listens at {address}.\n"


async def test_no_credentials() -> None:
    """Without a token and a secret it says what to give."""
    code, _, err = await run(*tail("http://127.0.0.1:1"), GATEWAY_JWT_SECRET="")
    assert code == 2
    assert "--token" in err
    code, _, err = await run(*tail("http://127.0.0.1:1", "--from", "nonsense"))
    assert code == 2
    assert "not the id of an event" in err


async def test_through_a_kill(redis_url: str, redis: Redis) -> None:
    """A gateway that is killed and restarted loses no event, and the wait is shown."""
    settings = {
        "REDIS_URL": redis_url,
        "GATEWAY_OWNERSHIP": "token",
        "GATEWAY_PORT": str(free_port()),
    }
    async with serving(**settings) as first, aiohttp.ClientSession() as session:
        # A bare PUBLISH that no gateway hears is lost.
        await first.healthy(session)
        process = await asyncio.create_subprocess_exec(
            *COMMAND, *tail(first.url), env=environment(), stdout=asyncio.subprocess.PIPE
        )
        assert process.stdout is not None
        await publish(redis, "step:started", node_type="one")
        async with asyncio.timeout(DEADLINE):
            assert (await process.stdout.readline()).endswith(b" step:started one\n")
            first.signal(signal.SIGKILL)
            assert b"reconnecting" in await process.stdout.readline()
            async with serving(**settings) as second:
                await second.healthy(session)
                await publish(redis, "step:completed", node_type="one")
                await publish(redis, "execution:completed")
                rest = (await process.stdout.read()).decode()
            assert await process.wait() == 0
    told = [line for line in rest.splitlines() if not line.startswith("reconnecting")]
    assert [line.split()[1:] for line in told[:-1]] == [
        ["step:completed", "one"],
        ["execution:completed"],
    ]


async def test_terminal(gateway: RunningGateway, redis: Redis) -> None:
    """In a terminal each step is a line with its mark and how long it took, drawn while it runs;
    a pause says what is waited for; and nothing that a producer has sent is obeyed."""
    control, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 30, 100, 0, 0))
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *tail(gateway.url),
        env=environment(TERM="xterm"),
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    os.set_blocking(control, False)
    shown = b""

    def shows(words: bytes) -> bool:
        nonlocal shown
        with suppress(OSError):
            shown += os.read(control, 65536)
        return words in shown

    await publish(redis, "step:started", node_id="n1", node_type="\x1b]0;evil\x07email")
    await eventually(lambda: shows(b"email"))
    await publish(redis, "step:completed", node_id="n1", duration_ms=1500)
    await eventually(lambda: shows("✓".encode()) and shows(b"1.5 s"))
    await publish(redis, "execution:paused", reason="approval")
    await eventually(lambda: shows(b"waits for approval"))
    await publish(redis, "execution:completed", generated_document_id="doc-7")
    await eventually(lambda: shows(b"document doc-7"))
    async with asyncio.timeout(DEADLINE):
        assert await process.wait() == 0
    os.close(control)
    assert b"\x1b]0;evil" not in shown
