"""The React application in a tab: which components it shows, and what these show."""

from typing import Any

from redis.asyncio import Redis

from gateway.access.tokens import issue
from tests.browser.tab import Tab
from tests.support import SECRET, eventually, producer_message

STEP = {"node_id": "n1", "node_type": "signature"}


class App:
    """The application's page, open in a tab."""

    def __init__(self, tab: Tab) -> None:
        self.tab = tab
        self.streams_asked: list[str] = []
        """The addresses of all streams that it has asked for."""
        tab.page.on("request", lambda request: self._asked(request.url))

    def _asked(self, url: str) -> None:
        if "/stream" in url:
            self.streams_asked.append(url)

    async def show(self, *components: dict[str, Any]) -> None:
        """Render these components, and no others any more; see `options` and `legacy`."""
        await self.tab.page.evaluate("components => show(...components)", list(components))

    async def value(self, expression: str) -> Any:
        """What a JavaScript *expression* is in the page."""
        return await self.tab.page.evaluate(expression)

    async def shown(self, name: str = "one") -> dict[str, Any]:
        """What the hook of the component *name* has returned last."""
        value: dict[str, Any] = await self.value(f"shown.{name}") or {}
        return value

    async def numbers(self, name: str = "one") -> list[int]:
        """The numbers of the events that the component *name* shows."""
        numbers: list[int] = await self.value(f"numbersOf(shown.{name})")
        return numbers

    async def shows(self, status: str, *numbers: int, name: str = "one") -> None:
        """Wait until the component *name* has this status and the events with these numbers."""

        async def so() -> bool:
            shown = await self.shown(name)
            return shown.get("status") == status and await self.numbers(name) == list(numbers)

        try:
            await eventually(so)
        except AssertionError as error:
            error.add_note(f"{await self.shown(name)}; {self.tab.errors}")
            raise


def token(organization: str = "acme", ttl_seconds: int = 3600) -> str:
    """A token that the gateway trusts."""
    return issue(SECRET, organization_id=organization, ttl_seconds=ttl_seconds)


def options(execution_id: str | None, base: str, name: str = "one", **more: Any) -> dict[str, Any]:
    """A component that calls the hook with options; *more*: `token`, and options of the hook."""
    given = {"baseUrl": base, "organizationId": "acme", "token": token(), **more}
    return {"hook": "Options", "name": name, "id": execution_id, **given}


def legacy(execution_id: str | None, *given: Any, name: str = "one") -> dict[str, Any]:
    """A component that calls the hook by the legacy API."""
    return {"hook": "Legacy", "name": name, "id": execution_id, "given": list(given)}


async def publish(
    redis: Redis, number: int, event_type: str = "step:started", run: str = "run-1", **data: Any
) -> None:
    """Let a worker publish one event, which has this number."""
    message = producer_message(event_type, **{**STEP, "number": number, **data})
    await redis.publish(f"execution:{run}", message)
