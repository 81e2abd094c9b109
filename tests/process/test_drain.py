"""SIGTERM under many streams: they are closed one after the other, and lose nothing."""

import asyncio
import signal

import aiohttp
import pytest

from gateway.publisher import Publisher
from tests.conftest import credentials
from tests.harness.gateway_process import serving
from tests.harness.sse import SseReader
from tests.support import DEADLINE, eventually, free_port

STREAMS = 200
DRAIN = 2.0


class Tab:
    """One stream: its events, and when it was closed."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self._url = url
        self.numbers: list[int] = []
        self.last_event_id = ""
        self.closed_at: float | None = None
        self.retry: int | None = None

    async def connect(self) -> SseReader:
        headers = {**credentials(), "Last-Event-ID": self.last_event_id}
        response = await self._session.get(self._url, headers=headers)
        assert response.status == 200
        reader = SseReader(response)
        await reader.expect("connected")
        return reader

    async def read(self, reader: SseReader) -> None:
        """Read to the end of the stream."""
        while (seen := await reader.next()) is not None:
            if seen.event == "stream:closing":
                assert seen.json()["reason"] == "drain"
                assert seen.json()["retry_ms"] == seen.retry
                self.closed_at, self.retry = asyncio.get_running_loop().time(), seen.retry
            elif seen.id is not None:
                self.last_event_id = seen.id
                self.numbers.append(seen.json()["data"]["number"])


@pytest.mark.alone
async def test_streams_drain_in_waves_and_lose_nothing(redis_url: str) -> None:
    """From SIGTERM on no connection is accepted and `/ready` says no. The streams are closed one
    after the other over the whole drain time, each with its own `retry:`; those still open get what
    is published meanwhile, and those that come back to the next process have missed nothing."""
    settings = {
        "REDIS_URL": redis_url,
        "GATEWAY_OWNERSHIP": "token",
        "GATEWAY_PORT": str(free_port()),
        "GATEWAY_ADMIN_PORT": "0",
        "GATEWAY_DRAIN_SECONDS": str(DRAIN),
    }
    connector = aiohttp.TCPConnector(limit=0)
    async with (
        aiohttp.ClientSession(connector=connector) as session,
        # Its events are in history also while no gateway hears them.
        Publisher(redis_url) as publisher,
        serving(**settings) as process,
    ):
        await process.healthy(session)
        url = f"{process.url}/api/v1/sse/executions/run-1/stream"
        tabs = [Tab(session, url) for _ in range(STREAMS)]
        readers = [await tab.connect() for tab in tabs]
        reading = [
            asyncio.create_task(tab.read(reader)) for tab, reader in zip(tabs, readers, strict=True)
        ]
        await publisher.publish("run-1", "log:line", {"number": 0})
        process.signal(signal.SIGTERM)
        await eventually(lambda: any(tab.closed_at for tab in tabs))
        async with session.get(f"{process.admin_url}/ready") as response:
            assert response.status == 503
        with pytest.raises(aiohttp.ClientConnectorError):
            await Tab(session, url).connect()
        number = 1
        while not all(tab.closed_at for tab in tabs):
            await publisher.publish("run-1", "log:line", {"number": number})
            number += 1
            await asyncio.sleep(DRAIN / 20)
        async with asyncio.timeout(DEADLINE):
            await asyncio.gather(*reading)
        assert await process.ended() == 0

        assert_spread([tab.closed_at or 0.0 for tab in tabs])
        assert len({tab.retry for tab in tabs}) > STREAMS / 4
        seen = {len(tab.numbers) for tab in tabs}
        assert len(seen) > 3, "all were closed at one moment"

        async with serving(**settings) as following:
            await following.healthy(session)
            readers = [await tab.connect() for tab in tabs]
            reading = [
                asyncio.create_task(tab.read(reader))
                for tab, reader in zip(tabs, readers, strict=True)
            ]
            await publisher.publish("run-1", "execution:completed", {"number": number})
            async with asyncio.timeout(DEADLINE):
                await asyncio.gather(*reading)
    assert all(tab.numbers == list(range(tab.numbers[-1] + 1)) for tab in tabs)
    assert {tab.numbers[-1] for tab in tabs} == {number}


def assert_spread(moments: list[float]) -> None:
    """Each quarter of the drain has its share; half of it would be enough on a busy machine."""
    first = min(moments)
    assert max(moments) - first > DRAIN * 0.8
    for quarter in range(4):
        begin = first + quarter * DRAIN / 4
        inside = [one for one in moments if begin <= one < begin + DRAIN / 4]
        assert len(inside) > STREAMS / 8, f"{len(inside)} in quarter {quarter}"
