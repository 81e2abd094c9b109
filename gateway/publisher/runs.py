"""In which epoch a publisher has published, so that its events never enter a later run.

An execution may be restarted under its id while a worker of the former run is still alive.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from redis.exceptions import ResponseError

from gateway.contract.scripts import Call
from gateway.publisher.composer import Outgoing
from gateway.publisher.retry import RunForgotten, RunRestarted

# In a pipeline, redis-py puts the beginning of the command before it.
_REFUSED = re.compile(r"(?:^| caused error: \(['\"])(FORGOTTEN|RESTARTED) ")

_MOST = 10_000
"""Executions remembered; each is forgotten at its end."""


class Runs:
    """The executions of one publisher; any number of threads may share it."""

    def __init__(self) -> None:
        self._epochs: dict[str, int] = {}

    def forget(self, execution_id: str) -> None:
        """What this publisher publishes next belongs to the run that there is then."""
        self._epochs.pop(execution_id, None)

    def call(self, event: Outgoing) -> Call:
        """The call that sends *event*."""
        return event.call(began=None if event.restarts else self._epochs.get(event.execution_id))

    def published(self, event: Outgoing, answer: bytes) -> str:
        """The id of *event*, from the script's *answer*."""
        event_id = answer.decode()
        if event.ends:
            self.forget(event.execution_id)
        elif event.restarts or event.execution_id not in self._epochs:
            # The answer to a repeated restart may be of a former one; epochs only grow.
            epoch = int(event_id.partition("-")[0])
            self._epochs[event.execution_id] = max(epoch, self._epochs.get(event.execution_id, 0))
            if len(self._epochs) > _MOST:
                # Another thread may change them meanwhile.
                with suppress(RuntimeError, StopIteration):
                    self._epochs.pop(next(iter(self._epochs)), None)
        return event_id

    @contextmanager
    def refusals(self, event: Outgoing) -> Iterator[None]:
        """Around sending *event*.

        Raises:
            RunForgotten: the execution was deleted.
            RunRestarted: the run was restarted since this publisher published in it.
        """
        try:
            yield
        except ResponseError as error:
            if (refused := _REFUSED.search(str(error))) is None:
                raise
            if refused[1] == "FORGOTTEN":
                raise RunForgotten(
                    f"Not published: execution {event.execution_id} was deleted.",
                    event.idempotency_key,
                ) from error
            raise RunRestarted(
                f"Not published: execution {event.execution_id} was restarted, and this event is "
                "of the former run. Stop this worker; if it works for the new run, call "
                "`join_run` first.",
                event.idempotency_key,
            ) from error
