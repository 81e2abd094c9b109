"""A client that forgets its position on a connection without any id, behind nginx at a restart."""

import signal
from functools import partial
from pathlib import Path

from aiohttp import ClientSession

from gateway.publisher import Publisher
from tests.conftest import credentials
from tests.harness.gateway_process import serving
from tests.harness.nginx import Nginx
from tests.harness.sse import Seen, SseReader
from tests.support import free_port


class ForgetfulClient:
    """What Rust's eventsource-client and reqwest-eventsource keep: the last id of the connection
    that they read last, and none after one that had no id."""

    def __init__(self, session: ClientSession, url: str) -> None:
        self.numbers: list[int] = []
        self._cursor: str | None = None
        self._connect = partial(session.get, f"{url}/api/v1/sse/executions/run-1/stream")

    async def read(self, last: str) -> None:
        """One connection, up to a frame of the type *last*."""
        cursor = {"Last-Event-ID": self._cursor} if self._cursor else {}
        self._cursor = None
        accept = {"Accept": "text/event-stream"}
        async with self._connect(headers={**credentials(), **accept, **cursor}) as response:
            reader = SseReader(response)
            while seen := await reader.next():
                self._take(seen)
                if seen.event == last:
                    return
        raise AssertionError(f"the stream ended before {last}")

    def _take(self, seen: Seen) -> None:
        self._cursor = seen.id or self._cursor
        if seen.event.startswith("step:"):
            self.numbers.append(seen.json()["data"]["number"])


async def test_nothing_is_doubled(redis_url: str, tmp_path: Path) -> None:
    """It gets each event once, though one connection brought nothing but nginx's own answer, and
    one nothing but `connected`: both say its position."""
    port = free_port()
    nginx = Nginx(tmp_path, f"http://127.0.0.1:{port}")
    nginx.start()
    start = partial(serving, REDIS_URL=redis_url, GATEWAY_OWNERSHIP="token", GATEWAY_PORT=str(port))
    try:
        async with Publisher(redis_url) as publisher, ClientSession() as session:
            client = ForgetfulClient(session, nginx.url)
            async with start() as gateway:
                await publisher.publish("run-1", "step:started", {"number": 1})
                await publisher.publish("run-1", "step:completed", {"number": 2})
                await client.read("step:completed")
                gateway.signal(signal.SIGTERM)
                await gateway.ended()
            await client.read("stream:closing")
            async with start():
                await client.read("connected")
                await publisher.publish("run-1", "step:completed", {"number": 3})
                await client.read("step:completed")
    finally:
        nginx.stop()
    assert client.numbers == [1, 2, 3]
