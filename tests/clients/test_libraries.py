"""Client libraries that people have, as they are, through a restart and a crash of the gateway."""

import signal
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from pathlib import Path

from playwright.async_api import BrowserContext

from gateway.publisher import Publisher
from tests.browser.conftest import chromium, window
from tests.clients.follower import Follower, command_of, open_in, prepare, running
from tests.clients.recorder import Recorder
from tests.clients.table import Observed, table
from tests.harness.gateway_process import serving
from tests.support import eventually, free_port

__all__ = ["chromium", "window"]

DOCUMENT = Path(__file__).parents[2] / "gateway" / "client" / "CLIENTS.md"
LIBRARIES = {
    "eventsource": "Node",
    "eventsource-client": "Node",
    "fetch-event-source": "browser",
    "event-source-polyfill": "browser",
    "reconnecting-eventsource": "browser",
    "httpx-sse": "Python",
    "aiohttp-sse-client2": "Python",
    "sseclient-py": "Python",
    "curl": "shell",
}
_WITHIN = 20.0
"""Seconds: some wait for twice as long as the gateway asks them to, and each time longer."""


@asynccontextmanager
async def following(
    port: int, window: BrowserContext, directory: Path
) -> AsyncIterator[list[Follower]]:
    """A follower with each library, all of the gateway on *port*, each through its own relay."""
    in_pages = [name for name, runs_in in LIBRARIES.items() if runs_in == "browser"]
    prepare(directory, *in_pages)
    async with AsyncExitStack() as stack:
        followers = []
        for name, runs_in in LIBRARIES.items():
            recorder = await stack.enter_async_context(Recorder(port))
            follower = Follower(name, runs_in, recorder)
            if runs_in == "browser":
                await stack.enter_async_context(open_in(window, follower, directory))
            else:
                command = command_of(name, runs_in)
                await stack.enter_async_context(running(follower, *command, cwd=directory))
            followers.append(follower)
        yield followers


async def test_libraries(redis_url: str, window: BrowserContext, tmp_path: Path) -> None:
    """Each library follows one run through a gateway that sends it away to another one, and one
    that is killed while more is published, and gets every event once and in order; then it stops,
    those that ask again because of a 204. The table in CLIENTS.md is what was seen of it."""
    old, new = free_port(), free_port()
    settings = {
        "REDIS_URL": redis_url,
        "GATEWAY_OWNERSHIP": "token",
        "GATEWAY_CORS_ORIGINS": "*",
        "GATEWAY_DRAIN_SECONDS": "0.2",
    }
    async with Publisher(redis_url) as publisher, AsyncExitStack() as stack:
        start = partial(serving, **settings)
        first = await stack.enter_async_context(start(GATEWAY_PORT=str(old)))
        followers = await stack.enter_async_context(following(old, window, tmp_path / "followers"))
        observed = [Observed(one) for one in followers]
        await publish(publisher, 1, 2, 3)
        await all_of(followers, lambda one: len(one.numbers) >= 3)
        second = await stack.enter_async_context(start(GATEWAY_PORT=str(new)))
        for one in followers:
            one.recorder.target = new
        first.signal(signal.SIGTERM)
        await first.ended()
        await publish(publisher, 4, 5)
        await all_of(followers, lambda one: len(one.numbers) >= 5)
        for seen in observed:
            seen.was_restarted()
        second.signal(signal.SIGKILL)
        await second.ended()
        await publish(publisher, 6, 7)
        await stack.enter_async_context(start(GATEWAY_PORT=str(new)))
        await all_of(followers, lambda one: len(one.numbers) >= 7)
        for seen in observed:
            seen.was_killed()
        await end(publisher, followers)
    assert table(observed) in DOCUMENT.read_text(), f"put this there:\n{table(observed)}"


async def publish(publisher: Publisher, *numbers: int) -> None:
    for number in numbers:
        await publisher.publish("run-1", "step:started", {"number": number})


async def end(publisher: Publisher, followers: list[Follower]) -> None:
    """End the run: each follower has got all of it once and in order, and stops."""
    await publisher.publish("run-1", "execution:completed", {"number": 8})
    await all_of(followers, lambda one: one.over)
    wrong = {one.name: one.numbers for one in followers if one.numbers != list(range(1, 9))}
    assert wrong == {}


async def all_of(followers: list[Follower], condition: Callable[[Follower], object]) -> None:
    """Wait until it holds for every one; else those for whom it does not are named."""
    try:
        await eventually(lambda: all(map(condition, followers)), _WITHIN)
    except AssertionError as error:
        for one in followers:
            if not condition(one):
                error.add_note(f"{one.name}: {one.numbers} {one.over} {one.recorder.statuses}")
        raise
