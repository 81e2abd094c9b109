"""What a model knows of one execution, and what must be true of each of its readers.

The model is the list of what was published; the gateway beside it is whole, and has a real Redis.
"""

import asyncio
import secrets
from collections.abc import Awaitable
from typing import Any, TypeVar

import orjson
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from gateway.events.envelope import with_id
from tests.delivery.edge import Edge, Interrupted, Tab
from tests.harness.history import append, ids, payload
from tests.support import eventually

T = TypeVar("T")

QUEUE_EVENTS = 5
STEP, BARE = "step:started", "log"


class Known(RuleBasedStateMachine):
    """One execution of one gateway. `era` is the model: all that was appended since history was
    last flushed, up to the end; of these, `trimmed` are not kept any more."""

    url = ""
    """Of Redis."""
    recording = False
    """Whether what is bare gets into history."""
    hears_silence = True
    """Whether silent streams are compared with history. Otherwise nothing else finds what the
    subscription itself has missed, and no message is lost on its way."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.execution = "run-" + secrets.token_hex(6)
        self.channel = f"execution:{self.execution}"
        self.tabs: list[Tab] = []
        self.era: list[str] = []
        self.former: list[str] = []
        self.trimmed: set[str] = set()
        self.was_trimmed = False
        """Once, also before the last flush."""
        self.admitted_before: dict[str, int] = {}
        """How often each tab that saw a history which was flushed had been admitted until then."""
        self.over = False
        self.numbers = 0

    def do(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(work)

    async def start(self, gateway_url: str, **settings: Any) -> None:
        """Start the gateway; *gateway_url*: of Redis, as it sees it."""
        self.edge = Edge(
            self.url,
            gateway_url=gateway_url,
            queue_events=QUEUE_EVENTS,
            write_timeout_seconds=60,
            drain_seconds=0,
            **settings,
        )
        await self.edge.start()
        history = self.edge.components.history
        assert isinstance(history, Interrupted)
        self.history = history

    async def stop(self) -> None:
        """Stop all that runs."""
        await self.edge.stop()

    @property
    def staying(self) -> list[Tab]:
        """Tabs that have not left by themselves."""
        return [one for one in self.tabs if not one.left]

    # What happens to the execution.

    async def publish(self, *messages: bytes) -> None:
        """In one write, so that they come as one batch."""
        async with self.edge.redis.pipeline(transaction=False) as pipeline:
            for message in messages:
                pipeline.publish(self.channel, message)
            await pipeline.execute()

    async def happen(self, fates: list[str], event_type: str = STEP) -> None:
        """Events are appended, and their messages have these fates on the way."""
        await self.announce(fates, event_type)
        await self.note()

    async def announce(self, fates: list[str], event_type: str = STEP) -> None:
        """The same, and nothing waits for them."""
        messages = []
        for fate in fates:
            event_id = await append(
                self.edge.redis, self.execution, event_type, prefix="elsewhere:", to="pattern"
            )
            message = with_id(payload(event_type), event_id)
            messages += [message] * {"arrives": 1, "is lost": 0, "comes twice": 2}[fate]
        if messages:
            await self.publish(*messages)

    async def note(self) -> None:
        """All that was published is delivered; what is new in history is part of the model."""
        await self.edge.processed()
        if not self.over:
            kept = await ids(self.edge.redis, self.execution)
            self.era += [one for one in kept if one not in self.era]

    async def bare(self, count: int) -> list[int]:
        """As many bare messages; returns their numbers."""
        numbers = [self.numbers + n + 1 for n in range(count)]
        self.numbers += count
        await self.publish(*[payload(BARE, n=n) for n in numbers])
        await self.note()
        return numbers

    # What must be true.

    @rule()
    def all_settles(self) -> None:
        """Every tab has exactly what follows its cursor, or all that is kept after a reset."""
        self.do(self.settle())

    async def settle(self) -> None:
        for tab in self.tabs:
            tab.wire.read_on()
        problem: list[str] = []

        def complete() -> bool:
            problem[:] = [text for one in self.staying if (text := self.lacks(one))]
            return not problem

        try:
            await eventually(complete, 5)
        except AssertionError:
            shown = "\n".join(problem)
            raise AssertionError(f"{shown}\npublished {self.era}, trimmed {self.trimmed}") from None
        await eventually(self.is_accounted_for, 5)

    def lacks(self, tab: Tab) -> str:
        """What is not right about *tab* yet."""
        if tab.closing is not None:
            assert tab.closing == "history_lost"
            assert self.was_trimmed
            return "" if tab.ended else f"{tab.name} was closed and has not ended"
        if not self.era:
            return ""
        begin = 0
        if not tab.told("stream:reset") and tab.cursor in self.era:
            begin = self.era.index(tab.cursor) + 1
        missing = [one for one in self.era[begin:] if one not in tab.view]
        told = tab.told("stream:gap") or tab.told("stream:reset")
        excused = self.trimmed if told else self.trimmed & self.untold(tab)
        if not excused.issuperset(missing):
            return f"{tab.name} (cursor {tab.cursor}) lacks {missing} of {tab.seen}"
        if tab.view != [one for one in self.era[begin:] if one not in missing]:
            return f"{tab.name} has seen {tab.view}"
        if tab.ended != self.over:
            return f"{tab.name} has {'' if tab.ended else 'not '}ended"
        return ""

    def untold(self, tab: Tab) -> set[str]:
        """What was in epochs before that of the first event of *tab*: a reader without a cursor is
        not told of epochs that are gone as a whole."""
        kept = [one for one in self.era if one not in self.trimmed]
        first = next(iter([one for one in tab.view if one in self.era] or kept), "")
        begins = tab.cursor is None and first.endswith("-1")
        return set(self.era[: self.era.index(first)]) if begins else set()

    async def is_accounted_for(self) -> bool:
        """What operators are shown of each open stream is what was written to it."""
        listed = await self.edge.streams()
        shown = {name: (one["events"], one["bytes"]) for name, one in listed.items()}
        written = {
            one.name: (one.events, one.written) for one in self.staying if one.name in listed
        }
        return {name: shown[name] for name in written} == written

    async def is_live(self) -> bool:
        """All who stay have caught up."""
        listed = await self.edge.streams()
        states = [listed[one.name]["state"] for one in self.staying if one.name in listed]
        return all(one not in ("opening", "catching_up") for one in states)

    @invariant()
    def nothing_twice_and_in_order(self) -> None:
        for tab in self.tabs:
            places = [self.era.index(one) for one in tab.view if one in self.era]
            assert places == sorted(set(places)), f"{tab.name}: {tab.view}"
            if not self.recording:
                numbers = numbers_of(tab)
                assert numbers == sorted(set(numbers)), f"{tab.name}: {tab.seen}"

    @invariant()
    def another_history_takes_another_admission(self) -> None:
        """After a flush the execution may be another organization's."""
        for tab in self.tabs:
            before = self.admitted_before.get(tab.name)
            if before is not None and any(one in self.era for one in tab.view):
                assert self.edge.admitted[tab.name] > before, f"{tab.name}: {tab.view}"

    @invariant()
    def everything_runs(self) -> None:
        if hasattr(self, "edge"):
            assert not self.edge.components.supervisor.failures

    def teardown(self) -> None:
        if not hasattr(self, "edge"):
            self.loop.close()
            return
        try:
            self.all_settles()
        finally:
            self.do(self.stop())
            self.loop.close()


def numbers_of(tab: Tab) -> list[int]:
    """The numbers of the bare events that it has seen."""
    return [orjson.loads(one.data)["data"]["n"] for one in tab.seen if one.event == BARE]
