"""`sse-gateway tail` without an id: the executions of an organization; and with several ids."""

import asyncio
import os
import pty
import signal
from contextlib import suppress

import aiohttp
import orjson
import pytest
from redis.asyncio import Redis

from gateway.publisher import Publisher
from tests.conftest import StartGateway
from tests.harness.gateway_process import COMMAND, environment, run, serving
from tests.support import DEADLINE, eventually, free_port, producer_message


async def publish(redis: Redis, execution_id: str, event_type: str, **data: object) -> None:
    await redis.publish(f"execution:{execution_id}", producer_message(event_type, **data))


def tail(url: str, *words: str) -> tuple[str, ...]:
    return ("tail", *words, "--url", url, "--organization", "acme")


async def lines_of(process: asyncio.subprocess.Process, word: str) -> str:
    """Its next line with *word*."""
    assert process.stdout is not None
    async with asyncio.timeout(DEADLINE):
        while word not in (line := (await process.stdout.readline()).decode()):
            assert line, f"it ended without {word!r}"
    return line


async def test_a_list_in_a_script_goes_on_through_a_kill_until_ctrl_c(
    redis_url: str, redis: Redis
) -> None:
    """A line for each change, and none for what a new snapshot shows as it was."""
    settings = {"REDIS_URL": redis_url, "GATEWAY_PORT": str(free_port())}
    async with serving(**settings) as first, aiohttp.ClientSession() as session:
        await first.healthy(session)
        async with Publisher(redis_url) as publisher:
            await publisher.register("run-1", "acme", workflow_id="letters")
            await publisher.register("run-2", "other")
        await publish(redis, "run-1", "step:started", node_id="email")
        process = await asyncio.create_subprocess_exec(
            *COMMAND,
            *tail(first.url),
            env=environment(),
            stdout=asyncio.subprocess.PIPE,
        )
        assert (await lines_of(process, "email")).split()[1:] == [
            *("run-1", "letters", "running", "email")
        ]
        await publish(redis, "run-1", "step:failed", node_id="email")
        assert "1 failed" in await lines_of(process, "running")
        first.signal(signal.SIGKILL)
        assert "reconnecting" in await lines_of(process, "")
        async with serving(**settings) as second:
            await second.healthy(session)
            await publish(redis, "run-1", "execution:failed", error="the bank said no")
            seen = ""
            while "the bank said no" not in seen:
                seen = await lines_of(process, "")
                assert "running" not in seen
            assert seen.split()[1:4] == ["run-1", "letters", "failed"]
            process.send_signal(signal.SIGINT)
            out, _ = await process.communicate()
            assert (process.returncode, out) == (0, b"")


async def test_a_list_in_a_terminal_shows_who_runs_how_far_and_how_many_watch(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    """And nothing that a producer has sent is obeyed."""
    gateway = await start_gateway()
    async with Publisher(redis_url) as publisher:
        await publisher.register("run-1", "acme", workflow_id="letters")
    await publish(redis, "run-1", "execution:started")
    control, terminal = pty.openpty()
    os.set_blocking(control, False)
    process = await asyncio.create_subprocess_exec(
        *COMMAND,
        *tail(gateway.url),
        env=environment(TERM="xterm", COLUMNS="140", LINES="30"),
        stdout=terminal,
        stderr=terminal,
    )
    os.close(terminal)
    shown = b""

    def shows(words: bytes) -> bool:
        nonlocal shown
        with suppress(OSError):
            shown += os.read(control, 65536)
        return words in shown

    await eventually(lambda: shows(b"letters"))
    await publish(redis, "run-1", "step:completed", node_id="n1")
    await publish(redis, "run-1", "step:started", node_id="\x1b]0;evil\x07email")
    await eventually(lambda: shows(b"email") and shows(b"1 completed"))
    await eventually(lambda: shows(b"1 of 1 are running"))
    await gateway.open("run-1")
    await publish(redis, "run-1", "step:started", node_id="letter")
    await eventually(lambda: shows(b"1 watching"))
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(DEADLINE):
        assert await process.wait() == 0
    os.close(control)
    assert b"\x1b]0;evil" not in shown


async def test_a_list_can_be_filtered_and_printed_as_json(
    start_gateway: StartGateway, redis: Redis, redis_url: str
) -> None:
    gateway = await start_gateway()
    async with Publisher(redis_url) as publisher:
        for name in ("run-1", "run-2"):
            await publisher.register(name, "acme")
            await publisher.publish(name, "step:started", {})
        await publisher.publish("run-2", "execution:completed", {})
    process = await asyncio.create_subprocess_exec(
        *(*COMMAND, *tail(gateway.url), "--json", "--status", "completed"),
        env=environment(),
        stdout=asyncio.subprocess.PIPE,
    )
    snapshot = orjson.loads(await lines_of(process, ""))
    assert snapshot["type"] == "executions:snapshot"
    assert [one["execution_id"] for one in snapshot["executions"]] == ["run-2"]
    process.send_signal(signal.SIGINT)
    assert await process.wait() == 0


async def test_a_list_that_is_refused_is_lost(start_gateway: StartGateway) -> None:
    gateway = await start_gateway()
    code, _, err = await run(*tail(gateway.url, "--status", "nonsense"))
    assert code == 3
    assert err.strip()


@pytest.mark.parametrize(
    ("ends", "status"), [(("completed", "completed"), 0), (("completed", "failed"), 1)]
)
async def test_several_executions_are_followed_to_the_end_of_all(
    start_gateway: StartGateway, redis_url: str, ends: tuple[str, ...], status: int
) -> None:
    """Each line says which one it is about, and the exit status is that of the worst."""
    gateway = await start_gateway()
    async with Publisher(redis_url) as publisher:
        for number, end in enumerate(ends):
            await publisher.register(f"run-{number}", "acme")
            await publisher.publish(f"run-{number}", "step:started", {"node_id": "n1"})
            await publisher.publish(f"run-{number}", f"execution:{end}", {})
    code, out, err = await run(*tail(gateway.url, "run-0", "run-1"))
    assert (code, err) == (status, "")
    told = [line.split()[1:] for line in out.splitlines()[:-1]]
    for number, end in enumerate(ends):
        assert [words[1:] for words in told if words[0] == f"run-{number}"] == [
            ["step:started", "n1"],
            [f"execution:{end}"],
            ["stream:ended", end],
        ]
    assert out.splitlines()[-1] == ends[-1]


async def test_one_of_several_that_is_absent_is_named_at_the_end(
    start_gateway: StartGateway, redis_url: str
) -> None:
    gateway = await start_gateway(ownership_wait_seconds=0.5)
    async with Publisher(redis_url) as publisher:
        await publisher.register("run-1", "acme")
        await publisher.publish("run-1", "execution:completed", {})
    code, out, err = await run(*tail(gateway.url, "run-1", "run-2"))
    assert code == 3
    assert "execution:completed" in out
    assert err == "Not followed to the end: run-2: there is no such execution.\n"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--from", "1-1"), "--from goes with one ID"),
        (("run-1", "--status", "running"), "cannot be used with ID"),
        (tuple(f"run-{number}" for number in range(51)), "at most 50"),
    ],
)
async def test_what_does_not_go_together_is_refused(words: tuple[str, ...], said: str) -> None:
    code, _, err = await run(*tail("http://127.0.0.1:1", *words))
    assert code == 2
    assert said in err
