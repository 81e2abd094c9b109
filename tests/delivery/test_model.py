"""Hub, history and subscribers against the simplest model there is: the list of what was published.

Hypothesis chooses what happens: events that arrive, are lost on the way or come twice, readers that
come with any cursor and read when they like, histories that are flushed, events in the middle of a
read. The scenarios beside this file do the same to whole processes, by time instead of by choice.
"""

import asyncio
import secrets
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from redis.asyncio import Redis

from gateway.access.ownership import TokenOwnership
from gateway.bus.history import History, Page
from gateway.bus.replay import Replay
from gateway.events.batch import EventBatch
from gateway.events.envelope import recorded
from gateway.events.ids import EventId
from gateway.fanout.hub import Hub, QueueBounds
from gateway.fanout.subscriber import Subscriber
from gateway.http.catch_up import CatchUp
from gateway.metrics import Metrics
from tests.history_support import append, payload
from tests.principals import principal
from tests.support import Seen, SseParser

T = TypeVar("T")

QUEUE_EVENTS = 5
FATES = st.lists(st.sampled_from(["arrives", "is lost", "comes twice"]), min_size=1, max_size=8)


class Interrupted(History):
    """The real history; what `meanwhile` does happens after Redis has answered a read, and before
    the reader has the answer."""

    meanwhile: Callable[[], Coroutine[Any, Any, None]] | None = None

    async def page(
        self, execution_id: str, cursor: EventId | None, *, only_valid: bool = False
    ) -> Page:
        page = await super().page(execution_id, cursor, only_valid=only_valid)
        if (meanwhile := self.meanwhile) is not None:
            self.meanwhile = None
            await meanwhile()
        return page


@dataclass
class Tab:
    """A reader: what it asked for, and what was written to it."""

    subscriber: Subscriber
    cursor: EventId | None
    seen: list[Seen] = field(default_factory=list)
    parser: SseParser = field(default_factory=SseParser)
    ended: bool = False
    behind: bool = False

    def __post_init__(self) -> None:
        self.subscriber.attach(self)

    def offer(self, burst: EventBatch) -> bool:
        """As `Outlet.offer`: at once, unless the reader is behind."""
        if not self.behind:
            self.seen += self.parser.feed(burst.data)
        return not self.behind

    def wake(self) -> None:
        """Nothing: it is the model's turn to say when a tab reads."""

    def abort(self) -> None:
        raise AssertionError("nobody asked for that")

    @property
    def behind_since(self) -> float | None:
        return 0.0 if self.behind else None

    @property
    def written(self) -> int:
        return sum(len(seen.data) for seen in self.seen)

    async def write(self, data: bytes) -> None:
        """As `Outlet.write`, to a reader that takes everything."""
        self.seen += self.parser.feed(data)

    @property
    def view(self) -> list[str]:
        """The ids since the last `stream:reset`."""
        begin = max(
            (i for i, one in enumerate(self.seen) if one.event == "stream:reset"), default=-1
        )
        return [one.id for one in self.seen[begin + 1 :] if one.id is not None]

    @property
    def was_reset(self) -> bool:
        return any(one.event == "stream:reset" for one in self.seen)


