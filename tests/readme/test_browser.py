"""The README's JavaScript, run in Chromium as it stands."""

from typing import Any

from playwright.async_api import async_playwright
from redis.asyncio import Redis

from gateway.access.tokens import issue
from gateway.contract.keys import events_key
from tests.conftest import RunningGateway, StartGateway
from tests.readme.blocks import blocks
from tests.support import SECRET, eventually, producer_message, require

_FOLLOW = """([api, token]) => {
  window.seen = [];
  window.stream = followExecution(api, "run-42", token, "acme", (event) => seen.push(event));
}"""


async def test_snippet(start_gateway: StartGateway, redis: Redis) -> None:
    """The function of the README shows a page of another origin each event until the last one,
    also when all are over, closes the stream there, and says when it is refused."""
    gateway = await start_gateway(ownership="token", cors_origins="*", cors_credentials=False)
    elsewhere = await start_gateway(ownership="token")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=require("chromium"), args=["--no-sandbox"]
        )
        # Any page of another origin will do; scripts of the page itself stay out of the way, and
        # that the gateway's own answers run none must not.
        page = await browser.new_page(bypass_csp=True)
        await page.goto(f"{elsewhere.url}/api/v1/sse/health")
        [block] = blocks("js")
        await page.add_script_tag(content=block.text)

        async def seen() -> list[Any]:
            return list(await page.evaluate("seen"))

        token = issue(SECRET, organization_id="acme")
        await page.evaluate(_FOLLOW, [gateway.url, token])
        await _opened(gateway)
        await redis.publish("execution:run-42", producer_message("step:started", node_id="a"))
        await redis.publish("execution:run-42", producer_message("execution:completed"))
        await eventually(lambda: _last_is("execution:completed", seen))
        assert [event["type"] for event in await seen()] == ["step:started", "execution:completed"]
        assert (await seen())[0]["data"] == {"node_id": "a"}
        assert await page.evaluate("stream.readyState === EventSource.CLOSED")

        # Pages that come late: one to its history, one when only the status is known any more (to
        # the other gateway, which has not read that history lately).
        for url, first in ((gateway.url, "step:started"), (elsewhere.url, "stream:gap")):
            await page.evaluate(_FOLLOW, [url, token])
            await eventually(lambda: _last_is("execution:completed", seen))
            assert [event["type"] for event in await seen()] == [first, "execution:completed"]
            assert await page.evaluate("stream.readyState === EventSource.CLOSED")
            await redis.delete(events_key("run-42"))

        await page.evaluate(_FOLLOW, [gateway.url, "nonsense"])
        await eventually(lambda: _last_is("refused", seen))
        await browser.close()


async def _opened(gateway: RunningGateway) -> None:
    await eventually(lambda: len(gateway.components.hub) == 1)


async def _last_is(event_type: str, seen: Any) -> bool:
    events = await seen()
    return bool(events) and events[-1]["type"] == event_type
