"""The publishers that workers of a scenario use; *options*: more of a `Publisher`'s arguments."""

import asyncio
from typing import Any

from gateway.contract.scripts import HistoryLimits
from gateway.publisher import Publisher, SyncPublisher
from tests.delivery.producers import Publishes


def present_publisher(url: str, limits: HistoryLimits, **options: Any) -> Publishes:
    """The publisher of this checkout. Each attempt takes a quarter: answers get lost, and calls are
    repeated."""
    return Publisher(url, deadline=2.0, limits=limits, **options)


def replicated_publisher(url: str, limits: HistoryLimits, **options: Any) -> Publishes:
    """One whose events a replica has too, before they count as published."""
    return Publisher(url, deadline=2.0, limits=limits, min_replicas=1, **options)


def sync_publisher(url: str, limits: HistoryLimits, **options: Any) -> Publishes:
    """The same for threads."""
    return _InThreads(SyncPublisher(url, deadline=2.0, limits=limits, **options))


class _InThreads:
    """A `SyncPublisher` for asyncio."""

    def __init__(self, publisher: SyncPublisher) -> None:
        self._publisher = publisher

    async def publish(self, *event: Any, **options: Any) -> str:
        return await asyncio.to_thread(self._publisher.publish, *event, **options)

    async def close(self) -> None:
        await asyncio.to_thread(self._publisher.close)
