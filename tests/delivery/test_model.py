"""A whole gateway against the simplest model there is: the list of what was published.

Messages go in by a real Redis, bytes come out of transports, and nothing between is replaced.
Hypothesis chooses what happens: events that arrive, are lost on the way or come twice, with and
without ids, in the middle of a read; readers that come with any cursor, by HTTP/1.1 or 1.0, that
stop reading, go on, leave and break; histories that are trimmed and flushed, a Redis that is not
the same any more, subscriptions that are cut. The scenarios beside this file do the same to whole
processes, by time instead of by choice.
"""

import asyncio
import os
import secrets
from collections.abc import Awaitable, Callable
from typing import TypeVar

import orjson
import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from gateway.bus import auditor, questions, subscription
from gateway.events.envelope import with_id
from tests.delivery.edge import Edge, Interrupted, Tab, interrupt_histories
from tests.harness.history import append, ids, payload
from tests.harness.redis_process import RedisProcess
from tests.support import eventually
from tests.wire import ENDLESS

T = TypeVar("T")

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "40"))
QUEUE_EVENTS = 5
MOST_TABS = 6
STEP, END, BARE = "step:started", "execution:completed", "log"
FATES = st.lists(st.sampled_from(["arrives", "is lost", "comes twice"]), min_size=1, max_size=8)
ROOM = st.integers(20, 1500)
"""Bytes that a reader takes before it stops: head and first frames, or a piece of them; at least
the status, which decides whether there is a stream."""


def forged(event_id: str) -> bytes:
    """A message with an id that nobody has appended."""
    return b'{"id":"%b","type":"step:started","data":{"forged":true}}' % event_id.encode()


