"""The page of executions in a tab, as a test uses it."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from playwright.async_api import Page, expect
from redis.asyncio import Redis

from tests.browser.tab import Tab
from tests.support import producer_message

NEVER = "(?!)"
ARTEFACTS = Path(__file__).parents[2] / "artefacts"


@asynccontextmanager
async def shown(tab: Tab, url: str, *, expected_errors: str = NEVER) -> AsyncIterator[Page]:
    """The page at *url*; no script of it fails, nothing that it asks for is missing, and it asks
    no other host."""
    hosts: set[str] = set()
    tab.page.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    await tab.page.goto(url)
    yield tab.page
    errors = [error for error in tab.errors if not re.search(expected_errors, error)]
    assert not errors, errors
    assert hosts <= {urlsplit(url).netloc, ""}


async def kept(page: Page, name: str) -> None:
    """Keep a picture for whoever wants to look."""
    ARTEFACTS.mkdir(exist_ok=True)
    await page.screenshot(path=ARTEFACTS / f"{name}.png")


async def watch(page: Page, execution_id: str) -> None:
    """Ask the page for an execution that is not listed."""
    await page.fill("#watch-id", execution_id)
    await page.click("#watch button")
    await expect(page.locator("#run")).to_have_attribute("data-execution", execution_id)


async def publish(redis: Redis, event_type: str, **data: Any) -> None:
    await redis.publish("execution:my-run", producer_message(event_type, **data))
