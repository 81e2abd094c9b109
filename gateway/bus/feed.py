"""From messages to subscribers: takes message batches, and hands event batches to the hub.

A message that is no event is counted, logged and dropped here; it never reaches a stream and never
ends the feed. A bare message is recorded before it is delivered. Nothing here awaits a reader.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial

from gateway.bus.canary import Canary
from gateway.bus.drops import Drops
from gateway.bus.epochs import Epochs
from gateway.bus.inbox import MessageBatch, SubscriptionSession
from gateway.bus.lag import LagSampler
from gateway.bus.lanes import Lanes
from gateway.bus.recorder import Recorder
from gateway.bus.recording import FORGOTTEN, Given
from gateway.bus.shards import AnySubscription
from gateway.contract.keys import CANARY_MARK, LIST_MARK, execution_of_live, live_channel
from gateway.errors import MessageRefused
from gateway.events.batch import event_batches
from gateway.events.envelope import (
    EXECUTION_ID,
    Envelope,
    Event,
    EventRules,
    as_bare,
    decode,
    live,
    recorded,
    untimed,
    with_timestamp,
)
from gateway.fanout.hub import Hub
from gateway.metrics import Metrics

_FORGOTTEN = b'{"type":"stream:forgotten"}'
"""What `forget.lua` publishes."""


@dataclass(eq=False)
class Feed:
    """Delivers what the subscription brings; `run` is its one task."""

    _subscription: AnySubscription
    _hub: Hub
    _canary: Canary
    _metrics: Metrics
    _prefix: str
    _rules: EventRules
    _epochs: Epochs
    _drops: Drops
    _recorder: Recorder | None = None
    """Without it bare messages are delivered live alone."""
    _note_events: Callable[[str, int], None] | None = None
    """Called with the execution and the number of events that arrived for it."""
    _hears_bare: bool = True
    """Otherwise all that comes is in history: what has no id from there is dropped."""

    def __post_init__(self) -> None:
        self._lag = LagSampler(self._metrics.feed_lag)
        self._busy_since: float | None = None
        self.lanes: Lanes | None = None
        """On a cluster: in which the executions of each node are delivered."""
        self.on_forgotten: Callable[[str], None] | None = None
        """Called with an execution of which somebody says that it was forgotten."""
        self.on_list_changed: Callable[[str], None] = lambda _: None
        """Called with the digest of an organization whose list has changed otherwise than by an
        event."""
        self.note_for_lists: (
            Callable[[str, Sequence[Envelope], Sequence[Given | None] | None], None] | None
        ) = None
        """Called with an execution, what arrived for it, and the ids of what was bare."""
        self.on_heard: Callable[[str, Sequence[Envelope]], None] | None = None
        """Called with an execution and what arrived for it; `sse-gateway dev` lists them."""

    @property
    def busy_for(self) -> float:
        """Seconds since the batch under way was taken, or since Redis was last away meanwhile; 0
        while it waits for one."""
        since = self._busy_since
        if since is None:
            return 0.0
        since = max(since, self._epochs.found_away_at)
        if self._recorder is not None:
            since = max(since, self._recorder.found_away_at)
        return asyncio.get_running_loop().time() - since

    async def run(self) -> None:
        """Deliver batch after batch."""
        loop = asyncio.get_running_loop()
        try:
            while True:
                batch = await self._subscription.inbox.batch()
                self._busy_since = loop.time()
                await self._deliver(batch)
                self._busy_since = None
        finally:
            if self.lanes is not None:
                await self.lanes.stop()

    async def _deliver(self, batch: MessageBatch) -> None:
        arrived = self._read_all(batch)
        if self.lanes is None:
            await self._deliver_part(batch.session, arrived)
        else:
            await self.lanes.run(arrived, partial(self._deliver_part, batch.session))

    async def _deliver_part(
        self, session: SubscriptionSession, arrived: dict[str, list[Envelope]]
    ) -> None:
        """From *arrived* is removed what was handed on: see `Lanes`."""
        await self._find_own_ids(arrived)
        bare: dict[str, list[Envelope]] = {}
        for execution_id, envelopes in list(arrived.items()):
            without = [one for one in envelopes if one.id is None]
            if without and not self._hears_bare:
                self._drop_bare(execution_id, len(without))
                if some := [one for one in envelopes if one.id is not None]:
                    self._hand_on(execution_id, some, None)
                del arrived[execution_id]
            elif without and self._recorder is not None:
                bare[execution_id] = without
            else:
                self._hand_on(execution_id, arrived.pop(execution_id), None)
        if bare and self._recorder is not None:
            # An execution that cannot be recorded keeps no other one waiting.
            async for recorded in self._recorder.record(session, bare):
                for execution_id, ids in recorded.items():
                    self._hand_on(execution_id, arrived.pop(execution_id), ids)

    def _drop_bare(self, execution_id: str, messages: int) -> None:
        name = live_channel(execution_id).encode()
        for _ in range(messages):
            self._drops.dropped(name, execution_id, "it has no id of its execution's history")

    def _hand_on(
        self, execution_id: str, envelopes: Sequence[Envelope], ids: list[Given | None] | None
    ) -> None:
        """Events of one execution go to the hub; *ids* are those of the bare ones among them."""
        self._metrics.events_received += len(envelopes)
        if self._note_events is not None:
            self._note_events(execution_id, len(envelopes))
        if self.on_heard is not None:
            self.on_heard(execution_id, envelopes)
        if self.note_for_lists is not None:
            self.note_for_lists(execution_id, envelopes, ids)
        if ids is not None:
            self._epochs.recorded(execution_id, (one and one.id for one in ids))
        if not self._hub.watches(execution_id):
            return
        recorded = {one.id for one in ids or () if one is not None}
        for batch in event_batches(in_order(envelopes, ids), self._rules.terminal_types):
            is_known = batch.first in recorded or self._epochs.begins(execution_id, batch.first)
            self._hub.publish(execution_id, batch, is_first_known=is_known)
        self._lag.delivered(envelopes[-1])

    def _read_all(self, batch: MessageBatch) -> dict[str, list[Envelope]]:
        """The events of *batch* by execution; whatever is none is dropped here."""
        arrived: dict[str, list[Envelope]] = {}
        for channel, payload in batch.messages:
            execution_id = None
            try:
                execution_id = execution_of(channel, self._prefix)
                if execution_id is None:
                    self._own_message(channel, payload)
                    continue
                if payload == _FORGOTTEN:
                    self._hub.start_over(execution_id)
                    if self.on_forgotten is not None:
                        self.on_forgotten(execution_id)
                    continue
                envelope = decode(payload, self._rules.max_bytes)
            except MessageRefused as refusal:
                self._drops.dropped(channel, execution_id, str(refusal))
            else:
                if envelope.edit is not None:
                    self._drops.edited(execution_id, envelope.edit)
                arrived.setdefault(execution_id, []).append(envelope)
        return arrived

    def _own_message(self, channel: bytes, payload: bytes) -> None:
        name = own_name(channel, self._prefix)
        if name.startswith(LIST_MARK):
            self.on_list_changed(name.removeprefix(LIST_MARK))
        else:
            self._canary.returned(name.rpartition(CANARY_MARK)[2], payload)

    async def _find_own_ids(self, arrived: dict[str, list[Envelope]]) -> None:
        """Of what has *arrived*, ids that no history gave make bare messages."""
        ask = self._epochs.must_ask
        asked = [one for one, envelopes in arrived.items() if ask(one, envelopes)]
        unread = await self._epochs.look(asked) if asked else ()
        for execution_id in asked:
            if execution_id not in unread:
                some = arrived[execution_id]
                if self.lanes is not None:
                    some = self._without_superseded(execution_id, some)
                arrived[execution_id] = [self._own(execution_id, one) for one in some]
                if not arrived[execution_id]:
                    del arrived[execution_id]

    def _without_superseded(
        self, execution_id: str, envelopes: Sequence[Envelope]
    ) -> list[Envelope]:
        """On a cluster a primary that hung, and was replaced, runs what it was sent before it knows
        that. Its messages reach everybody, and its publishers have tried again."""
        kept = [
            one
            for one in envelopes
            if one.id is None or not self._epochs.is_superseded(execution_id, one.id)
        ]
        if superseded := len(envelopes) - len(kept):
            self._metrics.events_dropped["superseded"] += superseded
        return kept

    def _own(self, execution_id: str, envelope: Envelope) -> Envelope:
        """*envelope*; a bare one if its id is the producer's own."""
        while envelope.id is not None and not self._epochs.is_ours(execution_id, envelope.id):
            envelope = as_bare(envelope, self._rules.max_bytes)
            if envelope.edit is not None and envelope.edit.kind == "renumbered":
                self._drops.edited(execution_id, envelope.edit)
        return envelope


