"""What the scripts keep of a run beside its events, so that it survives trimming. Pure.

It is in `meta`: the epochs, the time of the first event and of the terminal one, and how many step
events there were. What an earlier release has written may be unknown; it is None then.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from gateway.events import fields
from gateway.events.ids import EventId

META_FIELDS = ("epoch", "seq", "former", "counts", "first", "terminal_time", "runs")
"""The fields of `meta` that `read_meta` takes, in order."""

_KINDS = {"step:started": "started", "step:completed": "completed", "step:failed": "failed"}
_FORMER = re.compile(r"([0-9]{1,20}):([0-9]{1,20})")
_NUMBER = re.compile(r"[0-9]{1,20}")
_RUN = re.compile(r"([0-9]{1,20}):([0-9a-f]{16})")
_COUNTS = re.compile(
    r"([0-9]{1,15})-([0-9]{1,15}):([0-9]{0,15}):(?:([0-9]{1,15}):([0-9]{1,15}):([0-9]{1,15})|::)"
)


def kind_of(event_type: str) -> str:
    """The kind of step event that the scripts count; empty for any other event."""
    return _KINDS.get(event_type, "")


@dataclass(frozen=True, slots=True)
class StepEvents:
    """How many step events a run had, trimmed ones too."""

    started: int
    completed: int
    failed: int


@dataclass(frozen=True, slots=True)
class RunMeta:
    """What `meta` knows of a run."""

    epochs: Mapping[int, int] = field(default_factory=dict)
    """The last seq of each epoch, present (the last one) and former ones."""
    before: int | None = None
    """Events of this history in epochs before the present one."""
    steps: StepEvents | None = None
    first_time: str | None = None
    """When the first event happened, also one that is trimmed."""
    terminal_time: str | None = None
    """When the terminal event happened."""
    runs: Mapping[int, str] = field(default_factory=dict)
    """The names of former runs that are kept, by their last epoch."""

    @property
    def former(self) -> tuple[EventId, ...]:
        """The last ids of the former epochs of the present history, oldest first, as far as they
        are known. What was before a flush is of another history."""
        left, found = self.before or 0, list[EventId]()
        for epoch in list(reversed(self.epochs))[1:]:
            last = self.epochs[epoch]
            if last > left:
                break
            left -= last
            found.insert(0, EventId(epoch, last))
        return tuple(found)

    def run_of(self, epoch: int) -> str | None:
        """The name of the former run that *epoch* was of; empty: the present one; None: it is not
        known, or no longer kept."""
        if epoch not in self.epochs:
            return None
        # Epochs of one execution grow.
        former = [last for last in self.runs if last >= epoch]
        return self.runs[min(former)] if former else ""

    def missing_before(self, first: EventId | None) -> int | None:
        """How many events were trimmed where history begins with *first*; None: nobody knows."""
        if self.before is None or not self.epochs:
            return None
        present = next(reversed(self.epochs))
        if first is None:
            return self.before + self.epochs[present]
        kept = 0
        for epoch in reversed(self.epochs):
            kept += self.epochs[epoch] if epoch != present else 0
            if epoch == first.epoch:
                missing = self.before - kept + first.seq - 1
                return missing if missing >= 0 else None
        return None


def read_meta(answer: Sequence[bytes | None]) -> RunMeta:
    """The values of `META_FIELDS`; one that makes no sense counts as not known."""
    epoch, seq, former, counts, first, terminal_time, runs = (
        one.decode(errors="replace") if one is not None else "" for one in answer
    )
    epochs = {int(one): int(last) for one, last in _FORMER.findall(former)}
    if not (_NUMBER.fullmatch(epoch) and _NUMBER.fullmatch(seq)):
        return RunMeta(epochs)
    # As the last one, whatever somebody wrote into `former`.
    epochs.pop(int(epoch), None)
    epochs[int(epoch)] = int(seq)
    before, steps = None, None
    # Of another epoch: an earlier release has begun the present one, or appended to it.
    if (known := _COUNTS.fullmatch(counts)) is not None and known[1] == epoch:
        before = int(known[3]) if known[3] else None
        if known[2] == seq and known[4]:
            steps = StepEvents(int(known[4]), int(known[5]), int(known[6]))
    first_in, _, first_time = first.partition(" ")
    return RunMeta(
        epochs,
        before,
        steps,
        fields.time(first_time) if first_in == epoch else None,
        fields.time(terminal_time),
        {int(last): name for last, name in _RUN.findall(runs)},
    )
