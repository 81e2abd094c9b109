"""The demonstration of `sse-gateway dev`: what its page breaks, and that it shows what came of it.

The pictures stay in `artefacts/`.
"""

import re
from collections.abc import AsyncIterator

import pytest
from playwright.async_api import Page, expect

from tests.browser.dev_page import shown
from tests.browser.page.test_timeline import load_axe, pictures
from tests.browser.tab import Tab
from tests.browser.test_dev_page import found_by_axe
from tests.tools.dev.processes import Dev, running_dev

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

LOST_CONNECTIONS = (
    r"ERR_CONNECTION_REFUSED|ERR_CONNECTION_RESET|ERR_INCOMPLETE_CHUNKED|status of 50"
)


@pytest.fixture
async def dev() -> AsyncIterator[Dev]:
    async with running_dev("--port", "0", "--pace", "2") as dev:
        yield dev


async def number(page: Page, name: str) -> int:
    return int(await page.locator(f"#trial-{name}").inner_text())


async def test_what_is_broken_comes_back_and_the_page_counts_that_nothing_is_lost(
    dev: Dev, tab: Tab
) -> None:
    """A cut connection, a restart of the gateway and of Redis: events before, while it was away and
    since, as many as the engine has published. Where Redis comes back without its data, the page
    says that it is lost."""
    async with shown(tab, f"{dev.url}/#/demo", expected_errors=LOST_CONNECTIONS) as page:
        await expect(page.locator("#connection-words")).to_have_text("live")
        verdict = page.locator("#trial-verdict")
        for name, picture in (
            ("Cut this connection", "cut"),
            ("Restart the gateway", "gateway-restarted"),
            ("Restart Redis", "redis-restarted"),
        ):
            await page.get_by_role("button", name=name, exact=True).click()
            await expect(page.locator("#trial-title")).to_contain_text(name)
            await expect(page.locator("#trial-away-name")).to_contain_text("(", timeout=20_000)
            await expect(verdict).to_have_text(
                "Nothing was lost, and nothing came twice.", timeout=20_000
            )
            await expect(page.locator("#trial-since")).not_to_have_text("0", timeout=20_000)
            assert await number(page, "before") > 0
            await expect(page.locator("#trial-here")).to_have_text(re.compile(r"^(\d+) · \1$"))
            await expect(page.locator("#connection-words")).to_have_text("live")
            await pictures(page, picture)
        await expect(page.locator("#trial-arrival")).to_contain_text("p95")
        await page.get_by_role("button", name="without its data").click()
        await expect(verdict).to_contain_text("are lost there", timeout=20_000)
        await expect(page.locator("#trial-since")).not_to_have_text("0", timeout=20_000)
        await pictures(page, "redis-lost")
        # A line that has just arrived has another background for a second.
        await page.emulate_media(reduced_motion="reduce")
        await load_axe(page)
        assert await found_by_axe(page) == []
