"""How long a restart takes for clients: 10,000 tabs lose their stream and reconnect."""

import asyncio
import random
import time

from tests.bench.figures import Figure
from tests.bench.stage import Gateway, Stage, message
from tests.bench.tabs import CountingTab, Crowd

RETRY = (1.0, 3.0)
"""Seconds: the range of the gateway's `retry:`. Drawn here, since these tabs do not parse."""


async def play(stage: Stage) -> None:
    """SIGTERM and the next start, as systemd does; each tab returns as an EventSource would."""
    tabs, count = stage.size(10_000, 100), stage.size(1000, 10)
    executions = await stage.executions(count, events=20)
    [quiet] = await stage.executions(1, events=1)
    gateway = await stage.start_gateway()
    crowd, port = gateway.crowd, gateway.port
    await crowd.open((executions[n % count] for n in range(tabs)), replayed=20)
    returning = [asyncio.ensure_future(come_back(tab, *RETRY)) for tab in crowd.tabs]
    watching = asyncio.ensure_future(_watch_quiet(stage, gateway, quiet))
    try:
        await asyncio.sleep(0.5)
        begin = time.monotonic()
        await gateway.stop()
        gateway = await stage.start_gateway(port)
        await stage.record(executions)
        await asyncio.wait_for(asyncio.gather(*returning), 60)
        back = time.monotonic() - begin
        # One more event for each execution: who has all the others has 22 now.
        await stage.record(executions)
        deadline = time.monotonic() + 10
        while (missing := sum(22 - tab.ids for tab in crowd.tabs)) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        delays = await _stop(watching)
    finally:
        crowd.close()
        await gateway.stop()
    stage.add(
        Figure("restart: all tabs are back after", back, "s", most=10),
        Figure("restart: events lost or doubled", abs(missing), "events", most=0),
        Figure("restart: a quiet tab's events are late by", max(delays) * 1000, "ms", most=500),
    )


async def come_back(tab: CountingTab, least: float, most: float) -> None:
    """Wait until the stream is closed, then come back with the last id after so many seconds."""
    tab.lost = asyncio.get_running_loop().create_future()
    await tab.lost
    while True:
        await asyncio.sleep(random.uniform(least, most))
        try:
            await tab.connect(tab.last.decode())
            await tab.opened()
        except OSError:
            continue
        return


async def _watch_quiet(stage: Stage, gateway: Gateway, execution: str) -> list[float]:
    """A tab that comes back at once, before the storm, and an event for it every 50 ms: by how much
    each is late while the others come back."""
    crowd = Crowd("127.0.0.1", gateway.port, gateway.crowd.headers)
    tab = CountingTab(crowd, execution)
    await tab.connect()
    await tab.opened(1)
    await come_back(tab, 0.05, 0.05)
    publisher = await stage.publisher()
    del crowd.latencies[:]
    try:
        while True:
            await publisher.publish([execution], [message()])
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        return list(crowd.latencies)
    finally:
        tab.reset()
        await publisher.close()


async def _stop(watching: "asyncio.Future[list[float]]") -> list[float]:
    watching.cancel()
    return await watching
