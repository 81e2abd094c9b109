"""The summary of one execution, folded from what a stream of it gets.

Pure. If history is not complete, the counts are those that the scripts keep (`RunMeta`), plus what
came after them.
"""

import re
from collections.abc import Mapping
from typing import NamedTuple, TypedDict

from gateway.contract.meta import RunMeta, StepEvents
from gateway.events.ending import EndingStatus, TerminalTypes
from gateway.events.ids import EventId, parse_id
from gateway.events.json_edit import parse_object
from gateway.events.run import RunFold, RunStatus

_FRAME = re.compile(rb"(?:retry: \d+\n)?(?:id: ([^\n]*)\n)?event: ([^\n]*)\ndata: ([^\n]*)")

_BASE_BYTES = 8 * 1024
_STEP_BYTES = 2 * 1024
_END_BYTES = 128
"""What a fold takes, each step that later events may belong to, and each end that is remembered."""

_MOST_BYTES = 128 * 1024
"""A fold that takes more forgets its steps, and counts as the scripts do from then on."""

_MOST_TEXT = 500
"""Characters of a text that are shown in a list."""


class Summary(TypedDict):
    """One execution in a list, without what is not in its events. Times are ISO 8601 with their
    zone, the duration in ms; None for what is not known."""

    status: RunStatus
    started_at: str | None
    completed_at: str | None
    duration_ms: int | float | None
    current_node: str | None
    steps_completed: int | None
    steps_failed: int | None
    error_message: str | None
    last_event_id: str | None


class Notice(NamedTuple):
    """One of the gateway's own frames: its type without `stream:`, and its reason if any."""

    kind: str
    reason: str


class RunSummary:
    """Folds what a stream of one execution is given; `run`: see `gateway.events.run`."""

    def __init__(self, terminal_types: TerminalTypes, meta: RunMeta, after: EventId | None) -> None:
        """*meta* says what is not in events. *after*: only what follows this event is given."""
        self._terminal_types = terminal_types
        self._types = {kind.encode() for kind in terminal_types}
        self.begin(meta, after)

    def begin(self, meta: RunMeta, after: EventId | None = None) -> None:
        """Begin with nothing; *after*, *meta*: see above."""
        self._run = RunFold(
            self._terminal_types,
            pack=lambda _: None,
            started_at=meta.first_time,
            missing=after.seq if after is not None else None,
        )
        self._meta = meta
        self.position: EventId | None = after
        """The last event so far."""
        self.learn(meta)

    def learn(self, meta: RunMeta) -> None:
        """Take the counts of *meta*, which may be newer than what was given."""
        self._counted_to: Mapping[int, int] = meta.epochs
        self._counts: StepEvents | None = meta.steps
        self._since = [0, 0]

    def add(self, data: bytes) -> list[Notice]:
        """Add what was written to the stream; returns the gateway's own frames."""
        notices = []
        for frame in data.split(b"\n\n"):
            found = _FRAME.fullmatch(frame)
            if found is None:
                continue
            event_id, kind, body = found.groups()
            if kind.startswith(b"stream:"):
                reason = str(parse_object(body).get("reason") or "")
                notices.append(Notice(kind.decode().removeprefix("stream:"), reason))
                if kind == b"stream:reset":
                    self.begin(RunMeta())
            elif kind != b"heartbeat":
                self._add_event(event_id, kind, body)
        if self.bytes > _MOST_BYTES:
            self._run.forget_steps()
        return notices

    def _add_event(self, event_id: bytes | None, kind: bytes, body: bytes) -> None:
        position = parse_id(event_id.decode()) if event_id is not None else None
        if self.position is None and position is not None:
            self._run.missing_at_first = self._missing_before(position)
        self.position = position or self.position
        is_step = kind.startswith(b"step:")
        # The counts go on through epochs.
        if (
            is_step
            and position is not None
            and position.seq > self._counted_to.get(position.epoch, 0)
        ):
            self._since[0] += kind == b"step:completed"
            self._since[1] += kind == b"step:failed"
        is_other = not is_step and not kind.startswith(b"execution:") and kind not in self._types
        if is_other and position is not None and self._run.has_begun:
            # Most events of most producers: not parsed.
            self._run.add_other(str(position))
        else:
            self._run.add(parse_object(body))

    def _missing_before(self, first: EventId) -> int | None:
        """Events that are kept no longer where history begins with *first*: whole epochs, too."""
        epochs = self._meta.epochs
        if epochs and first.epoch > max(epochs):
            # It began after *meta* was read, and what that counts is gone.
            return sum(epochs.values()) + first.seq - 1
        return self._meta.missing_before(first)

    def end(self, status: EndingStatus, event_id: EventId) -> None:
        """The run has ended so, with an event that was not given."""
        if not self._run.has_ended:
            self._run.end(status, str(event_id), self._meta.terminal_time)
            self.position = self.position or event_id

    @property
    def bytes(self) -> int:
        """Memory that it takes, about."""
        run = self._run
        return _BASE_BYTES + _STEP_BYTES * run.steps_kept + _END_BYTES * run.step_ends

    def summary(self) -> Summary:
        """As it is now."""
        run = self._run.document("", "")
        completed: int | None = run["steps_completed"]
        failed: int | None = self._run.steps_failed
        if run["complete"] is False:
            known = self._counts
            completed = known.completed + self._since[0] if known is not None else None
            failed = known.failed + self._since[1] if known is not None else None
        return Summary(
            status=run["status"],
            started_at=run["started_at"],
            completed_at=run["completed_at"],
            duration_ms=run["duration_ms"],
            current_node=_shortened(run["current_node"]),
            steps_completed=completed,
            steps_failed=failed,
            error_message=_shortened(run["error_message"]),
            last_event_id=run["last_event_id"] or (str(self.position) if self.position else None),
        )


def _shortened(text: str | None) -> str | None:
    return text if text is None or len(text) <= _MOST_TEXT else text[: _MOST_TEXT - 1] + "…"
