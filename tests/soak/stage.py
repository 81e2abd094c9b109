"""Redis with sentinels, two gateways, executions that begin and end, and people who follow them."""

import asyncio
import random
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import aiohttp

from gateway.publisher import Publisher, PublishFailed
from tests.delivery.backends import SentinelRedis
from tests.delivery.gateways import Gateway
from tests.soak.figures import Figures, measure
from tests.soak.people import Account, Execution, Person
from tests.support import eventually, free_port

PEOPLE = 120
EXECUTIONS = 12
_QUIET_WITHIN = 30.0
"""Seconds in which all that was opened must have been given back: longer than any time limit."""

SETTINGS = {
    "GATEWAY_OWNERSHIP": "token",
    "GATEWAY_HEARTBEAT_SECONDS": "1",
    "GATEWAY_DRAIN_SECONDS": "0.5",
    "GATEWAY_WRITE_TIMEOUT_SECONDS": "2",
    "GATEWAY_MAX_STREAMS_PER_ORGANIZATION": "100000",
    "GATEWAY_MAX_STREAMS_PER_SUBJECT": "100000",
    "GATEWAY_HISTORY_TTL_SECONDS": "5",
    "GATEWAY_OPEN_TTL_SECONDS": "20",
    "GATEWAY_LOG_LEVEL": "info",
}


class Stage:
    """All that takes part; what happens by chance is drawn from the seed."""

    def __init__(self, seed: int) -> None:
        self.chance = random.Random(seed)
        self.backend = SentinelRedis()
        self.account = Account()
        self.admin_ports = [free_port(), free_port()]
        self.gateways: list[Gateway] = []
        self.running: list[Execution] = []
        self._numbers = 0

    async def open(self) -> None:
        await self.backend.start()
        for admin_port in self.admin_ports:
            ports = {"GATEWAY_PORT": str(free_port()), "GATEWAY_ADMIN_PORT": str(admin_port)}
            gateway = Gateway({"REDIS_URL": self.backend.url, **SETTINGS, **ports})
            self.gateways.append(gateway)
            await gateway.start()

    async def close(self) -> None:
        await asyncio.gather(*[gateway.clean_up() for gateway in self.gateways])
        await self.backend.clean_up()

    def ports(self) -> list[int]:
        """Of the gateways, also while one of them is away: people find that out."""
        return [gateway.port for gateway in self.gateways]

    @asynccontextmanager
    async def busy(self) -> AsyncIterator[None]:
        """Executions begin and end, and people come and go, for as long as the block lasts."""
        stop = asyncio.Event()
        connector = aiohttp.TCPConnector(limit=0, force_close=True)
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=10)
        async with (
            Publisher(self.backend.url, deadline=20.0) as publisher,
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            asyncio.TaskGroup() as tasks,
        ):
            for _ in range(EXECUTIONS):
                tasks.create_task(self._produce(publisher, stop))
            for number in range(PEOPLE):
                chance = random.Random(f"{number} {self.chance.random()}")
                person = Person(session, self.ports, self.running, self.account, chance)
                tasks.create_task(person.live(stop))
            try:
                yield
            finally:
                stop.set()

    async def _produce(self, publisher: Publisher, stop: asyncio.Event) -> None:
        """One execution after the other."""
        while not stop.is_set():
            self._numbers += 1
            execution = Execution(f"soak-{self._numbers}")
            self.running.append(execution)
            for _ in range(self.chance.randrange(5, 40)):
                size = 20_000 if self.chance.random() < 0.05 else 200
                data = {"text": "x" * self.chance.randrange(size)}
                await self._publish(publisher, execution.id, "step:started", data)
                await asyncio.sleep(self.chance.uniform(0, 0.3))
                if stop.is_set():
                    break
            await self._publish(publisher, execution.id, "execution:completed", {})
            self.running.remove(execution)

    @staticmethod
    async def _publish(
        publisher: Publisher, execution_id: str, event_type: str, data: dict[str, object]
    ) -> None:
        # While no master can be had; tried again it would be another event.
        with suppress(PublishFailed):
            await publisher.publish(execution_id, event_type, data)

    async def quiet(self) -> list[Figures]:
        """Wait until nobody is left, and measure each gateway."""
        async with aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(force_close=True)
        ) as session:

            async def measured() -> list[Figures]:
                return [
                    await measure(session, gateway.port, admin_port)
                    for gateway, admin_port in zip(self.gateways, self.admin_ports, strict=True)
                ]

            async def empty() -> bool:
                return not any(one.streams or one.sockets for one in await measured())

            with suppress(AssertionError):
                await eventually(empty, _QUIET_WITHIN)
            return await measured()

    def unexpected(self) -> list[str]:
        """Lines of the gateways' logs that nothing that was done here explains."""
        return [
            f"{line.strip()}"
            for gateway in self.gateways
            for line in gateway.lines
            if " CRITICAL " in line or "Traceback" in line
        ]

    # What happens to them.

    async def subscription_cut(self) -> None:
        async with self.backend.observer() as redis:
            await redis.client_kill_filter(_type="pubsub")

    async def failover(self) -> None:
        """The master is killed, the replica takes its place, and the dead one comes back as one."""
        await self.backend.fail_over()

    async def rolling_restart(self) -> None:
        """One gateway after the other is stopped in good order and started again."""
        for gateway in self.gateways:
            await gateway.stop()
            await gateway.start()

    async def killed(self) -> None:
        gateway = self.chance.choice(self.gateways)
        await gateway.kill()
        await gateway.start()

    async def reload(self) -> None:
        for gateway in self.gateways:
            gateway.signal(signal.SIGHUP)
