"""The harness complains of whatever a reader must not see: a check that lets all pass proves
nothing."""

import random

import pytest
from redis.asyncio import Redis

from gateway.events.ids import EventId
from tests.delivery.account import check_order, check_promises, check_view
from tests.delivery.journal import Allowed, Entry, Journal, Names
from tests.delivery.producers import BareProducer, Producer
from tests.harness.sse import Seen

CONNECTED = Seen("connected", '{"execution_id":"run"}', retry=1000)
HEARTBEAT = Seen("heartbeat", '{"timestamp":"2026-01-31T12:00:00.000Z"}')
CLOSING = Seen("stream:closing", '{"reason":"drain","retry_ms":1000}')
GAP = Seen("stream:gap", '{"from":"1-1","to":"1-2","missed":2}')
RESET = Seen("stream:reset", '{"reason":"history_lost"}')


def event(seq: int, epoch: int = 1, kind: str = "step:started", number: int = 0) -> Seen:
    event_id = f"{epoch}-{seq}"
    data = f'{{"id":"{event_id}","type":"{kind}","data":{{"number":{number or seq}}}}}'
    return Seen(kind, data, id=event_id)


def end(seq: int) -> Seen:
    return event(seq, kind="execution:completed")


def journal(allowed: Allowed | None = None) -> Journal:
    return Journal("run", Names(), allowed or Allowed())


def take_all(reader: Journal, stream: list[Seen]) -> None:
    for seen in stream:
        reader.take(seen)


def test_what_a_reader_should_see() -> None:
    """A stream without fault is accepted, over two connections and a new life."""
    seen = journal(Allowed(closings=frozenset({"drain"})))
    seen.connecting()
    take_all(seen, [CONNECTED, event(1), HEARTBEAT, event(2), CLOSING])
    seen.disconnected(clean=True)
    seen.connecting()
    failed = event(2, epoch=9, kind="execution:failed")
    take_all(seen, [CONNECTED, event(3), event(1, epoch=9), failed])
    seen.disconnected(clean=True)
    seen.refused(204)
    assert [str(entry.id) for entry in seen.view] == ["1-1", "1-2", "1-3", "9-1", "9-2"]


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param([event(1), event(3)], id="an event lost"),
        pytest.param([event(2)], id="the first event lost"),
        pytest.param([event(1), event(1)], id="an event twice"),
        pytest.param([event(1), event(2), event(1)], id="an event late"),
        pytest.param([event(1), event(2, epoch=9)], id="the beginning of a life lost"),
        pytest.param([event(1), Seen("step:started", '{"type":"step:started"}')], id="no id"),
        pytest.param([Seen("step:started", event(2).data, id="1-1")], id="another id inside"),
        pytest.param([Seen("step:failed", event(1).data, id="1-1")], id="another type inside"),
        pytest.param([event(1), end(2), event(3)], id="an event after the end"),
        pytest.param([event(1), GAP], id="a gap"),
        pytest.param([event(1), RESET], id="a reset"),
        pytest.param([CLOSING], id="a closing"),
        pytest.param([event(1), CONNECTED], id="connected twice"),
        pytest.param([Seen("heartbeat", HEARTBEAT.data, id="1-1")], id="a heartbeat with an id"),
    ],
)
def test_what_no_reader_may_see(stream: list[Seen]) -> None:
    """Each fault of a stream is complained of."""
    seen = journal()
    seen.connecting()
    seen.take(CONNECTED)
    with pytest.raises(AssertionError):
        take_all(seen, stream)


def test_closing_is_the_last_word() -> None:
    """Nothing may follow it."""
    seen = journal(Allowed(closings=frozenset({"drain"})))
    seen.connecting()
    seen.take(CONNECTED)
    seen.take(CLOSING)
    with pytest.raises(AssertionError, match="after stream:closing"):
        seen.take(event(1))


def test_how_a_connection_may_not_end() -> None:
    """Not by a cut, not cleanly without a reason, not with an error, and not with 204 too early;
    and after the end there is no other stream."""
    seen = journal()
    seen.connecting()
    seen.take(CONNECTED)
    for clean in (True, False):
        with pytest.raises(AssertionError):
            seen.disconnected(clean)
    for status in (204, 404, 503):
        with pytest.raises(AssertionError):
            seen.refused(status)
    seen.take(end(1))
    seen.refused(204)
    seen.connecting()
    with pytest.raises(AssertionError):
        seen.take(CONNECTED)


def test_one_id_for_two_events() -> None:
    """Two readers that know different events by one id are found."""
    names = Names()
    for execution_id, number in (("run", 1), ("run", 1), ("other", 2)):
        reader = Journal(execution_id, names, Allowed())
        reader.take(Seen("connected", f'{{"execution_id":"{execution_id}"}}'))
        reader.take(event(1, number=number))
    late = Journal("run", names, Allowed())
    late.take(CONNECTED)
    with pytest.raises(AssertionError, match="stands for"):
        late.take(event(1, number=2))


def entries(*payloads: bytes) -> list[Entry]:
    return [Entry(EventId(1, seq), payload) for seq, payload in enumerate(payloads, 1)]


@pytest.fixture
def producer() -> Producer:
    """One that was promised A and B, and announced C that may have been lost."""
    one = BareProducer(Redis(), "run", "one", random.Random(0))
    one.promised += [A, B]
    one.possible.update([A, B, C])
    one.unsure[C] = 1
    return one


A, B, C = (b'{"type":"step:started","data":{"number":%d}}' % number for number in (1, 2, 3))
END = b'{"type":"execution:completed"}'


def test_promises(producer: Producer) -> None:
    """What was promised is in history, in order; what was announced is there at most once, unless a
    former master had accepted it and its producer did not know."""
    moved, sure = (one.replace(b"{", b'{"source_id":"1-7",', 1) for one in (C, B))
    for kept in (entries(A, B), entries(A, C, B), entries(A, moved, B), entries(A, B, C, moved)):
        check_promises(kept, [producer])
        check_order(kept, producer)
    twice = entries(A, B, moved, moved)
    unexcused = entries(A, B, sure)
    for broken in (
        entries(A),
        entries(A, B, B),
        entries(A, B, C, C),
        twice,
        unexcused,
        entries(A, B, END),
    ):
        with pytest.raises(AssertionError):
            check_promises(broken, [producer])
    with pytest.raises(AssertionError):
        check_order(entries(B, A), producer)


def test_views() -> None:
    """A reader saw what history holds to the end, no more and no less."""
    history = entries(A, B, END, C)
    check_view(history, history[:3])
    other = [*history[:2], Entry(EventId(2, 1), END)]
    for view in (history[:2], history[1:3], history, other):
        with pytest.raises(AssertionError):
            check_view(history, view)
    with pytest.raises(AssertionError):
        check_view(history[:2], history[:2])
