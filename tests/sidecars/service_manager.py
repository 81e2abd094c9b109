"""What systemd is to a service, played by the test: who is notified, and who holds the socket."""

import asyncio
import random
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, suppress

from tests.harness.gateway_process import GatewayProcess
from tests.harness.program import running
from tests.support import DEADLINE


class Listening:
    """Reads what a process says by sd_notify."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        address = sock.getsockname()
        self.address = f"@{address[1:].decode()}" if isinstance(address, bytes) else address
        """For NOTIFY_SOCKET."""

    async def next(self, timeout: float = DEADLINE) -> dict[str, str]:
        """One message: its assignments by name.

        Raises:
            TimeoutError: none came.
        """
        async with asyncio.timeout(timeout):
            message = await asyncio.get_running_loop().sock_recv(self._sock, 4096)
        return dict(line.split("=", 1) for line in message.decode().splitlines())

    async def until(self, name: str) -> dict[str, str]:
        """The next message that assigns *name*."""
        async with asyncio.timeout(DEADLINE):
            while name not in (message := await self.next()):
                pass
        return message

    async def during(self, seconds: float) -> list[dict[str, str]]:
        """All messages of the next *seconds*."""
        found = []
        deadline = asyncio.get_running_loop().time() + seconds
        while (left := deadline - asyncio.get_running_loop().time()) > 0:
            with suppress(TimeoutError):
                found.append(await self.next(left))
        return found


@contextmanager
def listening(address: str) -> Iterator[Listening]:
    """A notify socket at *address*, which is a path, or abstract with a first character "@"."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.setblocking(False)
        sock.bind(address.replace("@", "\0"))
        yield Listening(sock)


def activated(
    *held: socket.socket, names: str, **settings: str
) -> AbstractAsyncContextManager[GatewayProcess]:
    """`serve` with the listening sockets *held*, called *names* (joined by ":"), as systemd hands
    them over."""
    sockets = dict(zip(names.split(":"), held, strict=True))
    return running(GatewayProcess(settings, sockets=sockets))


class Visitors:
    """Clients that ask for health without pause, each time over a new connection."""

    def __init__(self, host: str, port: int) -> None:
        self._address = (host, port)
        self.answers = 0
        self.failures: list[str] = []

    async def run(self) -> None:
        while True:
            try:
                await self._ask()
            except OSError as error:
                self.failures.append(type(error).__name__)
                # A port that refuses must not take all of the processor.
                await asyncio.sleep(0.01)

    async def _ask(self) -> None:
        reader, writer = await asyncio.open_connection(*self._address)
        try:
            # Half of them are accepted some time before they have asked.
            await asyncio.sleep(random.choice((0, 0.005)))
            writer.write(b"GET /api/v1/sse/health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            answer = await reader.read()
        finally:
            writer.close()
        if answer.startswith(b"HTTP/1.1 ") and b'"status"' in answer:
            self.answers += 1
        else:
            self.failures.append(f"answered {answer!r}")


@asynccontextmanager
async def visited(host: str, port: int, clients: int = 10) -> AsyncIterator[Visitors]:
    """Visitors of that address for as long as the block runs."""
    visitors = Visitors(host, port)
    tasks = [asyncio.create_task(visitors.run()) for _ in range(clients)]
    try:
        yield visitors
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
