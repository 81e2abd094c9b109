"""The index of each organization's executions, for lists: the arguments of its scripts, and what
they answer.

It is written beside histories, never together with them, and best effort: it only says which
executions to look at, newest activity first. Nobody is shown anything because of it alone.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple, cast

from gateway.contract.keys import list_about_key, list_channel, list_order_key
from gateway.contract.registration import Registration
from gateway.contract.scripts import Call, HistoryLimits, Script
from gateway.events.ids import EventId, parse_id

INDEX = Script("index_keys.lua", "index.lua")
INDEX_READ = Script("index_keys.lua", "index_read.lua")

Kind = Literal["registered", "active", "now", "is", "gone"]
"""What has happened: see `index.lua`."""

Sweep = Literal["none", "stale", "all"]
"""What one gateway is to look up for all: see `index_read.lua`."""

AT_ONCE = 200
"""Most notes in one call."""

_ENTRY = re.compile(r"(\d{1,15}) (\d{1,15}-\d{1,15}) ([a-z]{1,20}) (.*)", re.DOTALL)


class Note(NamedTuple):
    """What has become of one execution; empty for what is not known."""

    kind: Kind
    execution_id: str
    event_id: str = ""
    status: str = ""
    workflow_id: str = ""
    age_ms: int = 0
    """How long ago that was."""


class Entry(NamedTuple):
    """An execution as the index has it."""

    active_at: int
    """When its place moved last, in milliseconds since 1970 by the clock of Redis."""
    event_id: EventId | None
    """The last event that was noted."""
    status: str
    workflow_id: str


def index_call(
    organization_id: str,
    notes: Iterable[Note],
    *,
    limits: HistoryLimits,
    channel_prefix: str = "",
    most: int = 0,
) -> Call:
    """Write *notes*, at most `AT_ONCE`; the answer has one entry each, for `read_entry`.

    *limits* say how long executions are kept. *channel_prefix*: changes that are no events are
    announced to the gateways there. *most*: executions of one organization; 0 as they have it.
    """
    channel = list_channel(channel_prefix, organization_id) if channel_prefix else ""
    arguments: list[bytes | str | int] = [most, kept_ms(limits), channel]
    for note in notes:
        arguments += note
    return Call(INDEX, _keys(organization_id), arguments)


def registered_call(
    registration: Registration, limits: HistoryLimits, channel_prefix: str = "execution:"
) -> Call:
    """Note a registration that was accepted; to be called after `Registration.call`, best effort:
    without the right to it, lists show the execution with its first event."""
    note = Note("registered", registration.execution_id, workflow_id=registration.workflow_id or "")
    return index_call(
        registration.organization_id, [note], limits=limits, channel_prefix=channel_prefix
    )


def kept_ms(limits: HistoryLimits) -> int:
    """How long an execution without activity is listed at most, in milliseconds."""
    open_ttl, _, meta_ttl = limits.ttls()
    return max(int(open_ttl), int(meta_ttl))


def read_call(
    organization_id: str, since_ms: int, offset: int, count: int, heard_since_ms: int = 0
) -> Call:
    """Read *count* executions after the first *offset*, of those active since then.
    *heard_since_ms*: since when the caller hears all events, by the clock of Redis; 0 if it does
    not."""
    return Call(INDEX_READ, _keys(organization_id), [since_ms, offset, count, heard_since_ms])


class IndexPage(NamedTuple):
    """What `read_call` answers."""

    at: int
    """The time of Redis, in milliseconds since 1970."""
    version: str
    total: int
    """All that are listed."""
    sweep: Sweep
    entries: dict[str, Entry]


def read_page(answer: Sequence[bytes | int]) -> IndexPage:
    """The answer to `read_call`; what makes no sense is left out.

    Raises:
        ValueError: it is no answer of the script.
    """
    at, version, total, sweep, *rest = answer
    entries = {}
    for execution_id, text in zip(rest[::2], rest[1::2], strict=True):
        if (entry := read_entry(text)) is not None:
            entries[_text(execution_id)] = entry
    return IndexPage(int(at), _text(version), int(total), cast(Sweep, _text(sweep)), entries)


def read_entry(answer: bytes | int) -> Entry | None:
    """One entry of an answer; None: it is not listed, or makes no sense."""
    found = _ENTRY.fullmatch(_text(answer))
    if found is None:
        return None
    event_id = parse_id(found[2])
    known = event_id if event_id is not None and event_id.epoch else None
    return Entry(int(found[1]), known, found[3], found[4])


def _keys(organization_id: str) -> list[str]:
    return [list_order_key(organization_id), list_about_key(organization_id)]


def _text(value: bytes | int) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)
