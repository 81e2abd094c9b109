"""What the simulated engine plays: runs of a made-up workflow, as a list of events with pauses.

Pure: it decides what happens in a run and when, and builds each event as today's workers publish
it. It neither publishes nor waits.
"""

import random
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

_NODE_TYPES = ("google-docs", "spreadsheet", "webhook", "email", "signature", "storage")
_ENDINGS = ("completed", "completed", "completed", "failed")
_PAUSE_REASONS = ("approval", "signature")
_TROUBLE = ("Template not found", "The document could not be sent", "The service did not answer")
_PAUSE_SHARE = 0.4


@dataclass(frozen=True, slots=True)
class Moment:
    """One event of a run, and how many seconds after the one before it happens."""

    wait: float
    type: str
    data: dict[str, Any]


def stamp(moment: datetime) -> str:
    """A time as today's workers write it: UTC, microseconds, no zone."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds")


def message(moment: Moment, now: datetime) -> bytes:
    """The payload that is published for *moment*."""
    return orjson.dumps({"type": moment.type, "data": moment.data, "timestamp": stamp(now)})


class Script:
    """One run of a workflow; iterating over it tells the run, once."""

    def __init__(self, execution_id: str, *, endless: bool = False) -> None:
        """*endless*: the steps come round and round, and no terminal event follows."""
        self.execution_id = execution_id
        self._endless = endless
        self._ending = random.choice(_ENDINGS)  # noqa: S311 - a simulation
        self._pauses = random.random() < _PAUSE_SHARE  # noqa: S311
        self._steps = random.randint(3, len(_NODE_TYPES))  # noqa: S311
        self._elapsed = 0.0

    def __iter__(self) -> Iterator[Moment]:
        position = 0
        while True:
            for node_type in _NODE_TYPES[: self._steps]:
                position += 1
                last = position == self._steps and not self._endless
                yield from self._step(position, node_type, fails=last and self._ending == "failed")
                if self._pauses and position % self._steps == 1:
                    yield self._pause()
            if not self._endless:
                break
        yield self._end()

    def _step(self, position: int, node_type: str, *, fails: bool) -> Iterator[Moment]:
        seconds = random.uniform(0.8, 3.0)  # noqa: S311
        wait = self._wait(0.3, 1.2)
        begin = datetime.now(UTC) + timedelta(seconds=wait)
        node = {"node_id": str(uuid.uuid4()), "node_type": node_type, "position": position}
        started = {**node, "started_at": stamp(begin)}
        yield Moment(wait, "step:started", {**started, "status": "running"})
        ended = {
            **started,
            "completed_at": stamp(begin + timedelta(seconds=seconds)),
            "duration_ms": int(seconds * 1000),
        }
        self._elapsed += seconds
        if fails:
            trouble = random.choice(_TROUBLE)  # noqa: S311
            yield Moment(seconds, "step:failed", {**ended, "status": "error", "error": trouble})
            return
        document = str(uuid.uuid4())
        output = {"document_id": document, "file_url": f"https://files.example/{document}"}
        yield Moment(seconds, "step:completed", {**ended, "status": "success", "output": output})

    def _pause(self) -> Moment:
        reason = random.choice(_PAUSE_REASONS)  # noqa: S311
        waiting_for = {"role": "manager"} if reason == "approval" else {"signers": 1}
        data = {"execution_id": self.execution_id, "reason": reason, "waiting_for": waiting_for}
        return Moment(self._wait(0.1, 0.3), "execution:paused", data)

    def _end(self) -> Moment:
        wait = self._wait(0.1, 0.4)
        completed_at = stamp(datetime.now(UTC) + timedelta(seconds=wait))
        data: dict[str, Any] = {
            "execution_id": self.execution_id,
            "status": self._ending,
            "completed_at": completed_at,
        }
        if self._ending == "failed":
            return Moment(wait, "execution:failed", {**data, "error_message": "A step has failed"})
        data["execution_time_ms"] = int(self._elapsed * 1000)
        data["generated_document_id"] = str(uuid.uuid4())
        return Moment(wait, "execution:completed", data)

    def _wait(self, least: float, most: float) -> float:
        wait = random.uniform(least, most)  # noqa: S311
        self._elapsed += wait
        return wait
