"""One tab of the browser, and the executions that the application's page in it follows."""

from typing import Any
from urllib.parse import quote

from playwright.async_api import Page

from gateway.access.tokens import issue
from tests.support import SECRET, eventually


class Tab:
    """A page with everything that went wrong in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        """Errors of the console, uncaught exceptions among them."""
        page.on("console", lambda said: self._error(said.text) if said.type == "error" else None)
        page.on("pageerror", lambda error: self._error(str(error)))

    def _error(self, text: str) -> None:
        self.errors.append(text)

    async def follow(
        self,
        stream_url: str,
        organization: str = "acme",
        token: str = "",
        *,
        closes_at_error: bool = False,
    ) -> None:
        """Let the application's page open a stream, with the credentials in the query."""
        token = token or issue(SECRET, organization_id=organization)
        query = f"Authorization={quote(f'Bearer {token}')}&organization_id={quote(organization)}"
        await self.page.evaluate(
            "given => follow(...given)",
            [f"{stream_url}?{query}", {"closesAtError": closes_at_error}],
        )

    async def seen(self, *, heartbeats: bool = False) -> list[dict[str, Any]]:
        """The events so far as {type, document}."""
        events: list[dict[str, Any]] = await self.page.evaluate("followed.events")
        return [event for event in events if heartbeats or event["type"] != "heartbeat"]

    async def types(self) -> list[str]:
        """The types of the events so far, without heartbeats."""
        return [event["type"] for event in await self.seen()]

    async def sees(self, event_type: str, times: int = 1) -> None:
        """Wait until an *event_type* has arrived so many times."""

        async def arrived() -> bool:
            events = await self.seen(heartbeats=True)
            return [event["type"] for event in events].count(event_type) >= times

        await eventually(arrived)

    async def closed(self) -> None:
        """Wait until the EventSource has ended for good."""
        await eventually(self._is_closed)

    async def _is_closed(self) -> bool:
        return bool(await self.page.evaluate("followed.source.readyState === EventSource.CLOSED"))

    async def connection_errors(self) -> int:
        """How often the EventSource has lost, or not got, its connection."""
        return int(await self.page.evaluate("followed.errors"))
