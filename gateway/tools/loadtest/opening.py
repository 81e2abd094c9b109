"""Connects tabs: a few at a time, at an even pace at first, and again whenever one comes back.

Only the act of connecting has a task; a tab that is open has none.
"""

import asyncio
import random
import socket
import ssl
import time
from collections import deque
from collections.abc import Sequence

from gateway.tools.loadtest.plan import Plan, Target
from gateway.tools.loadtest.tab import Tab

_AT_ONCE = 128
"""Tabs in the act of connecting. More would overflow a listening socket's backlog."""

_SMALL_BUFFER = 4096
"""Bytes. What a slow or frozen reader does not take is to wait in the gateway, not in our kernel,
which by itself would keep megabytes for it."""


class Opening:
    """Connects the tabs of one run; `run` is a task for as long as it lasts."""

    def __init__(self, target: Target, patience: float) -> None:
        """*patience*: seconds that a connection and its first event may take."""
        self._target = target
        self._patience = patience
        self._tls = _tls(target) if target.address.scheme == "https" else None
        self._waiting: deque[Tab] = deque()
        self._arrived = asyncio.Event()

    def later(self, tab: Tab, seconds: float) -> None:
        """Connect *tab* in so many seconds."""
        asyncio.get_running_loop().call_later(seconds, self._now, tab)

    def _now(self, tab: Tab) -> None:
        self._waiting.append(tab)
        self._arrived.set()

    async def open_all(self, tabs: list[Tab], ramp_up: float) -> None:
        """Connect *tabs*, evenly spread over *ramp_up* seconds, until each has opened or ended."""
        loop = asyncio.get_running_loop()
        begin = loop.time()
        for number, tab in enumerate(tabs):
            due = begin + ramp_up * number / len(tabs)
            if ramp_up and (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            self._now(tab)
        for tab in tabs:
            await tab.opened

    async def run(self) -> None:
        """Connect whoever waits, for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            while not self._waiting:
                self._arrived.clear()
                await self._arrived.wait()
            tab = self._waiting.popleft()
            if not tab.ended.done():
                await self._connect(tab)

    async def _connect(self, tab: Tab) -> None:
        try:
            async with asyncio.timeout(self._patience):
                if tab.habit == "reads":
                    await self._plain(tab)
                else:
                    await self._with_a_small_buffer(tab)
                # Not the future itself: a timeout would cancel it for all who wait for it.
                await asyncio.wait([tab.opened])
        except TimeoutError:
            tab.not_connected(f"the stream did not open within {self._patience:g} s")
        except OSError as error:
            tab.not_connected(f"no connection: {error.strerror or error}")

    async def _plain(self, tab: Tab) -> None:
        await asyncio.get_running_loop().create_connection(
            lambda: tab, self._target.host, self._target.port, ssl=self._tls
        )

    async def _with_a_small_buffer(self, tab: Tab) -> None:
        """Connect to the first of the host's addresses that answers."""
        loop, target = asyncio.get_running_loop(), self._target
        problem = OSError("the host has no address")
        for family, _, _, _, address in await loop.getaddrinfo(
            target.host, target.port, type=socket.SOCK_STREAM
        ):
            plug = socket.socket(family, socket.SOCK_STREAM)
            try:
                plug.setblocking(False)
                # Set later, it would not bound the window that is offered at first.
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
                await loop.sock_connect(plug, address)
                host = target.host if self._tls else None
                await loop.create_connection(
                    lambda: tab, sock=plug, ssl=self._tls, server_hostname=host
                )
            except OSError as error:
                plug.close()
                problem = error
            except BaseException:
                plug.close()
                raise
            else:
                return
        raise problem


def _tls(target: Target) -> ssl.SSLContext:
    context = ssl.create_default_context()
    # The tabs speak HTTP/1.1 only; without this a proxy may choose HTTP/2.
    context.set_alpn_protocols(["http/1.1"])
    if target.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


_TURN = 0.5
"""Seconds between two moments at which a slow tab reads what fits into one read."""

_LOOK = 0.02


class Disturbance:
    """Disturbs the tabs of one run while events are published; `run` is its task."""

    def __init__(self, plan: Plan, tabs: Sequence[Tab]) -> None:
        self._plan = plan
        self._tabs = tabs
        self.storm_seconds: float | None = None
        """How long it took until all that were dropped were back."""

    async def run(self) -> None:
        """Until the last disturbance is over."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._let_slow_ones_read())
            group.create_task(self._reload())
            if self._plan.storm:
                group.create_task(self._storm())

    async def _let_slow_ones_read(self) -> None:
        slow = [tab for tab in self._tabs if tab.habit == "slow"]
        while slow := [tab for tab in slow if not tab.ended.done()]:
            for tab in slow:
                tab.read_on()
            await asyncio.sleep(_TURN)

    async def _reload(self) -> None:
        """Each of a share of the tabs once, at a random moment of the publishing."""
        reading = [tab for tab in self._tabs if tab.habit == "reads"]
        # Spreads load, guards nothing; the same in each run of one size.
        chance = random.Random(len(reading))  # noqa: S311
        chosen = chance.sample(reading, round(len(reading) * self._plan.reload))
        moments = sorted(chance.uniform(0, self._plan.duration) for _ in chosen)
        begin = time.monotonic()
        for tab, moment in zip(chosen, moments, strict=True):
            await asyncio.sleep(max(0.0, begin + moment - time.monotonic()))
            tab.reload()

    async def _storm(self) -> None:
        await asyncio.sleep(self._plan.duration / 2)
        dropped = [tab for tab in self._tabs if tab.is_open and tab.habit != "frozen"]
        begin = time.monotonic()
        for tab in dropped:
            tab.drop()
        # Gone first: an abort is known to a tab a turn of the loop later.
        await asyncio.sleep(_LOOK)
        try:
            # An event of its own would cost every tab more than this look.
            while not all(map(_is_back, dropped)):  # noqa: ASYNC110
                await asyncio.sleep(_LOOK)
        finally:
            # The run may be over as soon as the last one is back.
            if all(map(_is_back, dropped)):
                self.storm_seconds = round(time.monotonic() - begin, 3)


def _is_back(tab: Tab) -> bool:
    return tab.is_open or tab.ended.done()
