"""The health canary: a message that is published through Redis and must come back.

A Redis whose pub/sub is dead still answers PING, and a socket may look open for minutes after its
peer has gone. Only a message that comes the same way as the events shows that events can come.
"""

import asyncio
import secrets
import time
from contextlib import suppress

from redis.asyncio import Redis

from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.contract.keys import canary_channel

INTERVAL = 1.0
"""Seconds between two canaries."""

STALE_AFTER = 4.5
"""Seconds without a canary after which the subscription counts as dead."""


class Canary:
    """This gateway's canary; `run` is its one task."""

    def __init__(self, redis: Redis, prefix: str) -> None:
        self._redis = redis
        # Of this process alone: another instance's canary proves nothing about our subscription.
        self.instance = secrets.token_hex(8)
        self.channel = canary_channel(prefix, self.instance)
        self._publish_now = asyncio.Event()
        self.published_in_all = 0
        """How many were published so far; each says which one it is."""
        self._returned_at = float("-inf")
        self._publish_problem: str | None = None

    async def run(self) -> None:
        """Publish a canary every second."""
        while True:
            try:
                self.published_in_all += 1
                await self._redis.publish(self.channel, str(self.published_in_all))
                self._publish_problem = None
            except REDIS_ERRORS as error:
                self._publish_problem = describe_redis_error(error)
            self._publish_now.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(INTERVAL):
                    await self._publish_now.wait()

    def publish_now(self) -> None:
        """Do not wait for the next second: a new subscription needs a canary to be healthy."""
        self._publish_now.set()

    def returned(self, instance: str) -> None:
        """The subscription has brought a canary of *instance*."""
        if instance == self.instance:
            self._returned_at = time.monotonic()

    @property
    def published(self) -> bool:
        """Whether Redis accepted the last canary."""
        return self._publish_problem is None

    @property
    def age(self) -> float:
        """Seconds since the last canary came back; infinite before the first."""
        return time.monotonic() - self._returned_at

    @property
    def problem(self) -> str | None:
        """Why events may not arrive, as a sentence; None while canaries come back."""
        if self.age < STALE_AFTER:
            return None
        if self._publish_problem is not None:
            return self._publish_problem
        if self.age == float("inf"):
            return "No canary has come back through Redis yet: the gateway is starting."
        return (
            f"No canary has come back through Redis for {self.age:.0f} s, though Redis accepts "
            "them: nothing arrives on the subscription. Check the channel rights of the gateway's "
            "user."
        )
