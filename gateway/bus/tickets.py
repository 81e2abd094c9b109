"""Tickets in Redis: put there by one gateway, taken out once by whichever is shown them.

What is in a record, and how a ticket looks, is decided by `gateway.access.tickets`.
"""

from redis.asyncio import Redis

from gateway.bus.trouble import REDIS_ERRORS, in_words
from gateway.contract.keys import ticket_key
from gateway.errors import RedisUnavailable


class TicketStore:
    """Records by the digest of their ticket: whoever reads Redis cannot use what stands there."""

    def __init__(self, redis: Redis) -> None:
        self._redis = redis

    async def put(self, digest: str, record: bytes, seconds: int) -> None:
        """Keep *record* for *seconds*.

        Raises:
            RedisUnavailable: Redis could not be asked.
        """
        try:
            await self._redis.set(ticket_key(digest), record, ex=seconds)
        except REDIS_ERRORS as error:
            raise RedisUnavailable(in_words(error)) from error

    async def spend(self, digest: str) -> bytes | None:
        """Take the record out, in one step; None if it is not there (any more).

        Raises:
            RedisUnavailable: Redis could not be asked; the record may be gone all the same.
        """
        try:
            record = await self._redis.getdel(ticket_key(digest))
        except REDIS_ERRORS as error:
            raise RedisUnavailable(in_words(error)) from error
        return record if isinstance(record, bytes) else None