class Model(RuleBasedStateMachine):
    """One execution of one gateway. `era` is the model: all that was appended since history was
    last flushed, up to the end; of these, `trimmed` are not kept any more."""

    def __init__(self, redis_url: str) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.url = redis_url
        self.execution = "run-" + secrets.token_hex(6)
        self.tabs: list[Tab] = []
        self.era: list[str] = []
        self.former: list[str] = []
        self.trimmed: set[str] = set()
        self.over = False
        self.numbers = 0

    def do(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize(recording=st.booleans())
    def begin(self, recording: bool) -> None:
        self.recording = recording
        self.do(self._begin())

    async def _begin(self) -> None:
        self.edge = Edge(
            self.url,
            record_bare_events=self.recording,
            queue_events=QUEUE_EVENTS,
            heartbeat_seconds=0.1,
            write_timeout_seconds=60,
            drain_seconds=0,
        )
        await self.edge.start()
        history = self.edge.components.history
        assert isinstance(history, Interrupted)
        self.history = history

    # What happens to the execution.

    async def publish(self, *messages: bytes) -> None:
        """In one write, so that they come as one batch."""
        async with self.edge.redis.pipeline(transaction=False) as pipeline:
            for message in messages:
                pipeline.publish(f"execution:{self.execution}", message)
            await pipeline.execute()

    async def happen(self, fates: list[str], event_type: str = STEP) -> None:
        """Events are appended, and their messages have these fates on the way."""
        messages = []
        for fate in fates:
            event_id = await append(
                self.edge.redis, self.execution, event_type, prefix="elsewhere:"
            )
            message = with_id(payload(event_type), event_id)
            messages += [message] * {"arrives": 1, "is lost": 0, "comes twice": 2}[fate]
        if messages:
            await self.publish(*messages)
        await self.note()

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

    @precondition(lambda self: not self.over)
    @rule(fates=FATES)
    def events(self, fates: list[str]) -> None:
        self.do(self.happen(fates))

    @precondition(lambda self: not self.over and self.staying)
    @rule()
    def an_event_is_lost_and_nothing_follows(self) -> None:
        """Only silence can tell of it."""
        self.do(self.happen(["is lost"]))
        self.all_settles()

    @precondition(lambda self: not self.over)
    @rule(count=st.integers(1, 8))
    def bare_events(self, count: int) -> None:
        self.do(self.bare(count))

    @precondition(lambda self: not self.over)
    @rule(
        data=st.data(),
        fates=FATES,
        bare=st.integers(0, 3),
        trigger=st.sampled_from(["comes", "reads on", "a hole"]),
    )
    def events_while_somebody_reads(
        self, data: st.DataObject, fates: list[str], bare: int, trigger: str
    ) -> None:
        """If nobody reads, they happen after it all the same: choices must not hang on time."""

        done = asyncio.Event()

        async def meanwhile() -> None:
            await self.happen(fates)
            if bare:
                await self.bare(bare)
            done.set()

        self.history.meanwhile = meanwhile
        if trigger == "comes" and len(self.staying) < MOST_TABS:
            self.a_tab_comes(data, "1.1", ENDLESS)
        elif trigger == "reads on" and self.staying:
            self.a_tab_reads_on(data)
        else:
            self.do(self.happen(["is lost", "arrives"]))
        if self.history.meanwhile is not None:
            self.history.meanwhile = None
            self.do(meanwhile())
        self.do(done.wait())

    @precondition(lambda self: not self.over)
    @rule(fate=st.sampled_from(["arrives", "is lost", "comes twice"]))
    def the_end(self, fate: str) -> None:
        self.do(self.happen([fate], END))
        self.over = True

    @precondition(lambda self: self.over)
    @rule(fates=FATES)
    def too_late(self, fates: list[str]) -> None:
        """What is appended after the end reaches nobody."""
        self.do(self.happen(fates))

    @precondition(lambda self: self.era and not self.over)
    @rule(epochs=st.sampled_from([0, 0, 9]), seqs=st.sampled_from([2, 7]))
    def a_forged_id(self, epochs: int, seqs: int) -> None:
        """It is a bare message: where these are recorded, it gets an id of ours."""
        epoch, seq = map(int, self.era[-1].split("-"))
        message = forged(f"{epoch + epochs}-{seq + seqs}")

        async def forge() -> None:
            await self.publish(message)
            await self.note()

        self.do(forge())

    @precondition(lambda self: not self.era and not self.over)
    @rule()
    def a_forged_first_id(self) -> None:
        """The same where history is empty."""

        async def forge() -> None:
            await self.publish(forged("9999999999999-1"))
            await self.note()

        self.do(forge())

    # What happens to Redis.

    @precondition(lambda self: not self.over and self.era)
    @rule(meta_too=st.booleans(), cut=st.booleans())
    def history_is_flushed(self, meta_too: bool, cut: bool) -> None:
        keys = [f"sse:{{{self.execution}}}:events", f"sse:{{{self.execution}}}:meta"]
        self.do(self.edge.redis.delete(*keys[: 1 + meta_too]))
        self.former = self.former + self.era
        self.era, self.trimmed = [], set()
        if cut:
            self.subscription_is_cut()

    @precondition(lambda self: not self.over and len(self.era) > 1)
    @rule(data=st.data())
    def history_is_trimmed(self, data: st.DataObject) -> None:
        first = data.draw(st.integers(1, len(self.era) - 1))
        key = f"sse:{{{self.execution}}}:events"
        self.do(self.edge.redis.xtrim(key, minid=self.era[first], approximate=False))
        self.trimmed.update(self.era[:first])

    @rule()
    def redis_restarts_and_keeps_history(self) -> None:
        """The next event begins another epoch behind what is kept."""
        self.do(self.edge.redis.execute_command("DEBUG", "CHANGE-REPL-ID"))
        self.subscription_is_cut()

    @rule()
    def subscription_is_cut(self) -> None:
        async def cut() -> None:
            before = self.edge.components.metrics.feed_connections
            await self.edge.redis.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")
            await eventually(lambda: self.edge.components.metrics.feed_connections > before)

        self.do(cut())

    # What readers do.

    @precondition(lambda self: len(self.staying) < MOST_TABS)
    @rule(
        data=st.data(),
        version=st.sampled_from(["1.1", "1.1", "1.0"]),
        room=st.one_of(st.just(ENDLESS), ROOM),
    )
    def a_tab_comes(self, data: st.DataObject, version: str, room: int) -> None:
        cursors = [None, *self.era[-12:], *self.former[-2:]]
        cursor = data.draw(st.sampled_from(cursors))
        tab = self.do(self.edge.ask(self.execution, cursor, version, room))
        if tab.status == 204:
            assert self.over
            assert cursor == self.era[-1]
        else:
            self.tabs.append(tab)

    @property
    def staying(self) -> list[Tab]:
        """Tabs that have not left by themselves."""
        return [one for one in self.tabs if not one.left]

    @precondition(lambda self: self.staying)
    @rule(data=st.data(), room=ROOM)
    def a_tab_stops_reading(self, data: st.DataObject, room: int) -> None:
        data.draw(st.sampled_from(self.staying)).wire.room = room

    @precondition(lambda self: self.staying and not self.over)
    @rule(data=st.data(), room=ROOM, batches=st.lists(FATES, min_size=2, max_size=4))
    def a_tab_does_not_read_for_a_while(
        self, data: st.DataObject, room: int, batches: list[list[str]]
    ) -> None:
        """More comes than its queue holds."""
        tab = data.draw(st.sampled_from(self.staying))
        tab.wire.room = room
        for fates in batches:
            self.do(self.happen(fates))

    @precondition(lambda self: self.staying)
    @rule(data=st.data())
    def a_tab_reads_on(self, data: st.DataObject) -> None:
        tab = data.draw(st.sampled_from(self.staying))

        async def read_on() -> None:
            tab.wire.read_on()
            await asyncio.sleep(0)

        self.do(read_on())

    @precondition(lambda self: self.staying)
    @rule(data=st.data(), how=st.sampled_from(["leaves", "breaks", "raises"]))
    def a_tab_goes(self, data: st.DataObject, how: str) -> None:
        tab = data.draw(st.sampled_from(self.staying))

        async def go() -> None:
            if how == "leaves":
                tab.wire.leave()
            elif how == "breaks":
                tab.wire.breaks = True
            else:
                tab.wire.raises = True
            await asyncio.sleep(0)

        tab.left = True
        self.do(go())

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
            assert self.trimmed
            return "" if tab.ended else f"{tab.name} was closed and has not ended"
        if not self.era:
            return ""
        begin = 0
        if not tab.told("stream:reset") and tab.cursor in self.era:
            begin = self.era.index(tab.cursor) + 1
        missing = [one for one in self.era[begin:] if one not in tab.view]
        told = tab.told("stream:gap") or tab.told("stream:reset")
        if [one for one in missing if not told or one not in self.trimmed]:
            return f"{tab.name} (cursor {tab.cursor}) lacks {missing} of {tab.seen}"
        if tab.view != [one for one in self.era[begin:] if one not in missing]:
            return f"{tab.name} has seen {tab.view}"
        if tab.ended != self.over:
            return f"{tab.name} has {'' if tab.ended else 'not '}ended"
        return ""

    async def is_accounted_for(self) -> bool:
        """What operators are shown of each open stream is what was written to it."""
        listed = await self.edge.streams()
        shown = {name: (one["events"], one["bytes"]) for name, one in listed.items()}
        written = {
            one.name: (one.events, one.written) for one in self.staying if one.name in listed
        }
        return {name: shown[name] for name in written} == written

    @precondition(lambda self: not self.over and not self.recording)
    @rule(count=st.integers(1, 7))
    def bare_events_when_all_is_quiet(self, count: int) -> None:
        """Without recording, all whose streams are live get each once, though no history has it."""
        self.all_settles()
        numbers = self.do(self.bare(count))
        for tab in [one for one in self.staying if one.closing is None]:
            assert numbers_of(tab)[-count:] == numbers, f"{tab.name}: {tab.seen}"

    @invariant()
    def nothing_twice_and_in_order(self) -> None:
        for tab in self.tabs:
            places = [self.era.index(one) for one in tab.view if one in self.era]
            assert places == sorted(set(places)), f"{tab.name}: {tab.view}"
            if not self.recording:
                numbers = numbers_of(tab)
                assert numbers == sorted(set(numbers)), f"{tab.name}: {tab.seen}"

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
            self.do(self.edge.stop())
            self.loop.close()


def numbers_of(tab: Tab) -> list[int]:
    """The numbers of the bare events that it has seen."""
    return [orjson.loads(one.data)["data"]["n"] for one in tab.seen if one.event == BARE]


@pytest.mark.timeout(300)
def test_model(redis_process: Callable[..., RedisProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens in whatever order, each reader gets what follows its cursor: no gap that
    it is not told of, no duplicate, and the end."""
    monkeypatch.setattr(questions, "INTERVAL", 0.02)
    # One alone, so that what it has missed is found by the silence of a stream.
    monkeypatch.setattr(auditor, "SWEEPS", (0.0,))
    monkeypatch.setattr(subscription, "_PAUSES", (0.005, 0.005))
    interrupt_histories(monkeypatch)
    url = redis_process("--enable-debug-command", "yes").url

    class Here(Model):
        def __init__(self) -> None:
            super().__init__(url)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=40,
            deadline=None,
            # To shrink takes minutes, since what is wrong is often that something does not come.
            phases=list(Phase)
            if "MODEL_SHRINK" in os.environ
            else [Phase.explicit, Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
