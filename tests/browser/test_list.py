"""The list of an organization's runs on the page, in a real Chromium."""

import re
import signal
from collections.abc import Callable
from typing import Any, Literal

import pytest
from playwright.async_api import Page, expect

from gateway.access.tokens import issue
from gateway.publisher import Publisher
from tests.browser.dev_page import kept, shown
from tests.browser.page.test_timeline import load_axe
from tests.browser.tab import Tab
from tests.browser.test_dev_page import found_by_axe
from tests.browser.test_first_minute import SMALLEST_TARGET, TARGETS
from tests.conftest import StartGateway
from tests.harness.gateway_process import serving
from tests.harness.redis_process import RedisProcess
from tests.npm import MODULES
from tests.support import SECRET, free_port

EMAIL = {"node_id": "a", "node_type": "email"}
# `serve` has no session to give.
NO_SESSION = "status of 404"
AWAY = f"ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|status of 503|{NO_SESSION}"


async def sign_in(page: Page, organization: str = "acme", **more: Any) -> None:
    await page.fill("#token", issue(SECRET, organization_id=organization, **more))
    await page.fill("#organization", organization)
    await page.click("#sign-in button")
    await expect(page.locator("#main")).to_be_visible()


async def begin(publisher: Publisher, run: str, workflow: str, organization: str = "acme") -> None:
    await publisher.register(run, organization, workflow)
    await publisher.publish(run, "step:started", EMAIL)


async def test_the_list_is_live_can_be_narrowed_and_leads_to_a_run(
    start_gateway: StartGateway, redis_url: str, tab: Tab
) -> None:
    """After the sign-in it says that there is no run; then those of the organization appear by
    themselves, and no others, and change as they go on. It shows how many watch. What the filter
    leaves out keeps its name where it is shown. axe finds nothing; nothing scrolls sideways on a
    phone, or is too small for a finger."""
    gateway = await start_gateway(ownership="registry", page=True)
    await tab.page.set_viewport_size({"width": 1280, "height": 800})
    rows = tab.page.locator("#list li")
    async with (
        shown(tab, gateway.url, expected_errors=NO_SESSION) as page,
        Publisher(redis_url) as publisher,
    ):
        await sign_in(page)
        await expect(page.locator("#empty")).to_contain_text("of your organization")
        await kept(page, "list-empty")
        await begin(publisher, "theirs", "secret", "other")
        await begin(publisher, "run-1", "invoices")
        await expect(rows).to_contain_text(["invoices"])
        await begin(publisher, "run-2", "onboarding")
        await expect(rows.filter(has_text="onboarding")).to_contain_text("running")
        await publisher.execution_failed("run-1", error_message="no")
        await expect(rows.filter(has_text="invoices")).to_contain_text("failed")
        await rows.filter(has_text="onboarding").locator("button").click()
        await expect(page.locator("#watching")).to_have_text("1 watching")
        await expect(page.locator("#list button[aria-current=true]")).to_contain_text("1 watching")
        await page.evaluate(f"() => {{ {(MODULES / 'axe-core' / 'axe.min.js').read_text()} }}")
        assert await found_by_axe(page) == []
        await kept(page, "list")
        await page.select_option("#status-filter", "failed")
        await expect(rows).to_contain_text(["invoices"])
        await page.fill("#workflow-filter", "onboarding")
        await page.press("#workflow-filter", "Enter")
        await expect(page.locator("#list-state")).to_have_text("No run matches the filter.")
        await expect(rows).to_have_count(0)
        await publisher.execution_failed("run-2", error_message="no")
        await expect(rows).to_contain_text(["onboarding"])
        await expect(page.locator("#status")).to_have_text("failed")
        await page.fill("#workflow-filter", "invoices")
        await page.press("#workflow-filter", "Enter")
        await expect(rows).to_contain_text(["invoices"])
        await expect(page.locator("#chosen-title")).to_have_text("onboarding")
        await page.set_viewport_size({"width": 390, "height": 844})
        assert await page.evaluate("document.documentElement.scrollWidth") <= 390
        found = await page.evaluate(TARGETS)
        assert [one for one, height in found if height < SMALLEST_TARGET] == []
        await kept(page, "list-phone")


async def test_the_list_comes_back_after_restarts_of_the_gateway_and_of_redis(
    redis_process: Callable[..., RedisProcess], tab: Tab
) -> None:
    """While the gateway is away the list stays and says so; then it shows what has happened
    meanwhile. A restart of Redis is not noticed but for a moment's delay."""
    server = redis_process("--appendonly", "yes")
    settings = {
        "REDIS_URL": server.gateway_url,
        "GATEWAY_OWNERSHIP": "registry",
        "GATEWAY_PAGE": "true",
        "GATEWAY_PORT": str(free_port()),
    }
    rows, state = tab.page.locator("#list li"), tab.page.locator("#list-state")
    async with Publisher(server.url) as publisher:
        async with serving(**settings) as gateway:
            await tab.page.goto(gateway.url)
            await sign_in(tab.page)
            await begin(publisher, "run-1", "invoices")
            await expect(rows).to_contain_text(["running"])
            gateway.signal(signal.SIGKILL)
            await gateway.ended()
        await expect(state).to_contain_text("does not answer")
        await expect(rows).to_contain_text(["running"])
        await kept(tab.page, "list-away")
        await publisher.execution_completed("run-1")
        async with serving(**settings):
            await tab.page.evaluate("dispatchEvent(new Event('online'))")
            await expect(rows).to_contain_text(["completed"], timeout=30_000)
            await expect(state).to_be_empty()
            server.stop()
            server.start()
            await begin(publisher, "run-2", "onboarding")
            await expect(rows).to_contain_text(["onboarding", "invoices"], timeout=30_000)
    assert [error for error in tab.errors if not re.search(AWAY, error)] == []


async def test_a_sign_in_that_is_refused_says_why_and_a_token_for_some_runs_lists_these(
    start_gateway: StartGateway, redis_url: str, tab: Tab
) -> None:
    """A token of another organization is refused at once. With a token for some runs alone one can
    sign in, and sees no others."""
    gateway = await start_gateway(ownership="token", page=True)
    rows = tab.page.locator("#list li")
    async with (
        shown(tab, gateway.url, expected_errors="status of 40[34]") as page,
        Publisher(redis_url) as publisher,
    ):
        await page.fill("#token", issue(SECRET, organization_id="other"))
        await page.fill("#organization", "acme")
        await page.click("#sign-in button")
        await expect(page.locator("#sign-in-problem")).to_contain_text("organization")
        await expect(page.locator("#main")).to_be_hidden()
        await begin(publisher, "run-1", "invoices")
        await begin(publisher, "run-2", "onboarding")
        await sign_in(page, more={"executions": ["run-2"]})
        await expect(rows).to_contain_text(["onboarding"])
        await expect(rows).to_have_count(1)


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("is_on", [True, False])
async def test_the_first_page_of_serve_is_accessible(
    start_gateway: StartGateway, tab: Tab, is_on: bool, scheme: Literal["light", "dark"]
) -> None:
    """axe finds nothing in the sign-in, after a refusal too, and where the page is switched off."""
    gateway = await start_gateway(ownership="token", page=is_on)
    await tab.page.emulate_media(color_scheme=scheme)
    async with shown(tab, gateway.url, expected_errors="status of 40[134]") as page:
        await load_axe(page)
        assert await found_by_axe(page) == []
        if is_on:
            await page.fill("#token", "none")
            await page.fill("#organization", "acme")
            await page.click("#sign-in button")
            await expect(page.locator("#sign-in-problem")).not_to_be_empty()
            assert await found_by_axe(page) == []
