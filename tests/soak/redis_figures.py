"""What executions that are over have left in Redis."""

from dataclasses import dataclass

from redis.asyncio import Redis

from gateway.bus.revocations import VERSION_KEY
from gateway.contract.keys import RECORDING_PROBE_PREFIX


@dataclass(frozen=True, slots=True)
class Leftovers:
    """Of all executions together."""

    keys: int
    histories: int
    unending: int
    """Keys that never expire, but for the one that must not."""
    dataset: int
    """Bytes."""


async def leftovers(redis: Redis) -> Leftovers:
    """What the master holds now."""
    names = [name.decode() async for name in redis.scan_iter(count=1000)]
    # A gateway's own, of the last seconds.
    names = [name for name in names if RECORDING_PROBE_PREFIX not in name]
    async with redis.pipeline(transaction=False) as pipeline:
        for name in names:
            pipeline.pttl(name)
        ttls = dict(zip(names, await pipeline.execute(), strict=True))
    return Leftovers(
        keys=len(names),
        histories=sum(name.endswith(":events") for name in names),
        unending=sum(ttl == -1 for name, ttl in ttls.items() if name != VERSION_KEY),
        dataset=int((await redis.info("memory"))["used_memory_dataset"]),
    )
