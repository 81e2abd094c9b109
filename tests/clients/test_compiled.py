"""Client libraries of Go, Rust and Java, behind nginx, through a restart and a crash."""

import signal
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from gateway.publisher import Publisher
from tests.clients import compiled
from tests.clients.follower import Follower, running
from tests.clients.recorder import Recorder
from tests.clients.table import Observed, table
from tests.clients.test_libraries import DOCUMENT, all_of, end, publish
from tests.harness.gateway_process import serving
from tests.harness.nginx import Nginx
from tests.support import free_port


@pytest.mark.timeout(180)
async def test_compiled_libraries(redis_url: str, tmp_path: Path) -> None:
    """Each library follows one run through nginx, while its gateway is stopped and is away, and
    while it is killed, and gets every event once and in order: also those that forget their
    position on a connection that brings nothing but nginx's own answer. The table is what was seen
    of them."""
    libraries = compiled.available()
    port = free_port()
    nginx = Nginx(tmp_path, f"http://127.0.0.1:{port}")
    nginx.start()
    start = partial(
        serving, REDIS_URL=redis_url, GATEWAY_OWNERSHIP="token", GATEWAY_PORT=str(port),
        GATEWAY_DRAIN_SECONDS="0.2",
    )  # fmt: skip
    async with Publisher(redis_url) as publisher, AsyncExitStack() as stack:
        stack.callback(nginx.stop)
        await publish(publisher, 1, 2, 3)
        async with start() as first:
            followers = []
            for name, language in libraries.items():
                relay = await stack.enter_async_context(Recorder(int(nginx.url.split(":")[-1])))
                one = Follower(name, language, relay)
                command = compiled.command_of(name)
                await stack.enter_async_context(running(one, *command, cwd=tmp_path))
                followers.append(one)
            observed = [Observed(one) for one in followers]
            await all_of(followers, lambda one: len(one.numbers) >= 3)
            first.signal(signal.SIGTERM)
            await first.ended()
        await asked_again(followers)
        async with start() as second:
            await publish(publisher, 4, 5)
            await all_of(followers, lambda one: len(one.numbers) >= 5)
            for seen in observed:
                seen.was_restarted()
            second.signal(signal.SIGKILL)
            await second.ended()
        await asked_again(followers)
        async with start():
            await publish(publisher, 6, 7)
            await all_of(followers, lambda one: len(one.numbers) >= 7)
            for seen in observed:
                seen.was_killed()
            await end(publisher, followers)
    text = DOCUMENT.read_text()
    missing = [row for row in table(observed).splitlines() if row not in text]
    assert missing == [], "put this into the document:\n" + "\n".join(missing)


async def asked_again(followers: list[Follower]) -> None:
    """Wait until each has got an answer of nginx itself."""
    answered = {one.name: len(one.recorder.statuses) for one in followers}
    await all_of(followers, lambda one: len(one.recorder.statuses) > answered[one.name])
