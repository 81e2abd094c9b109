"""The page of `sse-gateway dev` in a real Chromium. What it looked like stays in `artefacts/`."""

import re
from typing import Literal
from urllib.parse import urlsplit

import orjson
import pytest
from playwright.async_api import Page, expect
from redis.asyncio import Redis

from gateway.access.tokens import issue
from tests.browser.chromium import REBOUND
from tests.browser.dev_page import kept, publish, shown, watch
from tests.browser.tab import Tab
from tests.conftest import StartGateway
from tests.harness.http_proxy import proxy_before
from tests.npm import MODULES
from tests.support import SECRET, eventually
from tests.tools.dev.conftest import StartViewer


async def test_whole_run(start_viewer: StartViewer, tab: Tab) -> None:
    """An execution that is started on the page is shown as bars, waits until it is approved, fails
    in red where it was started to fail, and is listed with its state. A reload in the middle, and
    one after the end, shows the whole run."""
    # Slow enough that the run is not over before a busy machine has clicked on Pause. The click may
    # still come after the pause that the workflow has by itself: then there are two.
    principal = await start_viewer(pace=1)
    await tab.page.set_viewport_size({"width": 1280, "height": 860})
    async with shown(tab, principal.url) as page:
        await page.select_option("#ending", "failed")
        await page.click("#start button")
        running = page.locator("#timeline li[data-state=running]")
        await expect(running.first).to_be_visible()
        await expect(page.locator("#connection")).to_have_attribute("data-status", "live")
        await kept(page, "running")
        # Not the first one: other executions start meanwhile.
        chosen = page.locator("#list li:has(button[aria-current=true])")
        row = await chosen.element_handle()
        await page.click("#pause")
        await expect(page.locator("#outcome")).to_have_text(
            re.compile("^Waits for approval, since"), timeout=15_000
        )
        await expect(page.locator("#status")).to_have_text("paused")
        await expect(page.locator("#connection-words")).to_have_text("live")
        await expect(page.locator("#timeline li[data-state=waiting] .bar").last).to_be_visible()
        await kept(page, "paused")
        assert await chosen.evaluate("(one, row) => one === row", row), (
            "a row that is made anew loses a click, and the focus"
        )
        bars = await page.locator("#timeline li").count()
        assert bars >= 2
        await page.reload()
        await expect(page.locator("#status")).to_have_text("paused")
        await expect(page.locator("#connection-words")).to_have_text("live")
        await expect(page.locator("#timeline li")).to_have_count(bars)
        await page.click("#approve")
        await expect(page.locator("#status")).to_have_text("failed", timeout=20_000)
        error = "The signer's address does not exist"
        await expect(page.locator("#timeline li[data-state=error] .problem")).to_have_text(error)
        await expect(page.locator("#connection-words")).to_have_text("up to date")
        await expect(chosen).to_contain_text("failed")
        await kept(page, "failed")
        assert "Bearer" not in page.url
        bars = await page.locator("#timeline li").count()
        await page.reload()
        await expect(page.locator("#status")).to_have_text("failed")
        await expect(page.locator("#timeline li")).to_have_count(bars)


async def test_no_engine(start_viewer: StartViewer, tab: Tab, redis: Redis) -> None:
    """Without an engine the page offers nothing that only an engine could do, says how a run gets
    there, and shows it by itself when a worker publishes."""
    principal = await start_viewer(pace=None)
    async with shown(tab, principal.url) as page:
        await expect(page.locator("#empty")).to_contain_text("No run yet")
        await kept(page, "no-run-yet")
        await expect(page.locator("#start")).to_be_hidden()
        await expect(page.locator(".primary:visible")).to_have_count(1)
        await watch(page, "my-run")
        await expect(page.locator("#no-steps")).to_be_visible()
        await publish(redis, "step:started", node_type="email")
        await expect(page.locator("#status")).to_have_text("running")
        await expect(page.locator("#no-steps")).to_be_hidden()
        await expect(page.locator("#pause")).to_be_hidden()


