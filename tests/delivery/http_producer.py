"""A worker without Redis: it publishes by HTTP, through whichever gateway answers."""

import asyncio
import secrets
from collections.abc import Sequence
from typing import Any

import aiohttp
import orjson

from tests.conftest import credentials
from tests.delivery.backends import SingleRedis
from tests.delivery.stage import Stage
from tests.harness.gateway_process import GatewayProcess

_ATTEMPT_SECONDS = 2.0


class HttpPublisher:
    """Repeats each call with its key, each time at another gateway, until one says that it was
    published."""

    def __init__(self, gateways: Sequence[GatewayProcess]) -> None:
        self._gateways = gateways
        self._session: aiohttp.ClientSession | None = None
        self._turn = 0
        self.repeated = 0
        """Calls that were answered as repeated: their first answer was lost."""

    async def publish(
        self,
        execution_id: str,
        event_type: str,
        data: dict[str, Any],
        /,
        *,
        timestamp: str,
        idempotency_key: str | None,
    ) -> str:
        body = orjson.dumps({"type": event_type, "data": data, "timestamp": timestamp})
        headers = {
            **credentials(more={"scope": "executions:publish"}),
            "Content-Type": "application/json",
            "Idempotency-Key": idempotency_key or secrets.token_hex(8),
        }
        while True:
            try:
                status, document = await self._call(execution_id, body, headers)
            except (aiohttp.ClientError, TimeoutError, OSError):
                status = 0
            if status in (200, 201):
                self.repeated += status == 200
                return str(document["ids"][0])
            assert status in (0, 503), document
            self._turn += 1
            await asyncio.sleep(0.02)

    async def _call(self, execution_id: str, body: bytes, headers: dict[str, str]) -> Any:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                timeout=aiohttp.ClientTimeout(total=_ATTEMPT_SECONDS)
            )
        gateway = self._gateways[self._turn % len(self._gateways)]
        url = f"{gateway.url}/api/v1/sse/executions/{execution_id}/events"
        async with self._session.post(url, data=body, headers=headers) as answer:
            return answer.status, await answer.json()

    async def close(self) -> None:
        if self._session is not None:
            await self._session.close()


async def http_while_all_breaks(stage: Stage) -> None:
    """Workers publish by HTTP while each gateway is killed with SIGKILL and started again, and
    Redis is killed and comes back as another one, so a new epoch begins."""
    for gateway in stage.gateways:
        await stage.pause(0.2, 0.5)
        await gateway.kill()
        await stage.pause(0.1, 0.3)
        await gateway.start()
        await stage.subscribed()
    assert isinstance(stage.backend, SingleRedis)
    await asyncio.to_thread(stage.backend.server.kill)
    await stage.pause(0.0, 0.3)
    await asyncio.to_thread(stage.backend.server.start)
    await stage.subscribed()
    await stage.pause(0.2, 0.4)
