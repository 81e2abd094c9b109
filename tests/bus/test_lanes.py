"""Messages of one node of a cluster, where an execution of it waits for its keys."""

import asyncio
import time

from redis.crc import key_slot

from gateway.bus.cluster import Cluster
from gateway.bus.lanes import WAITED, Arrived, Lanes
from gateway.contract.keys import meta_key
from gateway.events.envelope import decode
from gateway.settings.redis_url import parse_cluster_url
from tests.support import eventually, producer_message


async def test_what_came_with_an_execution_that_waits_goes_on() -> None:
    """Each time, also when its lane has ended meanwhile; what waits is delivered in order, and then
    nothing of it is remembered."""
    url = parse_cluster_url("redis+cluster://127.0.0.1:1")
    async with Cluster(url, retries=0, command_timeout=1.0) as cluster:
        lanes, is_whole = Lanes(cluster), asyncio.Event()
        delivered: dict[str, list[int]] = {"half": [], "other": []}
        cluster._split[key_slot(meta_key("half").encode())] = time.monotonic() + 60

        async def deliver(number: int, arrived: Arrived) -> None:
            for execution_id in sorted(arrived, reverse=True):
                if execution_id == "half":
                    await is_whole.wait()
                del arrived[execution_id]
                delivered[execution_id].append(number)

        async def run(number: int, *execution_ids: str) -> None:
            envelope = decode(producer_message("step"), 10_000)
            arrived = {one: [envelope] for one in execution_ids}
            await lanes.run(arrived, lambda some: deliver(number, some))

        await run(1, "half", "other")
        await asyncio.sleep(WAITED)
        for number in (2, 3):
            await run(number, "other")
            await eventually(lambda: delivered["other"][-1] == number)  # noqa: B023
        await run(4, "half", "other")
        await eventually(lambda: delivered["other"] == [1, 2, 3, 4])
        assert delivered["half"] == []
        is_whole.set()
        await eventually(lambda: delivered["half"] == [1, 4])
        await run(5, "other")
        assert delivered["other"][-1] == 5
        lanes._reap()
        assert not any((lanes._lanes, lanes._own, lanes._waiting, lanes._parts, lanes._bytes))
        await lanes.stop()