def own_name(channel: bytes, prefix: str) -> str:
    """*channel* without what is the same for all of its kind."""
    return execution_of_live(channel) or channel.decode("utf-8", "replace").removeprefix(prefix)


# Most messages come on a channel that others came on before.
@lru_cache(maxsize=20_000)
def execution_of(channel: bytes, prefix: str) -> str | None:
    """The execution that *channel* is of; None for a canary's, and for that of a list.

    Raises:
        MessageRefused: it names none.
    """
    name = own_name(channel, prefix)
    if name.startswith((CANARY_MARK, LIST_MARK)):
        return None
    if not EXECUTION_ID.fullmatch(name):
        raise MessageRefused("its channel names no execution id")
    return name


def in_order(envelopes: Iterable[Envelope], ids: list[Given | None] | None) -> list[Event]:
    """The events of *envelopes*; *ids* are those of the bare ones among them, in order.

    Between a bare producer and a `Publisher` of one execution no order is promised on the channel,
    but ids give one: within an epoch they are put into it, or every mixture would look like a hole.
    """
    if ids is None:
        return [live(envelope) for envelope in envelopes]
    given = iter(ids)
    events = []
    for envelope in envelopes:
        if envelope.id is not None or (one := next(given)) is None:
            events.append(live(envelope))
        elif one != FORGOTTEN:
            events.append(recorded(envelope.type, _body(envelope, one), one.id))
    epochs = {
        event.id.epoch: place for place, event in reversed(list(enumerate(events))) if event.id
    }
    # An event without id stays behind the one that it came after.
    last = (-1, -1)
    keyed = []
    for event in events:
        last = (epochs[event.id.epoch], event.id.seq) if event.id is not None else last
        keyed.append((last, event))
    return [event for _, event in sorted(keyed, key=lambda pair: pair[0])]


def _body(envelope: Envelope, given: Given) -> bytes:
    """What history has of a recorded message."""
    if not given.timestamp or (body := untimed(envelope.body)) is None:
        return envelope.body
    return with_timestamp(body, given.timestamp)
