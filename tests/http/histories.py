"""Histories for tests, written by the script that every producer's library calls."""

from collections.abc import Collection, Sequence

from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.contract.keys import channel
from gateway.contract.meta import kind_of
from gateway.contract.scripts import HistoryLimits, publish_call
from gateway.events.fields import times_of
from gateway.events.json_edit import parse_object
from gateway.settings import TERMINAL_TYPES
from tests.support import producer_message


class Producer:
    """Publishes the events of one execution, each into its history too."""

    def __init__(
        self,
        redis: Redis,
        execution_id: str = "run-1",
        *,
        limits: HistoryLimits | None = None,
        terminal_types: Collection[str] = TERMINAL_TYPES,
    ) -> None:
        self._redis = redis
        self._execution_id = execution_id
        self._limits = limits or HistoryLimits()
        self._terminal_types = terminal_types
        self._published = 0

    async def publish(self, event_type: str, **data: object) -> str:
        """One event as today's workers write it; returns its id."""
        return await self.publish_raw(event_type, producer_message(event_type, **data))

    async def publish_raw(self, event_type: str, payload: bytes) -> str:
        """One event whose bytes are *payload*; returns its id."""
        self._published += 1
        call = publish_call(
            self._execution_id,
            payload,
            channel=channel("execution:", self._execution_id),
            idempotency_key=f"{id(self)}-{self._published}",
            terminal_type=event_type if event_type in self._terminal_types else "",
            limits=self._limits,
            kind=kind_of(event_type),
            moment=times_of(parse_object(payload)).moment(ends=event_type in self._terminal_types),
        )
        event_id: bytes = await scripts.run(self._redis, call)
        return event_id.decode()

    async def steps(self, nodes: Sequence[str]) -> list[str]:
        """Each of *nodes* begins and ends; returns the ids."""
        ids = []
        for node in nodes:
            ids.append(await self.publish("step:started", node_id=node))
            ids.append(await self.publish("step:completed", node_id=node, output={"of": node}))
        return ids
