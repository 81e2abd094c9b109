"""A set beside single streams of the same executions: each part shows what its own stream does.

Hypothesis chooses what happens to the executions, to Redis and to the readers, as in
`tests.delivery.test_model`. Here readers come back: a set with its cursor, from any byte at which
it was cut off, also with more executions or fewer.
"""

import asyncio
import os
import secrets
from collections import defaultdict
from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

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
from gateway.events.set_cursor import SetCursor
from tests.delivery.edge import Edge, Tab
from tests.harness.history import append, ids, payload
from tests.harness.redis_process import RedisProcess
from tests.harness.sse import Seen
from tests.sets.support import path
from tests.support import eventually
from tests.wire import ENDLESS

T = TypeVar("T")

EXAMPLES = int(os.environ.get("MODEL_EXAMPLES", "10"))
FATES = st.lists(st.sampled_from(["arrives", "is lost", "comes twice"]), min_size=1, max_size=6)
ROOM = st.integers(20, 3000)
COUNT = 3
QUEUE_EVENTS = 5
WHICH = st.integers(0, COUNT - 1)
LONGEST_CURSOR = 1024


class Truth:
    """One execution: all that was appended since its history was flushed, and what is trimmed."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.era: list[str] = []
        self.trimmed: set[str] = set()
        self.over = False


class Reader:
    """Follows some executions by one stream after another; `views` is what it has seen of each."""

    def __init__(self, edge: Edge, names: Sequence[str], *, is_set: bool, version: str) -> None:
        self.edge = edge
        self.names = list(names)
        self.is_set = is_set
        self.version = version
        self.views: dict[str, list[str]] = defaultdict(list)
        self.told: set[str] = set()
        self.ended: set[str] = set()
        self.lost: set[str] = set()
        self.status = 0
        self.tab: Tab | None = None
        self._cursor: str | None = None
        self._followed: set[str] = set()
        self._taken = 0

    async def come(self, room: int = ENDLESS) -> None:
        """Open a stream with the last id that was seen."""
        assert self.tab is None
        where = f"/api/v1/sse/executions/{self.names[0]}/stream"
        if self.is_set:
            where = path(self.names)
            self._check_cursor()
        tab = await self.edge.ask_for(where, self._cursor, self.version, room)
        self._taken = 0
        self.lost.clear()
        self.status = tab.status
        self.tab = tab if tab.status in (0, 200) else None
        if tab.status == 204:
            self.ended.update(self.names)

    def _check_cursor(self) -> None:
        """It holds the position in each that was followed; of others it may have lost it."""
        cursor = SetCursor.parse(self._cursor)
        held = cursor.positions(self.names) if cursor is not None else {}
        for name in self.names:
            if name in self._followed:
                assert name in held or not self.views[name]
            elif name not in held:
                self.views[name].clear()
                self.ended.discard(name)
        self._followed = set(self.names)

    async def go(self) -> None:
        """Be cut off, in the middle of a frame as a rule."""
        if self.tab is not None:
            self.look()
            self.tab.wire.leave()
            self.tab = None
            await asyncio.sleep(0)

    def look(self) -> None:
        """Take what has come."""
        if self.tab is None:
            return
        for seen in self.tab.seen[self._taken :]:
            self._taken += 1
            if seen.id is not None:
                assert len(seen.id) <= LONGEST_CURSOR
                self._cursor = seen.id
            if seen.event not in ("connected", "heartbeat"):
                self._take(seen)

    def _take(self, seen: Seen) -> None:
        data, name = seen.json(), self.names[0]
        if seen.event == "stream:closing":
            # Of one of them, and yet the stream ends: its reader comes back for all.
            assert data["reason"] == "history_lost"
            assert "execution_id" not in data
            self.lost.update(self.names)
            return
        if self.is_set:
            assert next(iter(data)) == "execution_id", seen
            name = data["execution_id"]
            assert name in self.names
        if seen.event in ("stream:reset", "stream:gap"):
            self.told.add(name)
            if seen.event == "stream:reset":
                self.views[name].clear()
        elif seen.event == "stream:ended":
            assert data["status"] == "completed"
            self.ended.add(name)
        else:
            assert name not in self.ended, f"{seen} after the end"
            self.views[name].append(data["id"])
            if not self.is_set and seen.event == "execution:completed":
                self.ended.add(name)

    @property
    def is_closed(self) -> bool:
        """Whether its stream has ended by itself."""
        return self.tab is not None and self.tab.ended


class SetModel(RuleBasedStateMachine):
    """Three executions, a set of all or some, and a stream of each."""

    def __init__(self, redis_url: str) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.url = redis_url
        prefix = secrets.token_hex(6)
        self.truths = [Truth(f"run-{prefix}-{number}") for number in range(COUNT)]

    def do(self, work: Awaitable[T]) -> T:
        return self.loop.run_until_complete(work)

    @initialize(version=st.sampled_from(["1.1", "1.1", "1.0"]))
    def begin(self, version: str) -> None:
        self.do(self._begin(version))

    async def _begin(self, version: str) -> None:
        self.edge = Edge(
            self.url,
            queue_events=QUEUE_EVENTS,
            heartbeat_seconds=0.1,
            write_timeout_seconds=60,
            drain_seconds=0,
        )
        await self.edge.start()
        names = [one.name for one in self.truths]
        self.set = Reader(self.edge, names, is_set=True, version=version)
        singles = [Reader(self.edge, [one], is_set=False, version="1.1") for one in names]
        self.readers = [self.set, *singles]

    # What happens to an execution.

    async def happen(self, truth: Truth, fates: Sequence[str], event_type: str) -> None:
        messages = []
        for fate in fates:
            event_id = await append(self.edge.redis, truth.name, event_type, prefix="elsewhere:")
            message = with_id(payload(event_type), event_id)
            messages += [message] * {"arrives": 1, "is lost": 0, "comes twice": 2}[fate]
        async with self.edge.redis.pipeline(transaction=False) as pipeline:
            for message in messages:
                pipeline.publish(f"execution:{truth.name}", message)
            await pipeline.execute()
        await self.edge.processed()
        kept = await ids(self.edge.redis, truth.name)
        truth.era += [one for one in kept if one not in truth.era]

    @rule(which=WHICH, fates=FATES)
    def events(self, which: int, fates: list[str]) -> None:
        truth = self.truths[which]
        if not truth.over:
            self.do(self.happen(truth, fates, "step:started"))

    @rule(which=WHICH, fate=st.sampled_from(["arrives", "is lost"]))
    def the_end(self, which: int, fate: str) -> None:
        truth = self.truths[which]
        if not truth.over:
            self.do(self.happen(truth, [fate], "execution:completed"))
            truth.over = True

    @rule(which=WHICH, other=WHICH, fates=FATES)
    def one_is_lost_while_another_one_goes_on(
        self, which: int, other: int, fates: list[str]
    ) -> None:
        """The set is not silent, and yet what was lost must be found."""
        silent, loud = self.truths[which], self.truths[other]
        if silent.over or loud.over or silent is loud:
            return
        self.do(self.happen(silent, ["is lost"], "step:started"))
        self.do(self.happen(loud, fates, "step:started"))
        self.all_settles()

    # What happens to Redis.

    @rule(which=WHICH)
    def history_is_flushed(self, which: int) -> None:
        truth = self.truths[which]
        if truth.over or not truth.era:
            return
        key = f"sse:{{{truth.name}}}:"
        self.do(self.edge.redis.delete(key + "events", key + "meta"))
        truth.era, truth.trimmed = [], set()

    @rule(which=WHICH, data=st.data())
    def history_is_trimmed(self, which: int, data: st.DataObject) -> None:
        truth = self.truths[which]
        if truth.over or len(truth.era) < 2:
            return
        first = data.draw(st.integers(1, len(truth.era) - 1))
        key = f"sse:{{{truth.name}}}:events"
        self.do(self.edge.redis.xtrim(key, minid=truth.era[first], approximate=False))
        truth.trimmed.update(truth.era[:first])

    @rule(is_another=st.booleans())
    def subscription_is_cut(self, is_another: bool) -> None:
        """*is_another*: Redis has restarted, and the next events begin another epoch."""

        async def cut() -> None:
            if is_another:
                await self.edge.redis.execute_command("DEBUG", "CHANGE-REPL-ID")
            before = self.edge.components.metrics.feed_connections
            await self.edge.redis.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")
            await eventually(lambda: self.edge.components.metrics.feed_connections > before)

        self.do(cut())

    # What readers do.

    @rule(which=st.integers(0, COUNT), room=st.one_of(st.just(ENDLESS), ROOM))
    def a_reader_comes_back(self, which: int, room: int) -> None:
        self.do(self._come_back(self.readers[which], room))

    async def _come_back(self, reader: Reader, room: int = ENDLESS) -> None:
        await reader.go()
        await reader.come(room)

    @rule(room=ROOM)
    def the_set_stops_reading(self, room: int) -> None:
        if self.set.tab is not None:
            self.set.tab.wire.room = room

    @rule(room=ROOM, batches=st.lists(st.tuples(WHICH, FATES), min_size=2, max_size=5))
    def the_set_does_not_read_for_a_while(
        self, room: int, batches: list[tuple[int, list[str]]]
    ) -> None:
        """More comes than its queue holds."""
        self.the_set_stops_reading(room)
        for which, fates in batches:
            self.events(which, fates)

    @precondition(lambda self: hasattr(self, "set"))
    @rule(data=st.data())
    def the_set_asks_for_others(self, data: st.DataObject) -> None:
        """What it leaves out it may ask for later; from its beginning, as a new one."""
        names = [one.name for one in self.truths]
        chosen = data.draw(st.lists(st.sampled_from(names), min_size=1, unique=True))

        async def change() -> None:
            await self.set.go()
            self.set.names = chosen
            await self.set.come()

        self.do(change())

    # What must be true.

    @rule()
    def all_settles(self) -> None:
        self.do(self.settle())

    async def settle(self) -> None:
        """Each reader has all of each of its executions, once; it comes back where it was closed,
        or has lost some."""
        problem: list[str] = []

        async def complete() -> bool:
            problem.clear()
            for reader in self.readers:
                if reader.tab is not None:
                    reader.tab.wire.read_on()
                if reader.status != 204 and (reader.tab is None or reader.is_closed or reader.lost):
                    reader.look()
                    if not self._all_over(reader) or reader.tab is None:
                        await self._come_back(reader)
                if text := self._lacks(reader):
                    problem.append(text)
            return not problem

        try:
            await eventually(complete, 5)
        except AssertionError:
            raise AssertionError("\n".join(problem)) from None
        for truth, single in zip(self.truths, self.readers[1:], strict=True):
            if truth.name in self.set.names and not truth.trimmed and truth.era:
                assert self.set.views[truth.name] == single.views[truth.name]

    def _all_over(self, reader: Reader) -> bool:
        return all(one.over for one in self.truths if one.name in reader.names)

    def _lacks(self, reader: Reader) -> str:
        reader.look()
        for truth in self.truths:
            if truth.name not in reader.names or not truth.era:
                continue
            view = reader.views[truth.name]
            missing = [one for one in truth.era if one not in view]
            kept = next((one for one in truth.era if one not in truth.trimmed), "")
            told = truth.name in reader.told or kept.endswith("-1")
            if [one for one in missing if not told or one not in truth.trimmed]:
                return f"{reader.names}: {truth.name} lacks {missing}, has {view}"
            if [one for one in view if one in truth.era] != [
                one for one in truth.era if one not in missing
            ]:
                return f"{truth.name} was seen as {view}, and is {truth.era}"
            if truth.over and truth.name not in reader.ended:
                return f"the end of {truth.name} was not told"
        return ""

    @invariant()
    def nothing_twice_and_in_order(self) -> None:
        if not hasattr(self, "readers"):
            return
        for reader in self.readers:
            reader.look()
            for truth in self.truths:
                view = reader.views[truth.name]
                places = [truth.era.index(one) for one in view if one in truth.era]
                assert places == sorted(set(places)), f"{truth.name}: {view}"

    @invariant()
    def everything_runs_and_no_more_waits_than_for_one_stream(self) -> None:
        if hasattr(self, "edge"):
            assert not self.edge.components.supervisor.failures
            waiting = [one.snapshot(0).queue_events for one in self.edge.components.hub]
            assert max(waiting, default=0) <= QUEUE_EVENTS

    def teardown(self) -> None:
        try:
            if hasattr(self, "edge"):
                try:
                    self.all_settles()
                finally:
                    self.do(self.edge.stop())
        finally:
            self.loop.close()


@pytest.mark.timeout(300)
def test_model(redis_process: Callable[..., RedisProcess], monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever happens in whatever order, a set shows of each execution what its own stream shows,
    once and in order, and its end; from any cursor."""
    monkeypatch.setattr(questions, "INTERVAL", 0.02)
    # One alone, so that what it has missed is found by the silence of a part.
    monkeypatch.setattr(auditor, "SWEEPS", (0.0,))
    monkeypatch.setattr(subscription, "_PAUSES", (0.005, 0.005))
    url = redis_process("--enable-debug-command", "yes").url

    class Here(SetModel):
        def __init__(self) -> None:
            super().__init__(url)

    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=EXAMPLES,
            stateful_step_count=25,
            deadline=None,
            phases=list(Phase)
            if "MODEL_SHRINK" in os.environ
            else [Phase.explicit, Phase.generate],
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
        ),
    )
