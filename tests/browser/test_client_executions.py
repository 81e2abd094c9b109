"""Lists and sets of the package in a real browser, without streaming fetch: EventSources, whose
tickets say what they are for."""

import pytest

from gateway.access.tokens import issue
from gateway.publisher import Publisher
from tests.browser.tab import Tab
from tests.conftest import StartGateway
from tests.support import SECRET, eventually

_FOLLOW = """async ([base, token, options]) => {
  const { subscribeToExecutions } = await import(`${base}/api/v1/sse/client/executions.js`);
  window.subscription = subscribeToExecutions({
    organizationId: "acme", transport: "event-source", getToken: () => token, ...options,
  });
}"""
_SHOWN = """subscription.executions
  ?.map((one) => `${one.execution_id} ${(one.run ?? one).status}`).sort().join()"""


@pytest.mark.parametrize(
    ("options", "first"),
    [
        ({"executionIds": ["run-1", "run-2", "unknown"]}, "run-1 running,run-2 running"),
        ({"status": ["running", "failed"], "workflowId": "invoices"}, "run-1 running"),
    ],
    ids=["set", "list"],
)
async def test_a_ticket_opens_what_it_was_asked_for_again_after_each_loss(
    start_gateway: StartGateway,
    redis_url: str,
    origin: str,
    tab: Tab,
    options: dict[str, object],
    first: str,
) -> None:
    """It shows the same before and after its connection is cut, with what has happened meanwhile;
    the token is in no address."""
    gateway = await start_gateway(ownership="registry", cors_origins=origin)
    asked: list[str] = []
    tab.page.on("request", lambda request: asked.append(request.url))
    await tab.page.goto(origin)

    async def shows(wanted: str) -> None:
        async def so() -> bool:
            shown = await tab.page.evaluate(_SHOWN) or ""
            return bool(shown.replace(",unknown pending", "") == wanted)

        await eventually(so)

    async with Publisher(redis_url) as publisher:
        for run, workflow in (("run-1", "invoices"), ("run-2", "contracts")):
            await publisher.register(run, "acme", workflow)
            await publisher.publish(run, "step:started", {"node_id": "a"})
        token = issue(SECRET, organization_id="acme")
        await tab.page.evaluate(_FOLLOW, [gateway.url, token, options])
        await shows(first)
        await gateway.components.hub.cut()
        await publisher.execution_failed("run-1", error_message="no")
        await shows(first.replace("run-1 running", "run-1 failed"))
        await eventually(lambda: tab.page.evaluate("subscription.connection === 'live'"))
    tickets = [url for url in asked if url.endswith("/ticket")]
    streams = [url for url in asked if "/stream?" in url]
    assert len(tickets) == len(streams) == 2
    assert all("ticket=" in url and "eyJ" not in url for url in streams)
