"""What may happen to one execution of a gateway that subscribes to all, in any order."""

import asyncio
from collections.abc import Awaitable, Callable

from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from tests.delivery.edge import Tab
from tests.delivery.known import Known, numbers_of
from tests.support import eventually
from tests.wire import ENDLESS

MOST_TABS = 6
END = "execution:completed"
FATES = st.lists(st.sampled_from(["arrives", "is lost", "comes twice"]), min_size=1, max_size=8)
TRIGGERS = st.sampled_from(["comes", "reads on", "a hole"])
"""Why somebody reads."""

ROOM = st.integers(20, 1500)
"""Bytes that a reader takes before it stops: head and first frames, or a piece of them; at least
the status, which decides whether there is a stream."""


def forged(event_id: str) -> bytes:
    """A message with an id that nobody has appended."""
    return b'{"id":"%b","type":"step:started","data":{"forged":true}}' % event_id.encode()


class Model(Known):
    """Its rules; see `Known`."""

    @initialize(choice=st.booleans())
    def begin(self, choice: bool) -> None:
        self.recording = choice
        self.do(self.start(self.url, heartbeat_seconds=0.1, record_bare_events=choice))

    # What happens to the execution.

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
        trigger=TRIGGERS,
    )
    def events_while_somebody_reads(
        self, data: st.DataObject, fates: list[str], bare: int, trigger: str
    ) -> None:
        async def meanwhile() -> None:
            await self.happen(fates)
            if bare:
                await self.bare(bare)

        self.while_somebody_reads(data, trigger, meanwhile)

    def while_somebody_reads(
        self, data: st.DataObject, trigger: str, happens: Callable[[], Awaitable[None]]
    ) -> None:
        """If nobody reads, it happens after it all the same: choices must not hang on time."""
        done = asyncio.Event()

        async def meanwhile() -> None:
            await happens()
            done.set()

        self.history.meanwhile = meanwhile
        if trigger == "comes" and len(self.staying) < MOST_TABS:
            self.a_tab_comes(data, "1.1", ENDLESS)
        elif trigger == "reads on" and self.staying:
            self.a_tab_reads_on(data)
        else:
            self.do(self.announce(["is lost", "arrives"]))
            self.do(self.note())
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
    @rule(meta_too=st.booleans(), cut=st.booleans(), noticed=st.booleans())
    def history_is_flushed(self, meta_too: bool, cut: bool, noticed: bool) -> None:
        """*noticed*: streams find out before another history begins; that takes `meta`, since an
        audit looks there."""
        keys = [f"sse:{{{self.execution}}}:events", f"sse:{{{self.execution}}}:meta"]
        self.do(self.edge.redis.delete(*keys[: 1 + meta_too]))
        self.former = self.former + self.era
        self.era, self.trimmed = [], set()
        for tab in self.staying:
            if tab.cursor or tab.view:
                self.admitted_before[tab.name] = self.edge.admitted[tab.name]
        if cut:
            self.subscription_is_cut()
        if noticed and meta_too and self.hears_silence:
            self.do(eventually(self._is_flush_noticed, 5))

    async def _is_flush_noticed(self) -> bool:
        listed = await self.edge.streams()
        reading = [one for one in self.staying if one.wire.reads and one.name in listed]
        if any(listed[one.name]["last_event_id"] for one in reading):
            return False
        # For `stream:reset` they were admitted, to nothing.
        self.admitted_before.update(
            (one.name, self.edge.admitted[one.name])
            for one in reading
            if one.name in self.admitted_before
        )
        return True

    @precondition(lambda self: not self.over and len(self.era) > 1)
    @rule(data=st.data(), comes=st.booleans())
    def history_is_trimmed(self, data: st.DataObject, comes: bool) -> None:
        """*comes*: and then a tab that lacks what is gone."""
        first = data.draw(st.integers(1, len(self.era) - 1))
        key = f"sse:{{{self.execution}}}:events"
        self.do(self.edge.redis.xtrim(key, minid=self.era[first], approximate=False))
        self.trimmed.update(self.era[:first])
        self.was_trimmed = True
        if comes and len(self.staying) < MOST_TABS:
            self.tabs.append(self.do(self.edge.ask(self.execution, None)))

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
        self.came(self.do(self.edge.ask(self.execution, self.cursor(data), version, room)))

    def cursor(self, data: st.DataObject) -> str | None:
        """With which a tab may come."""
        return data.draw(st.sampled_from([None, *self.era[-12:], *self.former[-2:]]))

    def came(self, tab: Tab) -> None:
        """Its request was answered."""
        if tab.status == 204:
            assert self.over
            assert tab.cursor == self.era[-1]
        else:
            self.tabs.append(tab)

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

    @precondition(lambda self: not self.over and not self.recording)
    @rule(count=st.integers(1, 7))
    def bare_events_when_all_is_quiet(self, count: int) -> None:
        """Without recording, all whose streams are live get each once, though no history has it."""
        self.all_settles()
        # Where history was flushed, nothing else tells that one has caught up with it.
        self.do(eventually(self.is_live, 5))
        numbers = self.do(self.bare(count))
        for tab in [one for one in self.staying if one.closing is None]:
            assert numbers_of(tab)[-count:] == numbers, f"{tab.name}: {tab.seen}"
