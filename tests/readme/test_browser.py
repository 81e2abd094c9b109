"""The JavaScript of the documents, run in Chromium as it is written."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from playwright.async_api import Page, async_playwright
from redis.asyncio import Redis

from gateway.access.tokens import issue
from gateway.contract.keys import events_key
from tests.conftest import RunningGateway, StartGateway
from tests.harness.http_proxy import proxy_before
from tests.readme.blocks import CLIENT, CLIENT_IN_PORTUGUESE, README, blocks
from tests.support import SECRET, eventually, producer_message, require

_FOLLOW = """([api, token]) => {
  window.seen = [];
  window.stream = followExecution(api, "run-42", token, "acme", (event) => seen.push(event));
}"""


_NAMES = """([token]) => {
  window.seen = [];
  window.token = token;
  window.session = { token: () => token };
  window.show = window.render = (...args) => seen.push(args);
}"""
"""What the snippets take for granted."""


@asynccontextmanager
async def _page_at(url: str) -> AsyncIterator[Page]:
    """A page of *url*. Scripts of the page itself stay out of the way, and that the gateway's own
    answers run none must not."""
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(
            executable_path=require("chromium"), args=["--no-sandbox"]
        )
        page = await browser.new_page(bypass_csp=True)
        await page.goto(f"{url}/api/v1/sse/health")
        yield page
        await browser.close()


async def test_the_package_is_used_as_the_documents_show_it(
    start_gateway: StartGateway, redis: Redis
) -> None:
    """Each snippet that imports the package from a gateway follows its execution to the end."""
    gateway = await start_gateway(ownership="token", cors_origins="*")
    token = issue(SECRET, organization_id="acme")
    snippets = [
        block.text
        for document in (README, CLIENT, CLIENT_IN_PORTUGUESE)
        for block in blocks(document, "js")
        if "client/index.js" in block.text
    ]
    assert len(snippets) >= 4
    async with _page_at(gateway.url) as page:
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        for number, snippet in enumerate(snippets):
            await page.evaluate(_NAMES, [token])
            text = re.sub(r"https?://[^/]+(?=/api/v1/sse/client/)", gateway.url, snippet).replace(
                "org-456", "acme"
            )
            # A run of its own for each.
            text = re.sub(r'(?<=subscribeToExecution\(")[^"]+', f"run-{number}", text)
            await page.add_script_tag(content=text, type="module")
            await _opened(gateway)
            await redis.publish(f"execution:run-{number}", producer_message("execution:completed"))
            await eventually(lambda: page.evaluate("seen.length"))
            await eventually(lambda: len(gateway.components.hub) == 0)
        assert errors == []


async def test_native_event_source(start_gateway: StartGateway, redis: Redis) -> None:
    """The guide's function shows a page of another origin each event until the last one, also when
    all are over, closes the stream there, and says when it is refused."""
    gateway = await start_gateway(ownership="token", cors_origins="*")
    elsewhere = await start_gateway(ownership="token")
    # Any page of another origin will do.
    async with _page_at(elsewhere.url) as page:
        [block] = [one for one in blocks(CLIENT, "js") if "new EventSource" in one.text]
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


async def test_native_event_source_that_the_browser_has_given_up(
    start_gateway: StartGateway, redis: Redis
) -> None:
    """An error status for a reconnect ends an EventSource for good. The guide's function opens
    another one, which goes on where the first one was."""
    gateway = await start_gateway(ownership="token", cors_origins="*")
    async with proxy_before(gateway.url, "passes") as proxy, _page_at(gateway.url) as page:
        [block] = [one for one in blocks(CLIENT, "js") if "new EventSource" in one.text]
        await page.add_script_tag(content=block.text)
        await page.evaluate(_FOLLOW, [proxy.url, issue(SECRET, organization_id="acme")])
        await _opened(gateway)
        await redis.publish("execution:run-42", producer_message("step:started", node_id="a"))
        await eventually(lambda: page.evaluate("seen.length"))
        proxy.habit = "refuses"
        await gateway.components.hub.cut()
        await eventually(lambda: page.evaluate("stream.readyState === EventSource.CLOSED"))
        proxy.habit = "passes"
        await _opened(gateway)
        await redis.publish("execution:run-42", producer_message("execution:completed"))
        await eventually(lambda: page.evaluate("seen.length > 1"))
        types = await page.evaluate("seen.map(({ type }) => type)")
        assert types == ["step:started", "execution:completed"]


async def _opened(gateway: RunningGateway) -> None:
    await eventually(lambda: len(gateway.components.hub) == 1)


async def _last_is(event_type: str, seen: Any) -> bool:
    events = await seen()
    return bool(events) and events[-1]["type"] == event_type
