"""An execution that a check makes up, to see its events arrive: registered, published, removed.

Its events go into history and onto the channel in one step, so that no gateway records them anew
and the keys that they leave are known. All that it writes expires by itself within minutes, should
the check be killed.
"""

import secrets

import orjson
from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.contract import keys
from gateway.contract.registration import Registration
from gateway.contract.scripts import HistoryLimits, publish_call
from gateway.settings import Settings
from gateway.tools.check.acl import remove

EVENT_TYPE = "check:probe"
_KEPT_MS = 600_000


class Probe:
    """One such execution of *organization*. All methods raise what redis-py does."""

    def __init__(self, redis: Redis, settings: Settings, organization: str) -> None:
        self.execution_id = f"{keys.PROBE_PREFIX}{secrets.token_hex(8)}"
        self.organization = organization
        self._redis = redis
        self._channel = keys.channel(settings.channel_prefix, self.execution_id)
        self._terminal_type = settings.terminal_types[0]
        self._limits = HistoryLimits(open_ttl_ms=_KEPT_MS, history_ttl_ms=_KEPT_MS)
        self._written = [keys.meta_key(self.execution_id), keys.events_key(self.execution_id)]

    async def register(self) -> None:
        """Say whose it is, where the gateway goes by what is registered."""
        registration = Registration(self.execution_id, self.organization)
        await scripts.run(self._redis, registration.call(self._limits))

    async def publish(self, number: int) -> None:
        """Publish the event of that number."""
        await self._publish(EVENT_TYPE, number, "")

    async def finish(self) -> None:
        """Publish the event that ends it."""
        await self._publish(self._terminal_type, 0, self._terminal_type)

    async def remove(self) -> None:
        """Leave nothing of it behind."""
        await remove(self._redis, self._written)

    async def _publish(self, event_type: str, number: int, terminal_type: str) -> None:
        once = secrets.token_hex(8)
        self._written.append(keys.once_key(self.execution_id, once))
        call = publish_call(
            self.execution_id,
            orjson.dumps({"type": event_type, "data": {"number": number}}),
            channel=self._channel,
            idempotency_key=once,
            terminal_type=terminal_type,
            limits=self._limits,
        )
        await scripts.run(self._redis, call)
