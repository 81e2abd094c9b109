"""A client of the routes of lists."""

from typing import Any
from urllib.parse import quote

from yarl import URL

from gateway.publisher import Publisher
from tests.conftest import RunningGateway, credentials
from tests.harness.sse import SseReader
from tests.support import eventually


class ListClient:
    """Asks one gateway for the list of one organization."""

    def __init__(self, gateway: RunningGateway, organization: str = "acme") -> None:
        self.gateway = gateway
        self.organization = organization
        self.headers = credentials(organization)
        # A test does not wait for as long as users may.
        gateway.components.lists.compare_seconds = 1.0

    @property
    def url(self) -> str:
        name = quote(self.organization, safe="")
        return f"{self.gateway.url}/api/v1/organizations/{name}/executions"

    async def page(self, **query: str) -> dict[str, Any]:
        """One page; `executions` and `next`."""
        async with self.gateway.session.get(
            URL(self.url, encoded=True).with_query(query), headers=self.headers
        ) as response:
            assert response.status == 200, await response.text()
            answer: dict[str, Any] = await response.json()
            return answer

    async def ids(self, **query: str) -> list[str]:
        return [one["execution_id"] for one in (await self.page(**query))["executions"]]

    async def stream(self, **query: str) -> "ListTab":
        url = self.url.replace("/api/v1/", "/api/v1/sse/") + "/stream"
        asked = URL(url, encoded=True).with_query(query)
        response = await self.gateway.session.get(asked, headers=self.headers)
        self.gateway.responses.append(response)
        assert response.status == 200, await response.text()
        tab = ListTab(SseReader(response))
        await tab.reader.expect("connected")
        return tab


class ListTab:
    """Shows a list as a page does, from its frames."""

    def __init__(self, reader: SseReader) -> None:
        self.reader = reader
        self.shown: dict[str, dict[str, Any]] = {}
        self.kinds: list[str] = []
        self.last = ""
        """The execution of the last frame."""
        self.seen: set[str] = set()

    async def read(self) -> str:
        """The next frame's type."""
        frame = await self.reader.next()
        assert frame is not None, "the stream has ended"
        kind, data = frame.event, frame.json()
        self.kinds.append(kind)
        self.last = data.get("execution_id", "")
        if kind == "executions:snapshot":
            self.shown = {one["execution_id"]: one for one in data["executions"]}
        elif kind in ("execution:added", "execution:updated"):
            was = self.shown.get(data["execution_id"])
            if was is not None:
                assert data["updated_at"] >= was["updated_at"], "older than what was shown"
            self.shown[data["execution_id"]] = data
        elif kind == "execution:removed":
            self.shown.pop(data["execution_id"], None)
        self.seen |= self.shown.keys()
        return kind

    async def until(self, condition: Any) -> None:
        while not condition(self.shown):
            await self.read()

    @property
    def ids(self) -> list[str]:
        """Those that it shows, newest activity first."""
        order = sorted(self.shown.values(), key=lambda one: one["execution_id"])
        order.sort(key=lambda one: one["updated_at"], reverse=True)
        return [one["execution_id"] for one in order]


async def play(
    publisher: Publisher, execution_id: str, organization: str = "acme", *, ends: bool = True
) -> None:
    """A short run."""
    await publisher.register(execution_id, organization, "flow")
    await publisher.publish(execution_id, "execution:started", {})
    await publisher.publish(execution_id, "step:started", {"node_id": "a"})
    await publisher.publish(execution_id, "step:completed", {"node_id": "a"})
    await publisher.publish(execution_id, "step:started", {"node_id": "b"})
    if ends:
        await publisher.publish(execution_id, "step:failed", {"node_id": "b", "error": "no"})
        await publisher.publish(execution_id, "execution:failed", {"error": "it broke"})


async def listed(client: ListClient, *execution_ids: str) -> None:
    """Wait until these are listed, in this order."""
    await eventually(lambda: _is(client, list(execution_ids)))


async def _is(client: ListClient, execution_ids: list[str]) -> bool:
    return await client.ids() == execution_ids