class Model(RuleBasedStateMachine):
    """One execution of one gateway; `kept` is the model."""

    def __init__(self, redis_url: str) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.redis = Redis.from_url(redis_url)
        self.execution = "run-" + secrets.token_hex(6)
        self.history = Interrupted(self.redis)
        metrics = Metrics()
        self.hub = Hub(QueueBounds(QUEUE_EVENTS, 100_000), metrics)
        self.replay = Replay(self.history, metrics)
        self.catch_up = CatchUp(self.replay, TokenOwnership().admit, metrics)
        self.tabs: list[Tab] = []
        self.kept: list[str] = []
        self.over = False

    def do(self, work: Coroutine[Any, Any, T]) -> T:
        return self.loop.run_until_complete(work)

    async def happen(self, fates: list[str], event_type: str = "step:started") -> None:
        """Events are appended, and their messages have these fates on the way to the hub."""
        for fate in fates:
            event_id = await append(self.redis, self.execution, event_type)
            self.kept.append(str(event_id))
            event = recorded(event_type, payload(event_type), event_id)
            for _ in range({"arrives": 1, "is lost": 0, "comes twice": 2}[fate]):
                burst = EventBatch([event], terminal=event_type != "step:started")
                self.replay.extend(self.execution, burst)
                self.hub.publish(self.execution, burst)

    async def flushed(self) -> None:
        await self.redis.delete(f"sse:{{{self.execution}}}:events")

    @precondition(lambda self: not self.over)
    @rule(fates=FATES)
    def events(self, fates: list[str]) -> None:
        self.do(self.happen(fates))

    @precondition(lambda self: not self.over)
    @rule(fates=FATES)
    def events_while_somebody_reads(self, fates: list[str]) -> None:
        async def meanwhile() -> None:
            if not self.over:
                await self.happen(fates)

        self.history.meanwhile = meanwhile

    @precondition(lambda self: not self.over)
    @rule(fate=st.sampled_from(["arrives", "is lost", "comes twice"]))
    def the_end(self, fate: str) -> None:
        self.over = True
        self.do(self.happen([fate], "execution:completed"))

    @precondition(lambda self: not self.over and self.kept)
    @rule()
    def history_is_flushed(self) -> None:
        self.do(self.flushed())
        self.replay.forget_all()
        self.kept.clear()

    @precondition(lambda self: len(self.tabs) < 6)
    @rule(data=st.data())
    def a_tab_comes(self, data: st.DataObject) -> None:
        choices = [None, *(EventId(*map(int, one.split("-"))) for one in self.kept)]
        cursor = data.draw(st.sampled_from(choices))
        if self.over and str(cursor) == self.kept[-1]:
            # It has seen the end, and gets a 204 instead of a stream.
            return

        async def come() -> Tab:
            subscriber = self.hub.add(principal(self.execution))
            subscriber.position = cursor
            return Tab(subscriber, cursor)

        self.tabs.append(self.do(come()))

    @precondition(lambda self: self.tabs)
    @rule(data=st.data())
    def a_tab_reads(self, data: st.DataObject) -> None:
        self.do(self.read(data.draw(st.sampled_from(self.tabs))))

    @precondition(lambda self: self.tabs)
    @rule(data=st.data())
    def a_tab_falls_behind(self, data: st.DataObject) -> None:
        data.draw(st.sampled_from(self.tabs)).behind = True

    async def read(self, tab: Tab) -> bool:
        """One turn of `Outlet.wake`; False when there is nothing to do."""
        subscriber = tab.subscriber
        tab.behind = False
        if data := subscriber.take():
            await tab.write(data)
        elif subscriber.ended is not None:
            tab.ended = True
            return False
        elif subscriber.held:
            await self.catch_up.run(subscriber, tab)
        else:
            return False
        return True

    async def settle(self) -> None:
        """What the auditor finds is held, and everybody reads until there is nothing more."""
        [last] = (await self.history.positions([self.execution])).values()
        if self.hub.audit(self.execution, last):
            self.replay.forget(self.execution)
        for tab in self.tabs:
            while await self.read(tab):
                pass

    @rule()
    def all_settles(self) -> None:
        """Every tab has exactly what is kept after its cursor, or all of it after a reset."""
        self.history.meanwhile = None
        self.do(self.settle())
        for tab in self.tabs:
            if not self.kept:
                continue
            if tab.was_reset or tab.cursor is None or str(tab.cursor) not in self.kept:
                assert tab.view == self.kept
            else:
                assert tab.view == self.kept[self.kept.index(str(tab.cursor)) + 1 :]
            assert tab.ended == self.over

    @invariant()
    def nothing_twice_and_in_order(self) -> None:
        for tab in self.tabs:
            places = [self.kept.index(one) for one in tab.view if one in self.kept]
            assert places == sorted(set(places))

    def teardown(self) -> None:
        try:
            self.all_settles()
        finally:
            self.do(self.replay.stop())
            self.do(self.history.stop())
            self.do(self.redis.aclose())
            self.loop.close()


def test_model(redis_url: str) -> None:
    """Whatever happens in whatever order, each reader gets what follows its cursor: no gap, no
    duplicate, and the end."""

    class Here(Model):
        def __init__(self) -> None:
            super().__init__(redis_url)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=60,
            stateful_step_count=40,
            deadline=None,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