async def test_details(start_viewer: StartViewer, tab: Tab, redis: Redis) -> None:
    """What a step is about is shown where the pointer or the focus is, and stays there while the
    bars grow."""
    principal = await start_viewer(pace=None)
    async with shown(tab, principal.url) as page:
        await watch(page, "my-run")
        step = {"node_id": "node-7", "node_type": "email"}
        await publish(redis, "step:started", **step)
        row = page.locator("#timeline li")
        details = row.locator(".details")
        await expect(details).to_be_hidden()
        await row.hover()
        await expect(details).to_contain_text("node-7")
        # Late: the longest text among the facts above.
        late = {"timestamp": "2026-03-02T08:00:00.123456Z"}
        data = {**step, "output": {"sent": 3}}
        completed = orjson.dumps({"type": "step:completed", "data": data, **late})
        await redis.publish("execution:my-run", completed)
        await expect(details).to_contain_text('{"sent":3}')
        await expect(page.locator("#latency-note")).to_contain_text("p99")
        await expect(details).to_be_visible()
        await kept(page, "details")
        await page.mouse.move(0, 0)
        await expect(details).to_be_hidden()
        await row.focus()
        await expect(details).to_be_visible()


async def test_rebound_name(start_viewer: StartViewer, tab: Tab) -> None:
    """A page under a name that resolves to this machine is given no token: it asks for one, like
    any page of `serve`, and can order nothing."""
    principal = await start_viewer(pace=1)
    url = principal.url.replace("127.0.0.1", REBOUND)
    async with shown(tab, url, expected_errors="status of 403") as page:
        await expect(page.locator("#sign-in")).to_be_visible()
        assert await asked_by(page, "/dev/session") == 403
        assert await asked_by(page, "/dev/executions") == 403
        assert await asked_by(page, "/dev/executions", "POST") == 403
    own = principal.url.replace("127.0.0.1", "localhost")
    async with shown(tab, own, expected_errors="status of 403") as page:
        await expect(page.locator("#start")).to_be_visible()
        assert await asked_by(page, "/dev/executions", "POST") == 201


async def asked_by(page: Page, path: str, method: str = "GET") -> int:
    """The status that a script of the page gets."""
    status: int = await page.evaluate(
        """async ([path, method]) => (await fetch(path, {
          method, headers: {"Content-Type": "application/json"},
          body: method === "POST" ? "{}" : undefined,
        })).status""",
        [path, method],
    )
    return status


async def test_page_of_another_origin(start_viewer: StartViewer, tab: Tab, origin: str) -> None:
    """A page of another origin on this machine starts nothing, however simple its request, and
    reads no token."""
    principal = await start_viewer(pace=None)
    await tab.page.goto(origin)
    for request in ({"method": "POST", "mode": "no-cors"}, {"method": "POST"}, {}):
        readable = await tab.page.evaluate(
            "([url, request]) => fetch(url, request).then((got) => got.ok, () => false)",
            [f"{principal.url}/dev/session", request],
        )
        assert readable is False
    assert (await principal.json("/dev/executions"))["executions"] == []


NO_TEXT: tuple[object, ...] = (
    None, False, 0, -1.5, 1e300, [], [[]], {}, {"toString": None}, {"valueOf": 1, "toString": 2},
    {"__proto__": None}, {"__proto__": {"toString": None}}, [{"toString": None}], "", "\u202e",
    "<img src=x onerror=alert(1)>", {"constructor": None, "length": 3}, "x" * 60_000,
    "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z",
)  # fmt: skip


@pytest.mark.timeout(180)
async def test_any_value(start_viewer: StartViewer, tab: Tab, redis: Redis) -> None:
    """Whatever JSON stands where a text is expected, the page shows the execution and goes on: what
    is no text as JSON."""
    principal = await start_viewer(pace=None)
    types = ("step:started", "execution:paused", "step:failed", "step:completed")
    async with shown(tab, principal.url) as page:
        for number, value in enumerate(NO_TEXT):
            execution_id = f"run-{number}"
            await watch(page, execution_id)
            # What is measured of live events reads them too.
            await expect(page.locator("#connection")).to_have_attribute("data-status", "live")
            everywhere = dict.fromkeys(
                (
                    *("node_id", "node_type", "position", "status", "started_at", "completed_at"),
                    *("duration_ms", "output", "error", "error_message", "reason", "waiting_for"),
                    *("execution_time_ms", "generated_document_id"),
                ),
                value,
            )
            envelope = {"type": "", "data": everywhere, "timestamp": value}
            odd = [
                {**envelope, "type": event_type, **data}
                for event_type in types
                for data in ({}, {"data": value})
            ]
            # The run is over with the first terminal event.
            odd.append({**envelope, "type": "execution:failed", "data": value})
            for event in odd:
                await redis.publish(f"execution:{execution_id}", orjson.dumps(event))
            await expect(page.locator("#log li"), repr(value)[:30]).to_have_count(9)
            await expect(page.locator("#status")).to_have_text("failed")
            if isinstance(value, dict):
                await expect(page.locator("#log")).to_contain_text(orjson.dumps(value).decode())


