"""Chromium by Playwright, whose pages have all that a test needs."""

from playwright.async_api import BrowserContext
from playwright.async_api import Page as PlaywrightPage

from tests.browser.engines.page import Page


class Chromium:
    """The window of a test's own."""

    name = "chromium"

    def __init__(self, window: BrowserContext) -> None:
        self._window = window

    async def new_page(self) -> Page:
        page = await self._window.new_page()
        session = await self._window.new_cdp_session(page)
        await session.send("Security.setIgnoreCertificateErrors", {"ignore": True})
        return page

    async def hidden_page(self) -> Page:
        page = await self.new_page()
        await self.bring_to_front(await self.new_page())
        return page

    async def bring_to_front(self, page: Page) -> None:
        assert isinstance(page, PlaywrightPage)
        await page.bring_to_front()

    async def resize(self, page: Page, width: int, height: int) -> None:
        assert isinstance(page, PlaywrightPage)
        await page.set_viewport_size({"width": width, "height": height})

    async def go_back(self, page: Page) -> None:
        assert isinstance(page, PlaywrightPage)
        # A page that was kept is not loaded.
        await page.go_back(wait_until="commit")

    async def set_offline(self, page: Page, offline: bool) -> None:
        await self._window.set_offline(offline)
