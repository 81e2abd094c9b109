"""What the package and the page show of a run is true where the stream alone does not tell: after a
failover or a restart of Redis, and when history has expired. The pictures stay in `artefacts/`."""

import asyncio
import re
from collections.abc import AsyncIterator, Callable

import pytest
from playwright.async_api import BrowserContext, Route, expect
from redis.asyncio import Redis

from gateway.contract.keys import events_key
from gateway.publisher import Publisher
from tests.browser.dev_page import kept, shown, watch
from tests.browser.follower import Follower
from tests.browser.tab import Tab
from tests.conftest import StartGateway
from tests.delivery.backends import ReplicatedRedis, SingleRedis
from tests.harness.http_proxy import proxy_before
from tests.harness.redis_process import RedisProcess
from tests.tools.dev.conftest import StartViewer

Backend = SingleRedis | ReplicatedRedis


@pytest.fixture(params=["restart", "failover"])
async def backend(request: pytest.FixtureRequest) -> AsyncIterator[Backend]:
    """A Redis that loses nothing when `change` is called."""
    durable = "--appendonly", "yes", "--appendfsync", "always"
    backend = SingleRedis(*durable) if request.param == "restart" else ReplicatedRedis()
    await backend.start()
    if isinstance(backend, ReplicatedRedis):
        await backend.linked()
    yield backend
    await backend.clean_up()


async def change(backend: Backend) -> None:
    """Its next event begins a new epoch, in which nothing is lost."""
    if isinstance(backend, ReplicatedRedis):
        await backend.synchronized()
        await backend.fail_over(promoted_first=True)
    else:
        await asyncio.to_thread(backend.server.kill)
        await asyncio.to_thread(backend.server.start)


async def publish(backend: Backend, *numbers: int, execution_id: str = "run-1") -> str:
    """Each is a step that begins and ends; returns the last id."""
    last = ""
    async with Publisher(backend.url) as publisher:
        for number in numbers:
            step = {"node_id": f"n{number}", "node_type": f"step {number}", "number": number}
            await publisher.publish(execution_id, "step:started", step)
            last = await publisher.publish(execution_id, "step:completed", step)
    return last


async def test_a_new_epoch_in_which_nothing_is_lost(
    backend: Backend, start_gateway: StartGateway, origin: str, tab: Tab, window: BrowserContext
) -> None:
    """A tab with a stream, and one that polls, keep every step: neither forgets the run, and the
    stream is live, and not catching up for the rest of its connection."""
    gateway = await start_gateway(redis_url=backend.url, ownership="token", cors_origins=origin)
    before = await publish(backend, 1, 2)
    async with proxy_before(gateway.url, "swallows") as proxy:
        live, polling = Follower(tab), Follower(Tab(await window.new_page()))
        for page in (live, polling):
            await page.tab.page.goto(origin)
        await live.follow(gateway.url)
        timing = {"connectedWithinMs": 300, "pollEveryMs": 100, "probeEveryMs": 60_000}
        await polling.follow(proxy.url, timing=timing)
        await live.connected_as("live")
        await polling.connected_as("polling")
        await change(backend)
        after = await publish(backend, 3)
        assert before.partition("-")[0] != after.partition("-")[0]
        for page, connection in ((live, "live"), (polling, "polling")):
            await page.sees(1, 1, 2, 2, 3, 3)
            await page.connected_as(connection)
            run = await page.value("subscription.run")
            steps = [(step["node_id"], step["status"]) for step in run["execution_logs"]]
            assert steps == [(f"n{number}", "success") for number in (1, 2, 3)]
            assert (run["status"], run["complete"]) == ("running", True)


@pytest.mark.parametrize("backend", ["failover"], indirect=True)
async def test_the_page_after_a_failover(
    backend: Backend, start_viewer: StartViewer, tab: Tab
) -> None:
    """The page goes on with the steps that it has, and says that it is live."""
    principal = await start_viewer(pace=None, redis_url=backend.url)
    await publish(backend, 1, 2, execution_id="my-run")
    async with shown(tab, principal.url) as page:
        await watch(page, "my-run")
        await expect(page.locator("#timeline li")).to_have_count(2)
        await change(backend)
        await publish(backend, 3, execution_id="my-run")
        await expect(page.locator("#timeline li")).to_have_count(3)
        await expect(page.locator("#connection-words")).to_have_text("live")
        await expect(page.locator("#status")).to_have_text("running")
        await kept(page, "after-failover")


async def test_a_run_whose_history_has_expired(
    start_viewer: StartViewer, tab: Tab, redis: Redis, redis_url: str
) -> None:
    """The page of an ended run says how it ended, how long it took and what is missing; a reader
    that has seen the end (204) has the whole run, with its steps."""
    principal = await start_viewer(pace=None)
    async with Publisher(redis_url) as publisher:
        step = {"node_id": "n1", "node_type": "email"}
        times = {"started_at": "2026-03-02T08:00:00Z", "completed_at": "2026-03-02T08:01:30Z"}
        await publisher.publish("my-run", "step:started", step | times)
        end = await publisher.publish("my-run", "execution:failed", times)

    async def has_seen_the_end(route: Route) -> None:
        headers = {**route.request.headers, "last-event-id": end}
        await route.continue_(headers=headers)

    async with shown(tab, principal.url) as page:
        stream = re.compile("/stream$")
        await page.route(stream, has_seen_the_end)
        await watch(page, "my-run")
        await expect(page.locator("#status")).to_have_text("failed")
        await expect(page.locator("#timeline li")).to_have_attribute("data-state", "interrupted")
        await expect(page.locator("#lasted")).to_have_text("1 min 30 s")
        await expect(page.locator("#log li")).to_have_count(2)
        await kept(page, "seen-the-end")
        await page.unroute(stream)
        await redis.delete(events_key("my-run"))
        await page.reload()
        await expect(page.locator("#connection-words")).to_have_text("up to date")
        await expect(page.locator("#status")).to_have_text("failed")
        await expect(page.locator("#outcome")).to_contain_text("2 events are no longer kept")
        await expect(page.locator("#lasted")).to_have_text("1 min 30 s")
        await expect(page.locator("#no-steps")).to_have_text("None of its steps are kept.")
        await kept(page, "expired")


async def test_redis_away(
    redis_process: Callable[..., RedisProcess], start_viewer: StartViewer, tab: Tab
) -> None:
    """Where the gateway has lost Redis, the page says so instead of *live*, also of its list; and
    it is live again by itself."""
    process = redis_process()
    principal = await start_viewer(pace=None, redis_url=process.url)
    async with shown(tab, principal.url, expected_errors="status of 50") as page:
        await watch(page, "run-1")
        words = page.locator("#connection-words")
        await expect(words).to_have_text("live")
        process.kill()
        await expect(words).to_have_text("The gateway has lost Redis: no event can arrive.")
        await expect(page.locator("#list-state")).to_contain_text("has lost Redis")
        await kept(page, "redis-away")
        process.start()
        await expect(words).to_have_text("live", timeout=15_000)
        await expect(page.locator("#list-state")).to_have_text("")
