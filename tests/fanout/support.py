"""Events and bursts as tests of the fan-out need them."""

from gateway.events.burst import Burst
from gateway.events.cursor import Id
from gateway.events.envelope import Event

EPOCH = 1000


def event(seq: int | None, epoch: int = EPOCH, size: int = 0) -> Event:
    """An event whose frame is its number; None for one without id."""
    text = "-" if seq is None else f"<{seq}>"
    return Event("step:started", Id(epoch, seq) if seq else None, text.encode().ljust(size))


def burst(*seqs: int | None, epoch: int = EPOCH, terminal: bool = False, size: int = 0) -> Burst:
    return Burst([event(seq, epoch, size) for seq in seqs], terminal)
