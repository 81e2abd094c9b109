"""A gateway that has nothing to do sleeps."""

import asyncio
import time
from itertools import repeat

from gateway.access.tokens import issue
from tests.bench.tabs import Crowd
from tests.harness.gateway_process import serving
from tests.harness.proc import wakeups
from tests.support import SECRET

SECONDS = 2.0


async def test_an_idle_gateway_is_seldom_woken(redis_url: str) -> None:
    """At most 10 times a second with nothing to do, and 15 with quiet streams; `make bench` counts
    more exactly, beside a bare loop."""
    async with serving(REDIS_URL=redis_url, GATEWAY_OWNERSHIP="token") as gateway:

        async def woken() -> float:
            before, began = wakeups(gateway.pid), time.monotonic()
            await asyncio.sleep(SECONDS)
            return (wakeups(gateway.pid) - before) / (time.monotonic() - began)

        assert await woken() <= 10
        token = issue(SECRET, organization_id="acme")
        crowd = Crowd(
            "127.0.0.1",
            gateway.port,
            repeat(f"Authorization: Bearer {token}\r\nX-Organization-ID: acme\r\n"),
        )
        await crowd.open([f"run-{number}" for number in range(50)])
        assert await woken() <= 15
        crowd.close()
