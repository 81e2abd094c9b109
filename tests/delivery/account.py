"""The reckoning at the end: what was promised, what Redis keeps, and what readers saw, compared."""

import re
from collections import Counter
from collections.abc import Iterable, Sequence

import orjson
from redis.asyncio import Redis

from gateway.contract.keys import events_key
from gateway.events.ids import parse_id
from tests.delivery.journal import TERMINAL_TYPES, Entry, on_one_line
from tests.delivery.producers import Producer

_SHOWN = 5
"""Entries that a complaint shows."""

_ANOTHER_ID = re.compile(rb'^\{"source_id":"\d+-\d+",')
"""How an event begins that a former master had accepted, and that a gateway has recorded again.
A producer that had no answer repeats the event at the new master, which then has both."""


async def read_history(redis: Redis, execution_id: str) -> list[Entry]:
    """All that Redis keeps of an execution."""
    kept: list[tuple[bytes, dict[bytes, bytes]]] = await redis.execute_command(
        "XRANGE", events_key(execution_id), "-", "+"
    )
    entries = []
    for given, fields in kept:
        event_id = parse_id(given.decode())
        assert event_id is not None, given
        entries.append(Entry(event_id, on_one_line(fields[b"event"])))
    return entries


def check_promises(history: Sequence[Entry], producers: Sequence[Producer]) -> None:
    """All that was promised is kept, nothing is kept twice or without having been announced, except
    what a former master had accepted."""
    check_kept(history, producers)
    possible, unsure = Counter[bytes](), Counter[bytes]()
    for producer in producers:
        possible.update(producer.possible)
        unsure.update(producer.unsure)
    kept, moved = Counter[bytes](), Counter[bytes]()
    for entry in history:
        as_announced = _ANOTHER_ID.sub(b"{", entry.payload)
        (kept if as_announced == entry.payload else moved)[as_announced] += 1
    doubled = (kept - possible) + (moved - unsure)
    assert not doubled, f"{doubled.total()} too many in history: {_some(doubled)}"


def check_kept(history: Sequence[Entry], producers: Iterable[Producer]) -> None:
    """All that was promised is kept."""
    kept = Counter(entry.payload for entry in history)
    promised: Counter[bytes] = Counter()
    for producer in producers:
        promised.update(producer.promised)
    lost = promised - kept
    assert not lost, f"{lost.total()} of {promised.total()} not in history: {_some(lost)}"


def check_order(history: Sequence[Entry], producer: Producer) -> None:
    """What *producer* was promised is kept in the order in which it was announced."""
    promised = set(producer.promised)
    kept = [entry.payload for entry in history if entry.payload in promised]
    assert kept == producer.promised, f"{producer.name}'s events are not in order in history"


def check_view(history: Sequence[Entry], view: Sequence[Entry]) -> None:
    """A reader saw all of *history* to the end of the execution, and nothing else."""
    expected = to_the_end(history)
    for index, (seen, kept) in enumerate(zip(view, expected, strict=False)):
        assert seen == kept, f"event {index} is {seen} for the reader and {kept} in history"
    assert len(view) == len(expected), (
        f"the reader saw {len(view)} of {len(expected)} events, the last was {view[-1:]}"
    )


def to_the_end(history: Sequence[Entry]) -> Sequence[Entry]:
    """*history* without what came after the terminal event: no stream shows that."""
    for index, entry in enumerate(history):
        if orjson.loads(entry.payload)["type"] in TERMINAL_TYPES:
            return history[: index + 1]
    raise AssertionError("history has no terminal event")


def _some(events: Counter[bytes]) -> list[bytes]:
    return [event[:150] for event in list(events)[:_SHOWN]]
