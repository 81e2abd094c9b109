"""The page keeps up with a run of thousands of steps: how much CPU time a frame takes."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from playwright.async_api import CDPSession, Page, expect
from redis.asyncio import Redis

from gateway.contract.keys import channel
from gateway.contract.meta import kind_of
from gateway.contract.scripts import PUBLISH, HistoryLimits, publish_call
from gateway.publisher import Publisher
from tests.browser.dev_page import kept, shown, watch
from tests.browser.tab import Tab
from tests.support import producer_message
from tests.tools.dev.conftest import StartViewer

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

STEPS = 3000
PER_SECOND = 20
SECONDS = 2
MOST_MS = 50
NODES = 40


@asynccontextmanager
async def traced(session: CDPSession) -> AsyncIterator[list[dict[str, Any]]]:
    """What the browser does meanwhile, as its own tracing has it."""
    events: list[dict[str, Any]] = []
    complete = asyncio.Event()
    session.on("Tracing.dataCollected", lambda data: events.extend(data["value"]))
    session.on("Tracing.tracingComplete", lambda _: complete.set())
    categories = ["toplevel", "devtools.timeline", "__metadata"]
    await session.send("Tracing.start", {"traceConfig": {"includedCategories": categories}})
    yield events
    await session.send("Tracing.end")
    await complete.wait()


def cpu_ms(events: list[dict[str, Any]]) -> list[float]:
    """The CPU time of each task of a page's main thread in which a frame was drawn, in
    milliseconds: on a busy machine the time on the clock has that of others too."""
    main = {
        (one["pid"], one["tid"])
        for one in events
        if one["name"] == "thread_name" and one["args"]["name"] == "CrRendererMain"
    }
    return [
        one["tdur"] / 1000
        for one in events
        if one["name"] == "ThreadControllerImpl::RunTask"
        and (one["pid"], one["tid"]) in main
        and "BeginMainFrame" in one["args"].get("src_func", "")
        and one.get("tdur", 0) > 1000
    ]


async def test_a_run_of_3000_steps_with_20_events_a_second_keeps_every_frame_below_50_ms(
    start_viewer: StartViewer, tab: Tab, redis: Redis, redis_url: str
) -> None:
    """Of its last steps as of the whole run, and with the log at its end. Where others take the
    caches of the machine's processors, the second or third measurement counts."""
    principal = await start_viewer(pace=None)
    await tab.page.set_viewport_size({"width": 1280, "height": 860})
    await record_run(redis)
    async with Publisher(redis_url) as publisher:
        session = await tab.page.context.new_cdp_session(tab.page)
        async with shown(tab, principal.url) as page:
            await watch(page, "my-run")
            await expect(page.locator("#steps-done")).to_have_text(f"{STEPS:,}", timeout=60_000)
            for view in ("Last steps", "Whole run"):
                button = page.get_by_role("button", name=view)
                if await button.is_enabled():
                    await button.click()
                longest = []
                for _ in range(3):
                    longest.append(max(await frames_while(publisher, session, page)))
                    if longest[-1] < MOST_MS:
                        break
                assert min(longest) < MOST_MS, f"{view}: {longest}"
                await kept(page, f"3000-steps-{view}")


async def record_run(redis: Redis) -> None:
    """The steps of the run so far, in history; one by one they would take a minute."""
    await redis.script_load(PUBLISH.text)
    limits = HistoryLimits(max_events=3 * STEPS)
    async with redis.pipeline(transaction=False) as pipeline:
        for number in range(2 * STEPS):
            step = number // 2
            kind = ("started", "completed")[number % 2]
            node = {"node_id": f"n{step}", "node_type": f"render {step % NODES}"}
            _, keys, arguments = publish_call(
                "my-run",
                producer_message(f"step:{kind}", **node),
                channel=channel("execution:", "my-run"),
                idempotency_key=str(number),
                terminal_type="",
                limits=limits,
                kind=kind_of(f"step:{kind}"),
            )
            pipeline.evalsha(PUBLISH.sha, len(keys), *keys, *arguments)
        await pipeline.execute()


async def frames_while(publisher: Publisher, session: CDPSession, page: Page) -> list[float]:
    """The CPU time of each frame, in milliseconds, from the first event until the last is shown."""
    last = ""
    async with traced(session) as events:
        for number in range(SECONDS * PER_SECOND):
            node = {"node_id": f"late {number // 2}", "node_type": "late"}
            kind = ("started", "completed")[number % 2]
            last = await publisher.publish("my-run", f"step:{kind}", node)
            await asyncio.sleep(1 / PER_SECOND)
        events_shown = f"{int(last.rpartition('-')[2]):,} "
        await expect(page.locator("#events")).to_contain_text(events_shown)
    return cpu_ms(events)
