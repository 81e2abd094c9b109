"""Those who come and go: tabs that stay and are checked; others leave, freeze or poll."""

import asyncio
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import aiohttp
import orjson

from gateway.access.tokens import issue
from tests.support import SECRET, SseParser

_RETRY = 0.3
"""Seconds between two tries: a soak wants churn, not patience."""


@dataclass(slots=True)
class Execution:
    """One execution: who follows it must see its events in order, up to the end."""

    id: str
    over: asyncio.Event = field(default_factory=asyncio.Event)


@dataclass(slots=True)
class Account:
    """What all people have seen together."""

    checked: int = 0
    """Tabs that have seen an execution to its end."""
    events: int = 0
    resets: int = 0
    """Histories that began anew: Redis itself had lost something."""
    faults: list[str] = field(default_factory=list)


def headers(organization: str = "acme") -> dict[str, str]:
    token = issue(SECRET, organization_id=organization)
    return {"Authorization": f"Bearer {token}", "X-Organization-ID": organization}


class Person:
    """Somebody at a browser, who does one thing after the other until the soak is over."""

    def __init__(
        self,
        session: aiohttp.ClientSession,
        ports: Callable[[], list[int]],
        running: list[Execution],
        account: Account,
        chance: random.Random,
    ) -> None:
        self._session = session
        self._ports = ports
        self._running = running
        self._account = account
        self._chance = chance

    async def live(self, stop: asyncio.Event) -> None:
        """Do one thing after the other until *stop* is set."""
        habits = (self._follow, self._follow, self._follow, self._leave, self._freeze, self._poll,
                  self._be_refused, self._use_ticket)  # fmt: skip
        while not stop.is_set():
            if not self._running:
                await asyncio.sleep(0.05)
                continue
            habit = self._chance.choice(habits)
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                await habit(self._chance.choice(self._running), stop)
            await asyncio.sleep(self._chance.uniform(0, 0.2))

    def _url(self, execution: Execution, what: str = "stream") -> str:
        port = self._chance.choice(self._ports())
        return f"http://127.0.0.1:{port}/api/v1/sse/executions/{execution.id}/{what}"

    async def _follow(self, execution: Execution, stop: asyncio.Event) -> None:
        """To the end, over as many connections as that takes; what is seen is checked."""
        tab = Tab(execution, self._account)
        while not stop.is_set() and not tab.has_ended:
            with suppress(aiohttp.ClientError, TimeoutError, OSError):
                more = {"Last-Event-ID": tab.last_event_id} if tab.last_event_id else {}
                async with self._session.get(
                    self._url(execution), headers={**headers(), **more}
                ) as response:
                    if response.status == 204:
                        return
                    async for chunk in response.content.iter_any():
                        tab.feed(chunk)
                        if stop.is_set():
                            return
            tab.cut()
            await asyncio.sleep(_RETRY)

    async def _leave(self, execution: Execution, _: asyncio.Event) -> None:
        """In the middle of a frame, as a rule."""
        async with self._session.get(self._url(execution), headers=headers()) as response:
            async with asyncio.timeout(self._chance.uniform(0, 1)):
                async for _chunk in response.content.iter_any():
                    pass

    async def _freeze(self, execution: Execution, stop: asyncio.Event) -> None:
        """Stop reading with the connection open."""
        async with self._session.get(self._url(execution), headers=headers()) as response:
            if response.connection is not None and response.connection.transport is not None:
                response.connection.transport.pause_reading()
            with suppress(TimeoutError):
                async with asyncio.timeout(self._chance.uniform(0.5, 3)):
                    await stop.wait()

    async def _poll(self, execution: Execution, _: asyncio.Event) -> None:
        port = self._chance.choice(self._ports())
        url = f"http://127.0.0.1:{port}/api/v1/workflows/-/runs/{execution.id}?include_logs=true"
        async with self._session.get(url, headers=headers()) as response:
            await response.read()

    async def _be_refused(self, execution: Execution, _: asyncio.Event) -> None:
        async with self._session.get(
            self._url(execution), headers={**headers("other"), "X-Organization-ID": "acme"}
        ) as response:
            await response.read()

    async def _use_ticket(self, execution: Execution, stop: asyncio.Event) -> None:
        url = self._url(execution, "ticket")
        async with self._session.post(url, headers=headers()) as response:
            if response.status != 200:
                return
            ticket = (await response.json())["ticket"]
        stream = url.removesuffix("ticket") + "stream"
        async with self._session.get(stream, params={"ticket": ticket}) as answer:
            with suppress(TimeoutError):
                async with asyncio.timeout(self._chance.uniform(0, 1)):
                    await answer.content.readany()


class Tab:
    """What one tab has seen of an execution: each event once, in order, from the first on."""

    def __init__(self, execution: Execution, account: Account) -> None:
        self._execution = execution
        self._account = account
        self._parser = SseParser()
        self._epoch = ""
        self._seq = 0
        self.last_event_id = ""
        self.has_ended = False

    def cut(self) -> None:
        """The connection is gone, and half a frame with it."""
        self._parser = SseParser()

    def feed(self, chunk: bytes) -> None:
        for seen in self._parser.feed(chunk):
            if seen.event == "stream:reset":
                self._epoch, self._seq = "", 0
                self._account.resets += 1
            elif seen.event == "stream:gap":
                self._fault(f"gap {seen.data}")
            elif seen.id is not None:
                self._event(seen.event, seen.id, seen.data)

    def _event(self, event: str, event_id: str, data: str) -> None:
        epoch, _, seq = event_id.partition("-")
        if epoch != self._epoch:
            self._epoch, self._seq = epoch, 0
        if int(seq) != self._seq + 1:
            self._fault(f"{event_id} after {self._epoch}-{self._seq}")
        if orjson.loads(data)["id"] != event_id:
            self._fault(f"{event_id} has another id in its data")
        self._seq = int(seq)
        self.last_event_id = event_id
        self._account.events += 1
        if event.startswith("execution:") and event != "execution:paused":
            self.has_ended = True
            self._account.checked += 1

    def _fault(self, what: str) -> None:
        self._account.faults.append(f"{self._execution.id}: {what}")