async def test_far_times(start_viewer: StartViewer, tab: Tab, redis: Redis) -> None:
    """Times that are thousands of years apart leave the page at work, with an axis of few marks."""
    principal = await start_viewer(pace=None)
    async with shown(tab, principal.url) as page:
        await watch(page, "my-run")
        await publish(redis, "step:started", node_id="n1", started_at="0001-01-01T00:00:00Z")
        await publish(redis, "step:completed", node_id="n1", completed_at="9999-12-31T00:00:00Z")
        await expect(page.locator("#timeline li")).to_have_attribute("data-state", "success")
        assert 0 < await page.locator("#axis span").count() < 100
        await publish(redis, "execution:completed")
        await expect(page.locator("#status")).to_have_text("completed")


async def test_large_events(start_viewer: StartViewer, tab: Tab, redis: Redis) -> None:
    """An event of nearly a MiB is cut where it is named and whole in the log; one that is deep and
    long, whose layout would take a GiB, can be looked at too."""
    principal = await start_viewer(pace=None)
    async with shown(tab, principal.url) as page:
        await watch(page, "my-run")
        await publish(redis, "step:started", node_type="x" * 900_000)
        deep = "[" * 900 + "1," * 400_000 + "1" + "]" * 900
        data = f'{{"type":"a:deep","data":{{"reason":{deep}}},"timestamp":null}}'
        await redis.publish("execution:my-run", data)
        await publish(redis, "execution:completed")
        await expect(page.locator("#status")).to_have_text("completed")
        names = page.locator("#timeline .name, #log summary")
        lengths = await names.evaluate_all("all => all.map((one) => one.textContent.length)")
        assert max(lengths) < 1000
        for number, least in ((0, 900_000), (1, 800_000), (2, 50)):
            await page.locator("#log summary").nth(number).click()
            whole = page.locator("#log pre").nth(number)
            await expect(whole).not_to_be_empty()
            assert least < await whole.evaluate("one => one.textContent.length") < 1_000_000


async def test_addresses(start_viewer: StartViewer, tab: Tab, redis: Redis) -> None:
    """An execution has an address of its own, which a bookmark or a link leads to; the link that
    skips to the chosen one, with the keyboard, is no execution, and neither is a broken address."""
    principal = await start_viewer(pace=None)
    await publish(redis, "step:started", node_type="email")
    async with shown(tab, f"{principal.url}/#%") as page:
        await expect(page.locator("#follow")).to_be_checked()
        await page.goto(f"{principal.url}/#/my-run")
        await expect(page.locator("#timeline li")).to_contain_text("email")
        await page.reload()
        await expect(page.locator("#timeline li")).to_contain_text("email")
        await page.keyboard.press("Tab")
        await page.keyboard.press("Enter")
        await expect(page.locator("#chosen")).to_be_focused()
        await expect(page.locator("#chosen-title")).to_have_text("my-run")
        await expect(page.locator("#follow")).not_to_be_checked()
        await expect(page.locator("#list li")).to_have_count(1)


async def test_result(start_viewer: StartViewer, tab: Tab) -> None:
    """A run that completes names its result, which is a link only where its worker gave an address;
    dark, narrow, with keys alone."""
    principal = await start_viewer(pace=40)
    await tab.page.emulate_media(color_scheme="dark")
    await tab.page.set_viewport_size({"width": 400, "height": 800})
    async with shown(tab, principal.url) as page:
        await page.focus("#start button")
        await page.keyboard.press("Enter")
        await expect(page.locator("#status")).to_have_text("completed")
        await expect(page.locator("#outcome")).to_contain_text("Result: ")
        await expect(page.locator("#outcome a")).to_have_count(0)
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= 400, "it scrolls sideways"
        await kept(page, "completed-dark-narrow")
        # Other runs begin meanwhile: what was the second is not for long.
        await page.focus("#list button:not([aria-current=true])")
        before = await page.evaluate_handle("document.activeElement")
        await page.keyboard.press("ArrowDown")
        now = await page.evaluate_handle("document.activeElement")
        await page.keyboard.press("Enter")
        pair = {"before": before, "now": now}
        assert await page.evaluate("({before, now}) => before !== now && before.type", pair)
        assert await page.evaluate("({now}) => now.getAttribute('aria-current')", pair) == "true"


