"""Forgets executions: histories, registrations and all other keys (a data subject's request)."""

import re
from collections.abc import AsyncIterator, Collection, Sequence
from contextlib import suppress

from redis.asyncio import Redis
from redis.exceptions import ResponseError

from gateway.bus import scripts
from gateway.bus.cluster import Cluster
from gateway.bus.connection import primaries_of
from gateway.contract.index import AT_ONCE, Note, index_call
from gateway.contract.keys import channel, live_command, meta_key
from gateway.contract.scripts import HistoryLimits, forget_call

_AT_ONCE = 1000
"""Keys in one round trip."""

_EXECUTION = re.compile(rb"sse:\{([^{}!]+)\}:")


async def forget(redis: Redis, prefix: str, execution_ids: Collection[str]) -> None:
    """Forget these executions and end their streams. Raises what redis-py does."""
    # First what may be refused.
    for node in await primaries_of(redis):
        await node.scan(0, count=1)
    live = live_command(in_cluster=isinstance(redis, Cluster))
    pending = list(execution_ids)
    owners = await _owners(redis, pending)
    while pending:
        some, pending = pending[:_AT_ONCE], pending[_AT_ONCE:]
        for answer in await scripts.run_all(
            redis, [forget_call(one, channel(prefix, one), live) for one in some]
        ):
            if isinstance(answer, Exception):
                raise answer
    await _unlist(redis, prefix, owners)
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


async def _owners(redis: Redis, execution_ids: Sequence[str]) -> dict[str, list[str]]:
    """The executions by the organization that they are registered for."""
    owners: dict[str, list[str]] = {}
    for begin in range(0, len(execution_ids), _AT_ONCE):
        some = execution_ids[begin : begin + _AT_ONCE]
        async with redis.pipeline(transaction=False) as pipeline:
            for one in some:
                pipeline.hget(meta_key(one), "organization_id")
            answers = await pipeline.execute(raise_on_error=False)
        for one, owner in zip(some, answers, strict=True):
            if isinstance(owner, bytes):
                owners.setdefault(owner.decode("utf-8", "surrogateescape"), []).append(one)
    return owners


async def _unlist(redis: Redis, prefix: str, owners: dict[str, list[str]]) -> None:
    """Best effort: gateways remove from a list what is not there any more."""
    for organization_id, execution_ids in owners.items():
        for begin in range(0, len(execution_ids), AT_ONCE):
            notes = [Note("gone", one) for one in execution_ids[begin : begin + AT_ONCE]]
            call = index_call(organization_id, notes, limits=HistoryLimits(), channel_prefix=prefix)
            with suppress(ResponseError):
                await scripts.run(redis, call)


async def _keys(redis: Redis, pattern: str) -> AsyncIterator[list[bytes]]:
    """All keys like *pattern*, page by page."""
    for node in await primaries_of(redis):
        cursor = None
        while cursor != 0:
            cursor, found = await node.scan(cursor or 0, match=pattern, count=_AT_ONCE)
            # With this client always bytes.
            yield [key for key in found if isinstance(key, bytes)]
