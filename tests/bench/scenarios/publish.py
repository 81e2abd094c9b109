"""Events that producers publish by HTTP: one a call over kept-alive connections, and NDJSON.

By CPU of the gateway's core: producers, and Redis, have another one.
"""

import asyncio
import secrets
import time

from gateway.access.tokens import issue
from tests.bench.figures import Figure
from tests.bench.messages import message
from tests.bench.stage import ORGANIZATION, Gateway, Stage
from tests.harness.proc import cpu_seconds
from tests.support import SECRET

_CONNECTIONS = 64
_BATCH = 100
"""Events of one NDJSON call."""


async def play(stage: Stage) -> None:
    """Nobody watches; each connection has executions of its own."""
    names = await stage.executions(stage.size(1000, _CONNECTIONS))
    for name, batch, total, least in (
        ("single POSTs", 1, stage.size(30_000, 500), 5_000),
        (f"NDJSON of {_BATCH}", _BATCH, stage.size(200_000, 12_800), 25_000),
    ):
        async with stage.gateway(publish="on", max_published_events_per_subject=10**9) as gateway:
            await _measure(stage, gateway, names, name, batch, total, least)


async def _measure(
    stage: Stage, gateway: Gateway, names: list[str], name: str, batch: int, total: int, least: int
) -> None:
    producers = [
        await _Producer.connect(gateway.port, names[number::_CONNECTIONS], batch)
        for number in range(_CONNECTIONS)
    ]
    await asyncio.gather(*[producer.publish(2) for producer in producers])
    redis_pid = int((await stage.redis.info("server"))["process_id"])
    used, redis_used, begin = gateway.cpu, cpu_seconds(redis_pid), time.monotonic()
    calls = max(1, total // batch // _CONNECTIONS)
    await asyncio.gather(*[producer.publish(calls) for producer in producers])
    seconds = time.monotonic() - begin
    events = calls * batch * _CONNECTIONS
    cost, redis_cost = gateway.cpu - used, cpu_seconds(redis_pid) - redis_used
    for producer in producers:
        producer.close()
    stage.add(
        Figure(f"published by {name}", events / cost, "events/CPU-s", least=least),
        Figure(f"published by {name}, of Redis' core", events / redis_cost, "events/CPU-s"),
        Figure(f"published by {name}, as they came through", events / seconds, "events/s"),
    )  # fmt: skip


class _Producer:
    """One kept-alive connection, whose calls are made before the clock runs."""

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        calls: list[bytes],
        body: bytes,
    ) -> None:
        self._reader = reader
        self._writer = writer
        self._calls = calls
        self._body = body
        self._name = secrets.token_hex(8).encode()
        self._next = 0

    @classmethod
    async def connect(cls, port: int, names: list[str], batch: int) -> "_Producer":
        token = issue(SECRET, organization_id=ORGANIZATION, more={"scope": "executions:publish"})
        kind = "application/json" if batch == 1 else "application/x-ndjson"
        body = b"\n".join(message() for _ in range(batch))
        calls = [
            f"POST /api/v1/sse/executions/{name}/events HTTP/1.1\r\nHost: bench\r\n"
            f"Authorization: Bearer {token}\r\nX-Organization-ID: {ORGANIZATION}\r\n"
            f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n".encode()
            for name in names
        ]
        return cls(*await asyncio.open_connection("127.0.0.1", port), calls, body)

    async def publish(self, calls: int) -> None:
        for _ in range(calls):
            head = self._calls[self._next % len(self._calls)]
            key = b"Idempotency-Key: %b-%d\r\n\r\n" % (self._name, self._next)
            self._next += 1
            self._writer.write(head + key + self._body)
            answer = await self._reader.readuntil(b"\r\n\r\n")
            assert answer.startswith(b"HTTP/1.1 201"), answer
            length = int(answer.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            await self._reader.readexactly(length)

    def close(self) -> None:
        self._writer.close()
