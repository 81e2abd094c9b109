"""What the page looks like in each of its states, in every browser; the pictures stay in
`artefacts/`."""

from dataclasses import dataclass

import pytest
from redis.asyncio import Redis

from gateway.contract.scripts import HistoryLimits
from gateway.publisher import Publisher
from tests.browser.dev_page import ARTEFACTS
from tests.browser.engines.page import Engine, Page
from tests.browser.page.test_timeline import SIZES
from tests.http.histories import Producer
from tests.support import eventually
from tests.tools.dev.conftest import StartViewer

pytestmark = [pytest.mark.long, pytest.mark.timeout(240)]

STATES = {
    "live": ("#status", "running"),
    "completed": ("#status", "completed"),
    "failed": ("#outcome", "The shop is closed"),
    "part": ("#outcome", "This is a part of the run"),
    "restarted": ("#timeline", "restarted"),
    "paused": ("#outcome", "Waits for approval"),
}
"""What the page says of each run, by its id."""

CUT = """() => ["#status", "#connection-words", "#chosen-title", "#lasted", "#steps-done",
    "#latency", "#timeline .name", "#timeline .lasted", "#list .name", "#list .facts span + span"]
  .flatMap((found) => [...document.querySelectorAll(found)])
  .filter((one) => one.textContent && one.getClientRects().length)
  .filter((one) => one.getBoundingClientRect().width < 4).map((one) => one.outerHTML)"""
"""Texts that are shown, and are cut to nothing."""


TRACKS = """() => new Set([...document.querySelectorAll("#timeline .track")]
  .map((one) => one.getBoundingClientRect()).map(({ left, width }) => `${left} ${width}`)).size"""
"""How many places there are for the tracks of the steps, which are below each other."""


AWAY_ONCE = "document.body.innerText.split('The gateway does not answer').length === 2"


@dataclass
class Shown:
    """The page in an engine's tab."""

    engine: Engine
    page: Page

    async def says(self, selector: str, text: str) -> None:
        read = f"document.querySelector('{selector}').textContent"

        async def is_said() -> bool:
            return text in await self.page.evaluate(read)

        await eventually(is_said)

    async def kept(self, name: str) -> None:
        """Nothing scrolls sideways and no text is cut to nothing, at each width."""
        ARTEFACTS.mkdir(exist_ok=True)
        for width, height in SIZES:
            await self.engine.resize(self.page, width, height)
            # Drawn for that width.
            await self.page.evaluate("new Promise((done) => setTimeout(done, 300))")
            if name != "list":
                await self.page.evaluate("document.querySelector('#chosen').scrollIntoView()")
            path = ARTEFACTS / f"state-{name}-{width}-{self.engine.name}.png"
            await self.page.screenshot(path=path)
            sideways = "document.documentElement.scrollWidth > innerWidth"
            assert not await self.page.evaluate(sideways), name
            assert await self.page.evaluate(CUT) == [], name
            assert await self.page.evaluate(TRACKS) <= 1, name


async def publish_all(redis: Redis, publisher: Publisher) -> None:
    """A run in each state."""
    producers = {name: Producer(redis, name) for name in ("live", "completed", "failed", "paused")}
    for producer in producers.values():
        await producer.steps(["email", "webhook"])
    await producers["completed"].publish("execution:completed")
    await producers["live"].publish("step:started", node_id="n3", node_type="signature")
    await producers["failed"].publish("step:started", node_id="n3", node_type="signature")
    await producers["failed"].publish("step:failed", node_id="email", error="The shop is closed")
    await producers["failed"].publish("execution:failed", error_message="The shop is closed")
    await producers["paused"].publish("execution:paused", reason="approval", waiting_for="Ada")
    part = Producer(redis, "part", limits=HistoryLimits(max_events=100))
    await part.steps([f"n{number}" for number in range(150)])
    await part.publish("execution:completed")
    await publisher.step_started("restarted", node_id="n1", node_type="email")
    await publisher.restart("restarted")
    publisher.join_run("restarted")
    await publisher.step_started("restarted", node_id="n1", node_type="email")


async def test_each_state_of_the_page(
    engine: Engine, start_viewer: StartViewer, redis: Redis, redis_url: str
) -> None:
    principal = await start_viewer(pace=None)
    shown = Shown(engine, await engine.new_page())
    async with Publisher(redis_url) as publisher:
        await publish_all(redis, publisher)
        await shown.page.goto(principal.url)
        await shown.page.evaluate(
            "() => { window.failed = []; addEventListener('error', (e) => failed.push(e.message)) }"
        )
        await shown.kept("list")
        for run, said in STATES.items():
            await shown.page.evaluate("(id) => void (location.hash = `/${id}`)", run)
            await shown.says("#chosen-title", run)
            await shown.says(*said)
            await shown.kept(run)
        await principal.stop()
        await shown.says("#connection-words", "reconnecting")
        await eventually(lambda: shown.page.evaluate(AWAY_ONCE))
        await shown.kept("disconnected")
        assert await shown.page.evaluate("failed") == []
