"""A tab in a real Chromium, and pages of an application on another origin than the gateway's."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from playwright.async_api import BrowserContext, async_playwright

from tests.browser.chromium import Chromium
from tests.browser.tab import Tab
from tests.dev.conftest import start_viewer

__all__ = ["start_viewer"]

APPLICATION = Path(__file__).parent / "application"


@pytest.fixture(scope="session")
def chromium() -> Iterator[Chromium]:
    """The browser that all tests share."""
    browser = Chromium()
    yield browser
    browser.stop()


@pytest.fixture
async def window(chromium: Chromium) -> AsyncIterator[BrowserContext]:
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
async def tab(window: BrowserContext) -> Tab:
    """One tab, which remembers what its console said."""
    return Tab(await window.new_page())


@asynccontextmanager
async def application(directory: Path) -> AsyncIterator[str]:
    """Serves the pages of an application; the address is an origin of its own."""

    async def index(_: web.Request) -> web.FileResponse:
        return web.FileResponse(directory / "index.html")

    pages = web.Application()
    pages.router.add_get("/", index)
    pages.router.add_static("/", directory)
    runner = web.AppRunner(pages)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    [(host, port)] = runner.addresses
    yield f"http://{host}:{port}"
    await runner.cleanup()


@pytest.fixture
async def origin() -> AsyncIterator[str]:
    """The origin of an application whose page follows executions; it is not the gateway's."""
    async with application(APPLICATION) as address:
        yield address
