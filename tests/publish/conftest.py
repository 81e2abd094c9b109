"""A producer that speaks HTTP, and gateways that take its events."""

import io
from typing import Any

import aiohttp
import orjson
import pytest

from tests.conftest import RunningGateway, StartGateway, credentials

RIGHT = {"scope": "executions:publish"}


def worker(organization: str = "acme", **claims: Any) -> dict[str, str]:
    """Headers of a worker of *organization*, with the right to publish."""
    return credentials(organization, more={**RIGHT, **claims})


class Producer:
    """Calls one gateway as one worker."""

    def __init__(self, gateway: RunningGateway, headers: dict[str, str] | None = None) -> None:
        self.gateway = gateway
        self.headers = worker() if headers is None else headers

    async def call(
        self, method: str, path: str, body: object = None, **headers: str
    ) -> tuple[int, Any, aiohttp.ClientResponse]:
        """Status, document and answer; *headers* with _ for -. A body that is no bytes is sent as
        JSON."""
        given = {name.replace("_", "-"): value for name, value in headers.items()}
        if body is not None and not isinstance(body, bytes):
            body = orjson.dumps(body)
        data = io.BytesIO(body) if isinstance(body, bytes) and len(body) > 2**20 else body
        url = f"{self.gateway.url}/api/v1/sse/executions/{path}"
        sent = {"Content-Type": "application/json", **self.headers, **given}
        async with self.gateway.session.request(method, url, data=data, headers=sent) as answer:
            text = await answer.read()
            return answer.status, orjson.loads(text) if text else None, answer

    async def publish(self, body: object, run: str = "run-1", **headers: str) -> tuple[int, Any]:
        """Status and document."""
        return (await self.call("POST", f"{run}/events", body, **headers))[:2]

    async def refused(self, body: object, run: str = "run-1", **headers: str) -> tuple[int, str]:
        """Status and error code."""
        status, document = await self.publish(body, run, **headers)
        return status, document["error"]


@pytest.fixture
async def gateway(start_gateway: StartGateway) -> RunningGateway:
    """A gateway that takes events by HTTP."""
    return await start_gateway(publish=True)


@pytest.fixture
def producer(gateway: RunningGateway) -> Producer:
    """A worker of `acme`."""
    return Producer(gateway)
