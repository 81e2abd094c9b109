"""Where the table of prices is measured: a real gateway with the production settings, a Redis of
its own, a bystander, and what attacks need."""

import asyncio
import math
import tempfile
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from typing import Any

from aiohttp import web
from redis.asyncio import Redis

from gateway.access.tokens import issue
from gateway.contract.keys import events_key
from gateway.publisher import Publisher
from tests.access.issuers import signed
from tests.harness.gateway_process import GatewayProcess
from tests.harness.history import append
from tests.harness.nginx import Nginx
from tests.harness.raw import Connection, Said
from tests.harness.redis_process import RedisProcess
from tests.prices.bystander import BystanderProcess
from tests.prices.gateways import ATTACKER, outside
from tests.prices.readings import Readings
from tests.prices.row import Figures, Row, pace
from tests.support import DEADLINE, SECRET, eventually, served

_NGINX_KEEPS = 40
"""Connections that nginx keeps open for its next requests."""


class Stage:
    """One gateway and all around it. `url` is where the row under way attacks."""

    def __init__(self, settings: Mapping[str, str]) -> None:
        self._redis_process = RedisProcess()
        self._settings = settings
        self._serial = count(1)
        self._stack = AsyncExitStack()
        self._directory = tempfile.TemporaryDirectory(prefix="gateway-prices-")
        self._nginx: Nginx | None = None
        self._bystander = BystanderProcess()
        self._histories: dict[tuple[int, int], str] = {}
        self._others: list[str] = []
        self.of_a_set: list[str] = []
        """Histories that are read by one stream."""
        self._most_connections = 0
        self._idle = 0.0
        self._read: Readings
        self.gateway: GatewayProcess
        self.redis: Redis
        self.url = ""

    async def open(self) -> None:
        """Start all; returns once the bystander watches."""
        application = web.Application()
        application.router.add_get("/{any:.*}", outside)
        beyond = await self._stack.enter_async_context(served(application))
        self._redis_process.start()
        self.redis = Redis.from_url(self._redis_process.url)
        settings = {
            name: value.replace("{outside}", beyond) for name, value in self._settings.items()
        }
        settings["REDIS_URL"] = self._redis_process.gateway_url
        self.gateway = GatewayProcess(settings)
        await self.gateway.start()
        gateway, redis = self.gateway.pid, self._redis_process.pid
        self._read = Readings(gateway, redis, self.gateway.port)
        self.url = self._direct
        await self.register("bystander", "bystander-inc")
        await self.register("small", "third-inc")
        await append(self.redis, "small")
        await self._bystander.start(self._given(), self._read.pids)
        await self._bystander.seen()
        began, cpu = asyncio.get_running_loop().time(), self._read.cpu()
        await asyncio.sleep(0.5)
        self._idle = (self._read.cpu() - cpu) / (asyncio.get_running_loop().time() - began)

    async def close(self) -> None:
        await self._bystander.stop()
        if self._nginx is not None:
            self._nginx.stop()
        await self.gateway.clean_up()
        await self.redis.aclose()
        await self._stack.aclose()
        self._redis_process.clean_up()
        self._directory.cleanup()

    # What attacks need.

    def fresh(self, begin: str = "run") -> str:
        """An id that was never used."""
        return f"{begin}-{next(self._serial)}"

    def headers(self, organization: str = ATTACKER, *, publish: bool = False) -> str:
        """Header lines with a genuine token of *organization*, by default of a new subject;
        *publish*: a worker's."""
        token = self._token(organization, self.fresh("user"), publish=publish)
        return f"Authorization: Bearer {token}\r\nX-Organization-ID: {organization}\r\n"

    @property
    def has_issuer(self) -> bool:
        """Whether keys are fetched, and tokens signed with RS256."""
        return "GATEWAY_JWKS_URL" in self._settings

    def _token(self, organization: str, subject: str, *, publish: bool = False) -> str:
        more: Any = {"scope": "executions:publish"} if publish else {}
        if not self.has_issuer:
            return issue(SECRET, organization_id=organization, subject=subject, more=more)
        return signed("RS256", organization_id=organization, sub=subject, **more)

    async def register(self, execution_id: str, organization: str = ATTACKER) -> str:
        async with Publisher(self._redis_process.url) as publisher:
            await publisher.register(execution_id, organization)
        return execution_id

    async def history(self, events: int, size: int) -> str:
        """The attacker's execution with so many *events* of *size* bytes; written once."""
        if (events, size) not in self._histories:
            self._histories[events, size] = await self.another_history(events, size)
            self._others.clear()
        return self._histories[events, size]

    async def another_history(self, events: int, size: int) -> str:
        """A new execution of the attacker's with so many *events* of *size* bytes."""
        execution_id = await self.register(self.fresh("history"))

        async def one(number: int) -> None:
            await append(self.redis, execution_id, node_id=f"n{number}", output="x" * size)

        await self.each(events, one)
        self._others.append(execution_id)
        return execution_id

    async def remove_others(self) -> None:
        """Remove the histories that `another_history` has written."""
        await self.redis.delete(*map(events_key, self._others))
        self._others.clear()

    async def append(self, execution_id: str) -> None:
        """One more event, recorded and published."""
        await append(self.redis, execution_id)

    async def connect(self) -> Connection:
        return await Connection.open(self.url)

    async def watch(self, execution_id: str) -> Connection:
        """An open stream of the attacker's."""
        connection = await self.connect()
        head = f"GET /api/v1/sse/executions/{execution_id}/stream HTTP/1.1\r\nHost: x\r\n"
        connection.send(f"{head}{self.headers()}\r\n")
        said = await connection.hear(quiet=0)
        assert said.statuses == [200], said.data
        return connection

    async def ask(self, data: str | bytes, answers: int = 1) -> Said:
        """Send *data* on a connection of its own, and read until it ends or is answered."""
        try:
            connection = await Connection.open(self.url)
        except OSError:
            return Said(b"", closed=True)
        try:
            connection.send(data)
            return await connection.hear(quiet=0, answers=answers)
        finally:
            await connection.closed()

    async def shout(self, data: bytes) -> None:
        """Send *data* on a connection of its own, and leave once something has come of it."""
        connection = await self.connect()
        connection.send(data)
        async with asyncio.timeout(DEADLINE):
            await connection.skim(1)
        connection.abort()

    async def read_all(self, data: str | bytes, most: float = math.inf) -> int:
        """Send *data* on a connection of its own, and read to the end, or *most* bytes of it."""
        connection = await self.connect()
        try:
            connection.send(data)
            return await connection.skim(most)
        finally:
            await connection.closed()

    async def each(
        self, times: int, one: Callable[[int], Awaitable[object]], at_once: int = 20
    ) -> None:
        """Await *one* of each number, so many of them at once."""
        turns = asyncio.Semaphore(at_once)

        async def turn(number: int) -> None:
            async with turns:
                await one(number)

        async with asyncio.TaskGroup() as tasks:
            for number in range(times):
                tasks.create_task(turn(number))

    async def publish(self, channel: str, payloads: list[bytes]) -> None:
        """PUBLISH all of them, as fast as Redis takes them."""
        async with self.redis.pipeline(transaction=False) as pipeline:
            for payload in payloads:
                pipeline.publish(channel, payload)
            await pipeline.execute()

    async def arrived(self) -> None:
        """Wait until the gateway has taken in all that was published so far."""
        await self._bystander.seen(keep=True)

    async def cut(self) -> None:
        """Wait until the gateway has closed the connections that the row under way has opened."""
        await eventually(lambda: self._read.connections() <= self._most_connections)

    # What is measured.

    async def measure(self, row: Row) -> Figures:
        """Attack with little, with twice as much, and with little again, once or twice."""
        self.url = self._proxied() if row.through_nginx else self._direct
        small = row.small()
        if row.prepare is not None:
            await row.prepare(self, *small)
            await self._bystander.seen()
        self._most_connections = self._read.connections() + _NGINX_KEEPS * row.through_nginx
        traces, resident = self.gateway.tracebacks, self._read.resident()
        self._read.forget_highest()
        before, spent = pace(), [await self._run(row, *small)]
        large = await self._run(row, *row.large())
        grew: list[int] = []
        # A heap may grow once, by what it does not give back; what is kept grows each time.
        while not grew or (len(grew) < 2 and grew[0] >= row.keeps):
            own = self._read.own() + await self._stored()
            spent.append(await self._run(row, *small))
            grew.append(self._read.own() + await self._stored() - own)
        seen = await self._bystander.seen()
        broken = seen["broken"] + await self._troubles(traces)
        return Figures(
            small=max(spent),
            large=large,
            kept=min(grew),
            peak=self._read.highest() - resident,
            event_wait=seen["event_wait"],
            poll_wait=seen["poll_wait"],
            pace=max(before, pace()),
            broken=broken,
        )

    async def undisturbed(self) -> None:
        """See that the bystander has lost nothing, and that the gateway is well."""
        seen = await self._bystander.seen()
        broken = seen["broken"] + await self._troubles()
        assert not broken, "\n".join(broken)

    async def _troubles(self, traces: int = 0) -> list[str]:
        """What the gateway says of itself that it should not; *traces* were there before."""
        found = []
        if self.gateway.tracebacks > traces:
            found += ["a trace stands in the log", *self.gateway.errors]
        if not (said := await self._health()).endswith(b'"connected"}'):
            found += [f"the gateway is not healthy: {said.decode()}"]
        return found

    async def _run(self, row: Row, size: int, times: int) -> float:
        """CPU seconds of one run, without what the bystander costs."""
        loop = asyncio.get_running_loop()
        began, cpu = loop.time(), self._read.cpu()
        await row.attack(self, size, times)
        await self.cut()
        spent = self._read.cpu() - cpu - self._idle * (loop.time() - began)
        return max(0.0, spent)

    async def _health(self) -> bytes:
        said = await self.ask("GET /api/v1/sse/health HTTP/1.1\r\nHost: gateway\r\n\r\n")
        return said.data

    def _given(self) -> dict[str, str]:
        """What the bystander must know."""
        return {
            "stream": f"{self._direct}/api/v1/sse/executions/bystander/stream",
            "execution": "bystander",
            "organization": "bystander-inc",
            "stream_token": f"Bearer {self._token('bystander-inc', 'b')}",
            "poll": f"{self._direct}/api/v1/workflows/-/runs/small",
            "third": "third-inc",
            "poll_token": f"Bearer {self._token('third-inc', 't')}",
            "redis": self._redis_process.url,
        }

    @property
    def _direct(self) -> str:
        return f"http://127.0.0.1:{self.gateway.port}"

    def _proxied(self) -> str:
        if self._nginx is None:
            self._nginx = Nginx(Path(self._directory.name), self._direct)
            self._nginx.start()
        return self._nginx.url

    async def _stored(self) -> int:
        """Bytes that Redis holds."""
        return int((await self.redis.info("memory"))["used_memory_dataset"])
