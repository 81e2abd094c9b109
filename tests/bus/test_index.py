"""What a gateway notes in the index of executions."""

import pytest

from gateway.bus.connection import create_redis
from gateway.bus.index import Index
from gateway.bus.registry import register
from gateway.contract.registration import Registration
from gateway.contract.scripts import HistoryLimits
from gateway.events.ending import STANDARD
from gateway.events.envelope import decode
from gateway.metrics import Metrics
from tests.harness.redis_process import RedisProcess
from tests.harness.tcp_proxy import TcpProxy
from tests.harness.ticking import ticking
from tests.support import eventually


class Cut(TcpProxy):
    """While it `is_cut`, each request ends its connection."""

    is_cut = False
    requests = 0
    """That it has ended."""

    async def request_passes(self, chunk: bytes) -> bool:
        self.requests += self.is_cut
        return not self.is_cut


@pytest.mark.usefixtures("redis_url")
async def test_what_could_not_be_noted_is_noted_when_redis_is_back(
    redis_server: RedisProcess,
) -> None:
    """An end and a registration that come together, while Redis is away for a moment."""
    async with (
        Cut(redis_server.port) as proxy,
        create_redis(proxy.redis_url, max_connections=2, retries=0) as redis,
        ticking() as ticker,
    ):
        index = Index(
            redis, ticker, Metrics(), STANDARD,
            limits=HistoryLimits(), channel_prefix="execution:", most=100,
        )  # fmt: skip

        async def lists(**expected: str) -> bool:
            page = await index.read("acme")
            return {name: entry.status for name, entry in page.entries.items()} == expected

        def arrives(event_type: str, seq: int) -> None:
            message = f'{{"type":"{event_type}","id":"1000-{seq}"}}'
            index.note_events("a", [decode(message.encode(), 1000)], None)

        await register(redis, "a", "acme")
        arrives("step:started", 1)
        await eventually(lambda: lists(a="running"))
        proxy.is_cut = True
        arrives("execution:completed", 2)
        index.registered(Registration("b", "acme"))
        await eventually(lambda: proxy.requests)
        proxy.is_cut = False
        await eventually(lambda: lists(a="completed", b="pending"))
