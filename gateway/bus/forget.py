"""Forgets executions: histories, registrations and all other keys (a data subject's request)."""

import hashlib
import re
from collections.abc import AsyncIterator, Collection

from redis.asyncio import Redis

from gateway.bus import scripts
from gateway.contract.keys import channel, events_key, meta_key
from gateway.contract.scripts import Call, Script

FORGET = Script("forget.lua")

TOMBSTONE_MS = 24 * 3600 * 1000
"""For how long what is still published of a forgotten execution is refused."""

_AT_ONCE = 1000
"""Keys in one round trip."""

_EXECUTION = re.compile(rb"sse:\{([^{}!]+)\}:")


async def forget(redis: Redis, prefix: str, execution_ids: Collection[str]) -> None:
    """Forget these executions and end their streams. Raises what redis-py does."""
    # First what may be refused.
    await redis.scan(0, count=1)
    pending = list(execution_ids)
    while pending:
        some, pending = pending[:_AT_ONCE], pending[_AT_ONCE:]
        for answer in await scripts.run_all(redis, [_call(prefix, one) for one in some]):
            if isinstance(answer, Exception):
                raise answer
    [only] = execution_ids if len(execution_ids) == 1 else ("*",)
    tombstones = {meta_key(one).encode() for one in execution_ids}
    forgotten = {one.encode() for one in execution_ids}
    async for found in _keys(redis, f"sse:{{{only}}}:*"):
        async with redis.pipeline(transaction=False) as pipeline:
            for key in found:
                execution = _EXECUTION.match(key)
                if execution and execution[1] in forgotten and key not in tombstones:
                    pipeline.pexpire(key, 0)
            await pipeline.execute()


async def forget_organization(redis: Redis, prefix: str, organization_id: str) -> int:
    """Forget all executions that are registered for an organization; returns how many. Raises what
    redis-py does."""
    owner, executions = organization_id.encode(), set()
    async for found in _keys(redis, meta_key("*")):
        async with redis.pipeline(transaction=False) as pipeline:
            for key in found:
                pipeline.hget(key, "organization_id")
            owners = await pipeline.execute(raise_on_error=False)
        for key, one in zip(found, owners, strict=True):
            if one == owner and (execution := _EXECUTION.match(key)) is not None:
                executions.add(execution[1].decode())
    if executions:
        await forget(redis, prefix, executions)
    return len(executions)


async def _keys(redis: Redis, pattern: str) -> AsyncIterator[list[bytes]]:
    """All keys like *pattern*, page by page."""
    cursor = None
    while cursor != 0:
        cursor, found = await redis.scan(cursor or 0, match=pattern, count=_AT_ONCE)
        # With this client always bytes.
        yield [key for key in found if isinstance(key, bytes)]


def _call(prefix: str, execution_id: str) -> Call:
    digest = hashlib.sha256(execution_id.encode()).hexdigest()
    return Call(
        FORGET,
        [events_key(execution_id), meta_key(execution_id)],
        [channel(prefix, execution_id), digest, TOMBSTONE_MS],
    )
