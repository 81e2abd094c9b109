"""The same with a gateway that subscribes to the executions that somebody watches: channels are
given up and taken again, connections are lost while events come, and confirmations are late."""

import asyncio
import secrets
from urllib.parse import urlsplit

import pytest
from hypothesis import strategies as st
from hypothesis.stateful import initialize, precondition, rule

from gateway.bus import watched
from gateway.contract.keys import live_channel
from gateway.fanout import kept
from tests.delivery.edge import Tab
from tests.delivery.known import BARE, STEP
from tests.delivery.model import FATES, TRIGGERS, Model
from tests.harness.history import payload, record
from tests.harness.tcp_proxy import TcpProxy
from tests.support import eventually

_BEYOND = -1.0
"""Seconds that are over at once."""


class LateSubscriptions(TcpProxy):
    """Between the gateway and Redis: lets what subscribes or unsubscribes wait, and all after it on
    the same connection."""

    def __init__(self, target: int) -> None:
        super().__init__(target)
        self._pass = asyncio.Event()
        self._pass.set()
        self.waits = asyncio.Event()
        """Set once something waits."""

    async def request_passes(self, chunk: bytes) -> bool:
        if b"SUBSCRIBE" in chunk and not self._pass.is_set():
            self.waits.set()
            await self._pass.wait()
        return True

    def hold(self) -> None:
        """From now on."""
        self.waits.clear()
        self._pass.clear()

    def let_go(self) -> None:
        """And let what waits go on."""
        self._pass.set()


class WatchingModel(Model):
    """Bare messages are recorded by somebody else, and handed on with their ids."""

    recording = True

    @initialize(choice=st.booleans())
    def begin(self, choice: bool) -> None:
        self.hears_silence = choice
        self.channel = live_channel(self.execution)
        self.do(self._begin())

    async def _begin(self) -> None:
        port = urlsplit(self.url).port
        assert port is not None
        self.way = LateSubscriptions(port)
        await self.way.start()
        await self.start(
            self.way.redis_url,
            subscription="execution",
            record_bare_events="off",
            heartbeat_seconds=0.1 if self.hears_silence else 600,
        )

    async def stop(self) -> None:
        # What failed may have left it on hold.
        self.way.let_go()
        await super().stop()
        await self.way.stop()

    async def happen(self, fates: list[str], event_type: str = STEP) -> None:
        await super().happen(self._possible(fates), event_type)

    def _possible(self, fates: list[str]) -> list[str]:
        return ["arrives" if one == "is lost" and not self.hears_silence else one for one in fates]

    async def bare(self, count: int) -> list[int]:
        numbers = await self._record(count)
        await self.note()
        return numbers

    async def _record(self, count: int) -> list[int]:
        numbers = [self.numbers + n + 1 for n in range(count)]
        self.numbers += count
        await record(
            self.edge.redis,
            self.execution,
            *[payload(BARE, n=n) for n in numbers],
            instance=secrets.token_hex(4),
            live="PUBLISH",
        )
        return numbers

    # Connections.

    @precondition(lambda self: not self.over)
    @rule(fates=FATES, bare=st.integers(0, 2), settles=st.booleans())
    def the_connection_is_lost_while_events_come(
        self, fates: list[str], bare: int, settles: bool
    ) -> None:
        """*settles*: no later event shows what is missing."""

        async def lose() -> None:
            await self._lose(fates, bare)
            await self.note()

        self.do(lose())
        if settles:
            self.all_settles()

    @precondition(lambda self: not self.over)
    @rule(
        data=st.data(),
        fates=FATES,
        trigger=TRIGGERS,
        nobody_else=st.booleans(),
        settles=st.booleans(),
    )
    def the_connection_is_lost_while_somebody_reads(
        self,
        data: st.DataObject,
        fates: list[str],
        trigger: str,
        nobody_else: bool,
        settles: bool,
    ) -> None:
        """What was read before the new one was confirmed proves nothing. *nobody_else*: and there
        is no tip that could be compared."""

        async def meanwhile() -> None:
            await self._lose(fates, 0)
            await eventually(self._is_confirmed)
            await self._compared()
            await self.note()

        if trigger == "comes" and nobody_else:
            self.do(self._all_leave())
        self.while_somebody_reads(data, trigger, meanwhile)
        if settles:
            self.all_settles()

    async def _lose(self, fates: list[str], bare: int) -> None:
        """Nobody hears what comes before the next connection is confirmed."""
        self.way.hold()
        await self.edge.redis.execute_command("CLIENT", "KILL", "TYPE", "PUBSUB")
        await eventually(self.way.waits.is_set)
        await self.announce(fates)
        if bare:
            await self._record(bare)
        self.way.let_go()

    def _is_confirmed(self) -> bool:
        subscription, hub = self.edge.components.subscription, self.edge.components.hub
        return not hub.watches(self.execution) or subscription.problem_of(self.execution) is None

    async def _compared(self) -> None:
        """All that is due has been compared with history: it is in the first of two pipelines."""
        canary = self.edge.components.canary
        before = canary.published_in_all
        await eventually(lambda: canary.published_in_all >= before + 2)

    # Channels that nobody needs.

    @rule()
    def time_passes(self) -> None:
        """Only what nobody watches is given up."""
        self.do(self._give_up())

    @rule(
        data=st.data(),
        fates=FATES,
        then=st.sampled_from(
            ["somebody comes", "somebody comes, and Redis is late", "somebody is in time", "later"]
        ),
    )
    def nobody_watches_for_a_while(self, data: st.DataObject, fates: list[str], then: str) -> None:
        self.do(self._all_leave())
        if then == "later":
            self.do(self._unheard(fates))
        elif then == "somebody is in time":
            self.came(self.do(self._is_in_time(self.cursor(data))))
            if not self.over:
                self.do(self.happen(["arrives"]))
                self.all_settles()
        else:
            is_late = then == "somebody comes, and Redis is late"
            self.came(self.do(self._comes(self.cursor(data), fates, is_late=is_late)))

    async def _all_leave(self) -> None:
        # Of a broken connection the gateway knows only when it writes.
        for tab in self.tabs:
            tab.wire.leave()
            tab.left = True
        await eventually(self._is_unwatched)

    def _is_unwatched(self) -> bool:
        hub = self.edge.components.hub
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(kept, "KEPT_SECONDS", _BEYOND)
            hub.kept.tick()
        return not hub.executions

    async def _give_up(self) -> None:
        channels = self.edge.components.intake.watched
        assert channels is not None
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(watched, "UNWATCH_AFTER", _BEYOND)
            channels.tick()

    async def _unheard(self, fates: list[str]) -> None:
        await self._give_up()
        await eventually(self._is_given_up)
        await self.announce(fates)
        await self.note()

    async def _is_given_up(self) -> bool:
        [(_, subscribers)] = await self.edge.redis.pubsub_numsub(self.channel)
        return subscribers == 0

    async def _is_in_time(self, cursor: str | None) -> Tab:
        """Somebody comes before the channel is given up, so it is not."""
        tab = await self.edge.ask(self.execution, cursor)
        await self._give_up()
        return tab

    async def _comes(self, cursor: str | None, fates: list[str], *, is_late: bool) -> Tab:
        """Events come before Redis has confirmed that they are heard again."""
        if is_late:
            self.way.hold()
        await self._give_up()
        asking = asyncio.create_task(self.edge.ask(self.execution, cursor))
        if is_late:
            await eventually(self.way.waits.is_set)
        await self.announce(self._possible(fates))
        self.way.let_go()
        tab = await asking
        await self.note()
        return tab