async def test_live(start_viewer: StartViewer, tab: Tab, redis: Redis) -> None:
    """An event that a worker publishes appears through the stream, as text whatever it holds; the
    log can be filtered; a link leads to the web or nowhere."""
    principal = await start_viewer(pace=None)
    markup = "<img src=/dev/nothing onerror='document.title = 1'>"
    async with shown(tab, principal.url) as page:
        await watch(page, "my-run")
        await expect(page.locator("#connection-words")).to_have_text("live")
        await publish(redis, "step:started", node_id="a", node_type=markup)
        await publish(redis, "step:failed", node_id="b", node_type="email", error=markup)
        await publish(redis, "step:started")
        await redis.publish("execution:my-run", b'{"type": "step:completed", "data": null}')
        await publish(redis, "own:type", note="findable")
        await publish(redis, "execution:paused", reason=markup)
        await expect(page.locator("#outcome")).to_contain_text(f"Waits for {markup}")
        await expect(page.locator("#timeline .problem:visible")).to_have_text(markup)
        await expect(page.locator("#timeline li").first).to_contain_text(markup)
        assert await page.locator("#run img").count() == 0
        await expect(page.locator("#log li")).to_have_count(6)
        daytime = re.compile(r"^\d\d:\d\d:\d\d[.,]\d{3}$")
        await expect(page.locator("#log summary span:first-child").first).to_have_text(daytime)
        await page.fill("#filter", "findable")
        await expect(page.locator("#log li:visible")).to_have_count(1)
        await page.fill("#filter", "")
        output = {"file_url": "javascript:document.title = 2"}
        await publish(redis, "step:completed", node_id="a", output=output)
        await publish(redis, "execution:completed", generated_document_id="doc-1")
        await expect(page.locator("#outcome")).to_contain_text("Result: doc-1")
        assert await page.locator("#outcome a").count() == 0
        # What is left is the list's.
        await eventually(lambda: principal.server.streams == 1)
        assert await page.title() == "sse-gateway: executions, live"


async def test_restart(start_viewer: StartViewer, tab: Tab) -> None:
    """A gateway that goes away is said, with the time of the next try; one that comes back with
    another secret is joined."""
    principal = await start_viewer(pace=None)
    refusals = r"ERR_CONNECTION_REFUSED|ERR_INCOMPLETE_CHUNKED_ENCODING|status of 401"
    async with shown(tab, principal.url, expected_errors=refusals) as page:
        await watch(page, "my-run")
        state = page.locator("#connection-words")
        await expect(state).to_have_text("live")
        await principal.stop()
        await expect(state).to_have_text(re.compile(r"^reconnecting in \d+ s$"))
        await kept(page, "reconnecting")
        await expect(page.locator("#list-problem")).to_contain_text("does not answer")
        port = urlsplit(principal.url).port
        await start_viewer(pace=None, secret="another-secret-of-32-bytes-or-more!", port=port)
        await expect(state).to_have_text("live", timeout=30_000)
        await expect(page.locator("#list-problem")).to_be_empty()


async def test_polling(start_viewer: StartViewer, tab: Tab, redis: Redis) -> None:
    """Behind a proxy that passes no stream on, the page says after 8 s that it polls, and shows
    what happens all the same."""
    principal = await start_viewer(pace=None)
    async with proxy_before(principal.url, "swallows") as proxy, shown(tab, proxy.url) as page:
        await watch(page, "my-run")
        state = page.locator("#connection-words")
        await expect(state).to_have_text("connecting")
        # Until the gateway has answered, nobody knows whether the run has begun.
        await expect(page.locator("#outcome")).to_be_empty()
        await expect(page.locator("#no-steps")).to_be_empty()
        await expect(state).to_have_text("polling: no stream is possible", timeout=15_000)
        await expect(page.locator("#outcome")).to_contain_text("It has not begun")
        await expect(page.locator("#no-steps")).to_have_text("No step has begun yet.")
        await publish(redis, "step:started", node_type="email")
        await expect(page.locator("#timeline li")).to_contain_text("email")
        await kept(page, "polling")


async def test_a_run_that_the_gateway_does_not_know(start_gateway: StartGateway, tab: Tab) -> None:
    """The page says so while it tries again, and not that the run has not begun."""
    gateway = await start_gateway(page=True, ownership_wait_seconds=0.1)
    async with shown(tab, gateway.url, expected_errors="status of 404") as page:
        await page.fill("#token", issue(SECRET, organization_id="acme"))
        await page.fill("#organization", "acme")
        await page.click("#sign-in button")
        await watch(page, "unknown-run")
        await expect(page.locator("#connection")).to_have_attribute("data-status", "reconnecting")
        await expect(page.locator("#outcome")).to_contain_text("Execution not found")


