"""Tickets in Redis: put there by one gateway, taken out once by whichever is shown them.

What is in a record, and how a ticket looks, is decided by `gateway.access.tickets`.
"""

from collections.abc import Sequence
from itertools import count

from redis.asyncio import Redis

from gateway.bus.errors import REDIS_ERRORS, describe_redis_error
from gateway.contract.keys import ticket_key
from gateway.dataloader import DataLoader
from gateway.errors import RedisUnavailable

_AT_ONCE = 256
"""Tickets taken out in one round trip."""


class TicketStore:
    """Records by the digest of their ticket: whoever reads Redis cannot use what stands there."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis
        # Anybody can invent tickets, and each must be looked for: together they cost little. The
        # number keeps two who show the same ticket from being given one answer.
        self._spending: DataLoader[tuple[str, int], bytes | None] = DataLoader(
            self._spend_all, _AT_ONCE
        )
        self._numbers = count()

    async def put(self, digest: str, record: bytes, seconds: int) -> None:
        """Keep *record* for *seconds*.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        try:
            await self._redis.set(ticket_key(digest), record, ex=seconds)
        except REDIS_ERRORS as error:
            raise RedisUnavailable(describe_redis_error(error)) from error

    async def spend(self, digest: str) -> bytes | None:
        """Take the record out, in one step; None if it is not there (any more).

        Raises:
            RedisUnavailable: Redis could not be asked; the record may be gone all the same.
        """
        return await self._spending.ask((digest, next(self._numbers)))

    async def stop(self) -> None:
        """Give up what is under way."""
        await self._spending.stop()

    async def _spend_all(
        self, asked: Sequence[tuple[str, int]]
    ) -> dict[tuple[str, int], bytes | RedisUnavailable | None]:
        try:
            async with self._redis.pipeline(transaction=False) as pipeline:
                for digest, _ in asked:
                    pipeline.getdel(ticket_key(digest))
                records = await pipeline.execute(raise_on_error=False)
        except REDIS_ERRORS as error:
            raise RedisUnavailable(describe_redis_error(error)) from error
        return {
            one: RedisUnavailable(describe_redis_error(record))
            if isinstance(record, Exception)
            else record
            for one, record in zip(asked, records, strict=True)
        }
