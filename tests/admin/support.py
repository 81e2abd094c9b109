"""What the tests of this package share."""

from redis.asyncio import Redis

from gateway.fanout.state import State
from tests.conftest import RunningGateway
from tests.support import eventually, producer_message


async def frozen_reader(gateway: RunningGateway, redis: Redis) -> None:
    """Opens a live stream of run-1 whose reader then stops reading."""
    reader = await gateway.open("run-1")
    # With its first event a stream becomes live: only then is anything queued for it.
    await redis.publish("execution:run-1", producer_message("step:started"))
    await reader.expect("step:started")
    await eventually(lambda: all(one.state is State.LIVE for one in gateway.components.hub))
    assert reader.response.connection is not None
    assert reader.response.connection.transport is not None
    reader.response.connection.transport.pause_reading()
