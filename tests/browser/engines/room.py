"""What is around the page in each of these tests: a network, a gateway on it, and a publisher."""

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager

from gateway.publisher import Publisher
from tests.browser.engines.clients import NAMES
from tests.harness.gateway_process import GatewayProcess, serving
from tests.harness.http_proxy import proxy_before
from tests.harness.tcp_proxy import TcpProxy
from tests.support import free_port


class Room:
    """Its gateway comes and goes; `url` is where pages find it."""

    def __init__(self, settings: dict[str, str], network: TcpProxy, publisher: Publisher) -> None:
        self._settings = settings
        self._publisher = publisher
        self.network = network
        self.url = f"http://127.0.0.1:{network.port}"
        self.swallowing = ""
        """The same behind a proxy that swallows."""

    @property
    def port(self) -> int:
        """The gateway's own, behind the network."""
        return int(self._settings["GATEWAY_PORT"])

    def gateway(self) -> AbstractAsyncContextManager[GatewayProcess]:
        """A gateway that runs for as long as the block does."""
        return serving(**self._settings)

    async def publish(self, *numbers: int, ends: bool = False) -> None:
        """Publish an event with each number in every execution; with *ends* the last one ends
        it."""
        for number in numbers:
            last = ends and number == numbers[-1]
            event_type = "execution:completed" if last else "step:started"
            for name in NAMES:
                step = {"node_id": f"n{number}", "node_type": "signature", "number": number}
                await self._publisher.publish(f"run-{name}", event_type, step)


@asynccontextmanager
async def room_for(origin: str, redis_url: str) -> AsyncIterator[Room]:
    """A room for pages of *origin*; its gateway does not run yet."""
    port = free_port()
    settings = {
        "REDIS_URL": redis_url,
        "GATEWAY_OWNERSHIP": "token",
        "GATEWAY_CORS_ORIGINS": origin,
        "GATEWAY_PORT": str(port),
        "GATEWAY_DRAIN_SECONDS": "0.1",
        "GATEWAY_HEARTBEAT_SECONDS": "1",
    }
    async with TcpProxy(port) as network, Publisher(redis_url) as publisher:
        room = Room(settings, network, publisher)
        async with proxy_before(room.url, "swallows") as proxy:
            room.swallowing = proxy.url
            yield room
