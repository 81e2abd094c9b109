"""A page that follows an execution with the package, which it imports from the gateway."""

from typing import Any

from gateway.access.tokens import issue
from tests.browser.tab import Tab
from tests.support import SECRET, eventually

_FOLLOW = """async ([base, options, ttls]) => {
  const { subscribeToExecution } = await import(`${base}/api/v1/sse/client/index.js`);
  window.seen = []; window.statuses = []; window.asked = 0;
  window.subscription = subscribeToExecution("run-1", {
    organizationId: "acme",
    getToken: () => { window.asked += 1; return ttls[Math.min(window.asked, ttls.length) - 1]; },
    onEvent: (event) => seen.push(event.data.number ?? event.type),
    onStatus: (status) => statuses.at(-1) === status || statuses.push(status),
    ...options,
  });
}"""


class Follower:
    """A page that follows run-1 with the package."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab

    async def follow(self, base: str, *tokens: str, **options: object) -> None:
        given = tokens or (issue(SECRET, organization_id="acme"),)
        await self.tab.page.evaluate(_FOLLOW, [base, options, list(given)])

    async def value(self, expression: str) -> Any:
        return await self.tab.page.evaluate(expression)

    async def sees(self, *numbers: int | str) -> None:
        """Wait until it has seen exactly these."""

        async def seen() -> bool:
            return bool(await self.value("seen") == list(numbers))

        try:
            await eventually(seen)
        except AssertionError as error:
            error.add_note(f"seen: {await self.value('seen')}, {await self.value('statuses')}")
            raise

    async def connected_as(self, connection: str) -> None:
        """Wait until its connection is this one."""
        await self.is_(connection, of="connection")

    async def is_(self, status: str, *, of: str = "status") -> None:
        """Wait until its status, or what *of* names, is this one."""

        async def so() -> bool:
            return bool(await self.value(f"subscription.{of}") == status)

        try:
            await eventually(so)
        except AssertionError as error:
            error.add_note(f"statuses: {await self.value('statuses')}")
            raise
