"""Remembers in which epoch a publisher has published, so that its events never enter a later run.

An execution may be restarted under its id while a worker of the former run is still alive.
"""

from collections.abc import Iterable
from contextlib import suppress

from gateway.publisher.composer import Outgoing

_MOST = 10_000
"""Executions remembered; each is forgotten at its end."""


class Runs:
    """The executions of one publisher; any number of threads may share it."""

    def __init__(self) -> None:
        self._epochs: dict[str, int] = {}

    def forget(self, execution_id: str) -> None:
        """What this publisher publishes next belongs to the run that there is then."""
        self._epochs.pop(execution_id, None)

    def began(self, event: Outgoing) -> int | None:
        """An epoch of the run that *event* belongs to; None: of the run that there is."""
        return None if event.restarts else self._epochs.get(event.execution_id)

    def published(self, events: Iterable[Outgoing], ids: Iterable[str]) -> None:
        """Take note that *events* have got these *ids*."""
        for event, event_id in zip(events, ids, strict=True):
            if event.terminal_type:
                self.forget(event.execution_id)
            elif event.restarts or event.execution_id not in self._epochs:
                # The answer to a repeated restart may be of a former one; epochs only grow.
                epoch = int(event_id.partition("-")[0])
                known = self._epochs.get(event.execution_id, 0)
                self._epochs[event.execution_id] = max(epoch, known)
                if len(self._epochs) > _MOST:
                    # Another thread may change them meanwhile.
                    with suppress(RuntimeError, StopIteration):
                        self._epochs.pop(next(iter(self._epochs)), None)