async def test_copy(start_viewer: StartViewer, tab: Tab, redis: Redis) -> None:
    """The events that the filter leaves are copied as JSON."""
    principal = await start_viewer(pace=None)
    await tab.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    async with shown(tab, principal.url) as page:
        await watch(page, "my-run")
        for number in range(3):
            await publish(redis, "own:type", note=f"findable {number}")
        await expect(page.locator("#log li")).to_have_count(3)
        await page.fill("#filter", "FINDABLE 2")
        await page.click("#copy")
        await expect(page.locator("#copied")).to_have_text("1 event copied")
        [copied] = orjson.loads(await page.evaluate("navigator.clipboard.readText()"))
        assert copied["data"] == {"note": "findable 2"}


@pytest.mark.parametrize("scheme", ["light", "dark"])
async def test_accessible(
    start_viewer: StartViewer, tab: Tab, scheme: Literal["light", "dark"]
) -> None:
    """axe finds nothing in the way of somebody who reads with a screen reader, or sees little
    contrast, whether a run is going on or has failed."""
    # At this pace a step takes nearly a second: one that runs can be seen.
    principal = await start_viewer(pace=3)
    await tab.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    async with shown(tab, principal.url) as page:
        # Not as a script of the page, whose policy would not have it.
        await page.evaluate(f"() => {{ {(MODULES / 'axe-core' / 'axe.min.js').read_text()} }}")
        await page.select_option("#ending", "failed")
        await page.click("#start button")
        await expect(page.locator("#timeline li[data-state=running]").first).to_be_visible()
        assert await found_by_axe(page) == []
        await expect(page.locator("#status")).to_have_text("failed", timeout=15_000)
        assert await found_by_axe(page) == []
        # Where the page renders nothing again.
        await page.evaluate("document.body.append(document.createElement('button'))")
        assert await found_by_axe(page), "it would find nothing"


async def found_by_axe(page: Page) -> list[str]:
    """What axe complains of, and where."""
    found: list[str] = await page.evaluate(
        """async () => (await axe.run()).violations.flatMap(
          (one) => one.nodes.map((node) => `${one.id}: ${node.html}`))"""
    )
    return found


async def test_in_serve(start_gateway: StartGateway, redis: Redis, tab: Tab) -> None:
    """In `serve` the page, where it is switched on, asks for a token and shows what that may see,
    until somebody signs out; the token is in no address, one that is no good is refused with
    the reason, and so is one that is no longer good."""
    gateway = await start_gateway(ownership="token", page=True)
    async with shown(tab, gateway.url, expected_errors="status of 40[134]") as page:
        await expect(page.locator("#main")).to_be_hidden()
        await page.fill("#token", issue(SECRET, organization_id="acme"))
        await page.fill("#organization", "acme")
        await page.click("#sign-in button")
        await expect(page.locator("#start")).to_be_hidden()
        await expect(page.locator("#following")).to_be_hidden()
        await watch(page, "my-run")
        await expect(page.locator("#connection-words")).to_have_text("live")
        await publish(redis, "step:started", node_type="email")
        await expect(page.locator("#timeline li")).to_contain_text("email")
        assert "eyJ" not in page.url
        await kept(page, "in-serve")
        await page.click("#sign-out")
        await expect(page.locator("#main")).to_be_hidden()
        wrong = {
            "no token": "The token is not valid",
            "\u2603": "a character that no token has",
            issue(SECRET, organization_id="other"): "organization",
        }
        for token, words in wrong.items():
            await page.fill("#token", token)
            await page.fill("#organization", "acme")
            await page.click("#sign-in button")
            await expect(page.locator("#sign-in-problem")).to_contain_text(words)
            await expect(page.locator("#main")).to_be_hidden()
        await kept(page, "sign-in-refused")
        # A tab that comes back with one that has expired: it is asked for again, with the reason.
        kept_token = "JSON.stringify({token: 'old', organization: 'acme'})"
        await page.evaluate(f"sessionStorage.setItem('executions-live', {kept_token})")
        await page.reload()
        await expect(page.locator("#sign-in")).to_be_visible()
        await expect(page.locator("#sign-in-problem")).to_contain_text("The token is not valid")
