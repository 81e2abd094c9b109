"""Activity of executions that is not noted in the index yet; see `gateway.bus.index`.

No I/O, and no more than a few look-ups for each batch of events.
"""

from collections import OrderedDict, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from gateway.bus.recording import Given
from gateway.contract.index import AT_ONCE, Entry, Kind, Note
from gateway.contract.keys import PROBE_PREFIX, RECORDING_PROBE_PREFIX
from gateway.events.ending import TerminalTypes, status_of
from gateway.events.envelope import Envelope
from gateway.events.ids import EventId

_MOST = 20_000
"""Executions of which it is remembered whose they are, or that nobody knows."""

_EVERY = 1.0
"""Seconds between two notes of one execution."""

_UNKNOWN_SECONDS = 10.0
_KNOWN_SECONDS = 60.0
"""For how long an execution counts as nobody's, and as an organization's, until that is asked
again."""

_MOST_NOTES = 2000
"""That are taken at a time."""

_STATUSES = {"execution:paused": "paused", "execution:resumed": "running"}


class Known:
    """What is known of one execution, and what is still to be noted."""

    __slots__ = (
        "active_at", "asked_at", "event_id", "is_urgent", "noted_at", "organization_id", "status",
        "workflow_id",
    )  # fmt: skip

    def __init__(self) -> None:
        self.organization_id: str | None = None
        self.active_at = self.asked_at = self.noted_at = float("-inf")
        """Loop times: when its last event came, when its organization was asked for, and when it
        was last noted."""
        self.workflow_id = ""
        self.event_id: EventId | None = None
        self.status = ""
        """Since it was last noted; empty where events do not say."""
        self.is_urgent = False


class Activity:
    """The executions that were active lately, and what is to be noted of them."""

    def __init__(self, terminal_types: TerminalTypes) -> None:
        self._terminal_types = terminal_types
        self._known: OrderedDict[str, Known] = OrderedDict()
        self._due: dict[str, Known] = {}

    def __bool__(self) -> bool:
        """Whether anything is to be noted, now or in a second."""
        return bool(self._due)

    def __contains__(self, execution_id: str) -> bool:
        """Whether something is to be noted of it."""
        return execution_id in self._due

    @property
    def is_urgent(self) -> bool:
        """Whether something is to be noted at once."""
        return any(one.is_urgent for one in self._due.values())

    def note(
        self,
        execution_id: str,
        envelopes: Sequence[Envelope],
        ids: Sequence[Given | None] | None,
        now: float,
    ) -> bool:
        """These have arrived for an execution; *ids* are those of the bare ones. Returns whether
        that is to be noted at once."""
        known = self._known.get(execution_id)
        if known is None:
            if execution_id.startswith((PROBE_PREFIX, RECORDING_PROBE_PREFIX)):
                return False
            known = self._known[execution_id] = Known()
            if len(self._known) > _MOST:
                self._due.pop(self._known.popitem(last=False)[0], None)
        self._known.move_to_end(execution_id)
        if ids is not None:
            last = next((one.id for one in reversed(ids) if one is not None), None)
        else:
            last = envelopes[-1].id
        for envelope in envelopes:
            self._note_event(known, envelope)
        if last is not None and last.seq <= len(envelopes):
            # It has begun.
            known.is_urgent = True
        known.event_id, known.active_at = last, now
        self._due[execution_id] = known
        return known.is_urgent

    def _note_event(self, known: Known, envelope: Envelope) -> None:
        kind = envelope.type
        if kind in self._terminal_types:
            known.status = status_of(kind, envelope.body, self._terminal_types)
            known.is_urgent = True
        elif (status := _STATUSES.get(kind)) is not None:
            known.status, known.is_urgent = status, True
        elif known.status == "paused" and kind.startswith("step:"):
            known.status = "running"

    def unknown(self, now: float, most: int) -> list[str]:
        """Executions that are due, and of which nobody knows for certain whose they are."""
        asked = self._asked(now)
        return [one for one, _ in zip(asked, range(most), strict=False)]

    def _asked(self, now: float) -> Iterator[str]:
        for execution_id, known in self._due.items():
            kept = _UNKNOWN_SECONDS if known.organization_id is None else _KNOWN_SECONDS
            if now - known.asked_at >= kept:
                yield execution_id

    def learned(
        self, execution_id: str, owner: str | None, workflow_id: str | None, now: float
    ) -> None:
        """Whose it is, if anybody's."""
        if (known := self._due.get(execution_id)) is not None:
            known.asked_at = now
            known.organization_id, known.workflow_id = owner, workflow_id or ""

    def collect(self, now: float) -> tuple[dict[str, list[Note]], bool]:
        """What is to be noted now, by organization, and whether there is more."""
        due: defaultdict[str, list[Note]] = defaultdict(list)
        taken, is_more = 0, False
        for execution_id, known in list(self._due.items()):
            if known.organization_id is None:
                # Nobody's, for the moment.
                if now - known.asked_at < _UNKNOWN_SECONDS:
                    known.is_urgent = False
                    del self._due[execution_id]
            elif known.is_urgent or now - known.noted_at >= _EVERY:
                notes = due[known.organization_id]
                if len(notes) >= AT_ONCE or taken >= _MOST_NOTES:
                    is_more = True
                    continue
                notes.append(_take(execution_id, known, now))
                taken += 1
                del self._due[execution_id]
        return {one: notes for one, notes in due.items() if notes}, is_more

    def again(self, notes: Iterable[Note]) -> None:
        """These could not be noted."""
        for note in notes:
            if (known := self._known.get(note.execution_id)) and note.kind in ("now", "active"):
                known.is_urgent = known.is_urgent or note.kind == "now"
                known.status = known.status or note.status
                self._due.setdefault(note.execution_id, known)

    def noted(self, note: Note, entry: Entry) -> None:
        """*note* was taken, and *entry* is what is listed now."""
        if note.kind == "active" and note.event_id and str(entry.event_id) != note.event_id:
            # Within a second of another gateway's note, or behind it.
            known = self._known.get(note.execution_id)
            if known is not None and entry.event_id and _is_ahead(known.event_id, entry.event_id):
                known.status = known.status or note.status
                self._due.setdefault(note.execution_id, known)


def _take(execution_id: str, known: Known, now: float) -> Note:
    kind: Kind = "now" if known.is_urgent else "active"
    event_id = str(known.event_id) if known.event_id is not None else ""
    age_ms = int((now - known.active_at) * 1000)
    note = Note(kind, execution_id, event_id, known.status, known.workflow_id, age_ms)
    known.noted_at, known.status = now, ""
    known.is_urgent = False
    return note


def _is_ahead(one: EventId | None, other: EventId) -> bool:
    """Whether *one* comes after *other*: epochs of one execution grow."""
    return one is not None and (one.epoch, one.seq) > (other.epoch, other.seq)
