"""Connects tabs, some at a time, and disturbs them; a tab that is open needs no task."""

import asyncio
import random
import socket
import ssl
import time
from collections.abc import Sequence

from gateway.tools.loadtest.plan import Plan, Target
from gateway.tools.loadtest.tab import Tab

_AT_ONCE = 128
"""Tabs that connect at the same time. More would overflow a listening socket's backlog."""

_SMALL_BUFFER = 4096
"""Bytes. What a slow or frozen tab does not read must wait in the gateway, not in the kernel here,
which would buffer megabytes."""


class Opening:
    """Connects the tabs of one run; `run` is its task."""

    def __init__(self, target: Target, timeout: float) -> None:
        """*timeout*: seconds until a stream has to be open."""
        self._target = target
        self._timeout = timeout
        self._tls = _tls(target) if target.address.scheme == "https" else None
        self._queue: asyncio.Queue[Tab] = asyncio.Queue()

    def later(self, tab: Tab, seconds: float) -> None:
        """Connect *tab* in *seconds*."""
        asyncio.get_running_loop().call_later(seconds, self._queue.put_nowait, tab)

    async def open_all(self, tabs: list[Tab], ramp_up: float) -> None:
        """Connect *tabs*, evenly spread over *ramp_up* seconds, until each has opened or ended."""
        loop = asyncio.get_running_loop()
        start = loop.time()
        for number, tab in enumerate(tabs):
            due = start + ramp_up * number / len(tabs)
            if ramp_up and (wait := due - loop.time()) > 0:
                await asyncio.sleep(wait)
            self._queue.put_nowait(tab)
        for tab in tabs:
            await tab.opened

    async def run(self) -> None:
        """Connect the tabs in the queue until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(_AT_ONCE):
                group.create_task(self._work())

    async def _work(self) -> None:
        while True:
            tab = await self._queue.get()
            if not tab.ended.done():
                await self._connect(tab)

    async def _connect(self, tab: Tab) -> None:
        try:
            async with asyncio.timeout(self._timeout):
                if tab.habit == "reads":
                    target = self._target
                    await asyncio.get_running_loop().create_connection(
                        lambda: tab, target.host, target.port, ssl=self._tls
                    )
                else:
                    await self._connect_with_small_buffer(tab)
                # Not the future itself: the timeout would cancel it.
                await asyncio.wait([tab.opened])
        except TimeoutError:
            tab.not_connected(f"the stream did not open within {self._timeout:g} s")
        except OSError as error:
            tab.not_connected(f"no connection: {error.strerror or error}")

    async def _connect_with_small_buffer(self, tab: Tab) -> None:
        """Connect to the first of the host's addresses that answers."""
        loop, target = asyncio.get_running_loop(), self._target
        problem = OSError("the host has no address")
        for family, _, _, _, address in await loop.getaddrinfo(
            target.host, target.port, type=socket.SOCK_STREAM
        ):
            sock = socket.socket(family, socket.SOCK_STREAM)
            try:
                sock.setblocking(False)
                # Before connecting, since it bounds the first window too.
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _SMALL_BUFFER)
                await loop.sock_connect(sock, address)
                host = target.host if self._tls else None
                await loop.create_connection(
                    lambda: tab, sock=sock, ssl=self._tls, server_hostname=host
                )
            except OSError as error:
                sock.close()
                problem = error
            except BaseException:
                sock.close()
                raise
            else:
                return
        raise problem


def _tls(target: Target) -> ssl.SSLContext:
    context = ssl.create_default_context()
    # The tabs speak HTTP/1.1 only; otherwise a proxy might choose HTTP/2.
    context.set_alpn_protocols(["http/1.1"])
    if target.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


_SLOW_INTERVAL = 0.5
"""Seconds between two reads of a slow tab."""

_POLL_INTERVAL = 0.02


class Disturbance:
    """Disturbs the tabs of one run while events are published; `run` is its task."""

    def __init__(self, plan: Plan, tabs: Sequence[Tab]) -> None:
        self._plan = plan
        self._tabs = tabs
        self.storm_seconds: float | None = None
        """How long it took until all dropped tabs were back."""
        self.calm = asyncio.Event()
        """Set unless a storm is to come, or tabs are not back from it."""
        if not plan.storm:
            self.calm.set()

    async def run(self) -> None:
        """Returns when the last disturbance is over."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._let_slow_tabs_read())
            group.create_task(self._reload())
            if self._plan.storm:
                group.create_task(self._storm())

    async def _let_slow_tabs_read(self) -> None:
        slow = [tab for tab in self._tabs if tab.habit == "slow"]
        while slow := [tab for tab in slow if not tab.ended.done()]:
            for tab in slow:
                tab.read_on()
            await asyncio.sleep(_SLOW_INTERVAL)

    async def _reload(self) -> None:
        """Reload each of a share of the tabs once, at a random time while events are published."""
        reading = [tab for tab in self._tabs if tab.habit == "reads"]
        # The same in each run of this size.
        rng = random.Random(len(reading))  # noqa: S311
        chosen = rng.sample(reading, round(len(reading) * self._plan.reload))
        offsets = sorted(rng.uniform(0, self._plan.duration) for _ in chosen)
        start = time.monotonic()
        for tab, offset in zip(chosen, offsets, strict=True):
            await asyncio.sleep(max(0.0, start + offset - time.monotonic()))
            tab.reload()

    async def _storm(self) -> None:
        await asyncio.sleep(self._plan.duration / 2)
        dropped = [tab for tab in self._tabs if tab.is_open and tab.habit != "frozen"]
        start = time.monotonic()
        for tab in dropped:
            tab.drop()
        # A tab hears of an abort only in a later iteration of the event loop.
        await asyncio.sleep(_POLL_INTERVAL)
        # Polling costs less than an event for every tab.
        while not all(map(_is_back, dropped)):  # noqa: ASYNC110
            await asyncio.sleep(_POLL_INTERVAL)
        self.storm_seconds = round(time.monotonic() - start, 3)
        self.calm.set()


def _is_back(tab: Tab) -> bool:
    return tab.is_open or tab.ended.done()
