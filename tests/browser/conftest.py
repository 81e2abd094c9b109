"""A tab in a real Chromium, and pages of an application on another origin than the gateway's."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from playwright.async_api import BrowserContext, async_playwright, expect

from tests.browser.chromium import Chromium
from tests.browser.servers import pages
from tests.browser.tab import Tab
from tests.support import DEADLINE, served
from tests.tools.dev.conftest import start_viewer

__all__ = ["start_viewer"]

APPLICATION = Path(__file__).parent / "application"

# Instead of five seconds, in which a busy machine may not have painted.
expect.set_options(timeout=DEADLINE * 1000)


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """The browser that all tests share."""
    browser = Chromium()
    yield browser
    browser.stop()


@asynccontextmanager
async def window_of(chromium: Chromium) -> AsyncIterator[BrowserContext]:
    """The browser's window, without tabs of other tests."""
    async with async_playwright() as playwright:
        # Without the defaults a tab in the background is hidden, as it is for people.
        browser = await playwright.chromium.connect_over_cdp(chromium.endpoint, no_defaults=True)
        [context] = browser.contexts
        before = list(context.pages)
        yield context
        for page in context.pages:
            if page not in before:
                await page.close()


@pytest.fixture
async def window(chromium: Chromium) -> AsyncIterator[BrowserContext]:
    async with window_of(chromium) as window:
        yield window


@pytest.fixture
async def tab(window: BrowserContext) -> Tab:
    """One tab, which remembers what its console said."""
    return Tab(await window.new_page())


@pytest.fixture
async def origin() -> AsyncIterator[str]:
    """The origin of an application whose page follows executions; it is not the gateway's."""
    async with served(pages(APPLICATION)) as address:
        yield address
