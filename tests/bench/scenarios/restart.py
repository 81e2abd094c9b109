"""How long a restart takes for clients: 10,000 tabs lose their stream and reconnect."""

import asyncio
import json
import random
import socket
import time
from itertools import pairwise
from typing import Any

from gateway.contract.keys import events_key
from tests.bench.figures import Figure
from tests.bench.messages import message
from tests.bench.stage import Gateway, Stage
from tests.bench.tabs import CountingTab, Crowd

RETRY = (1.0, 3.0)
"""Seconds: the range of the gateway's `retry:`. Drawn here, since these tabs do not parse."""


SHIPPED_DRAIN = 20
"""`drain_seconds` of config/production.toml."""


async def play(stage: Stage) -> None:
    """SIGTERM and the next start on systemd's socket, with the shipped settings; each tab returns
    as an EventSource would."""
    tabs, count = stage.size(10_000, 100), stage.size(1000, 10)
    executions = await stage.executions(count, events=20)
    quiet, bare = await stage.executions(2, events=1)
    held = socket.create_server(("127.0.0.1", 0), backlog=4096)
    given: dict[str, Any] = {"drain_seconds": SHIPPED_DRAIN, "history_max_events": 100_000}
    gateway = await stage.start_gateway(held=held, **given)
    crowd = gateway.crowd
    await crowd.open((executions[n % count] for n in range(tabs)), replayed=20)
    returning = [asyncio.ensure_future(come_back(tab, *RETRY)) for tab in crowd.tabs]
    watching = asyncio.ensure_future(_watch_quiet(stage, gateway, quiet))
    enough = asyncio.Event()
    publishing = asyncio.ensure_future(_publish_bare(stage, bare, enough))
    try:
        await asyncio.sleep(0.5)
        begin = time.monotonic()
        await gateway.stop()
        gateway = await stage.start_gateway(held=held, **given)
        await stage.record(executions)
        waits = await asyncio.wait_for(asyncio.gather(*returning), 60)
        back = time.monotonic() - begin
        # One more event for each execution: who has all the others has 22 now.
        await stage.record(executions)
        deadline = time.monotonic() + 10
        while (missing := sum(22 - tab.ids for tab in crowd.tabs)) and time.monotonic() < deadline:
            await asyncio.sleep(0.05)
        delays = await _stop(watching)
    finally:
        enough.set()
        published = await publishing
        crowd.close()
        await gateway.stop()
        held.close()
    dark = await _unrecorded(stage, bare, published)
    stage.add(
        Figure("restart: all tabs are back after", back, "s", most=10),
        Figure("restart: a tab that comes back waits at most", max(waits), "s", most=2),
        Figure("restart: events lost or doubled", abs(missing), "events", most=0),
        Figure("restart: bare PUBLISHes are not recorded for", dark, "s", most=2),
        Figure("restart: a quiet tab's events are late by", max(delays) * 1000, "ms", most=500),
    )


async def come_back(tab: CountingTab, least: float, most: float) -> float:
    """Wait until the stream is closed, then come back with the last id after so many seconds; how
    long it took from then on."""
    tab.lost = asyncio.get_running_loop().create_future()
    await tab.lost
    begin = None
    while True:
        await asyncio.sleep(random.uniform(least, most))
        begin = begin or time.monotonic()
        try:
            await tab.connect(tab.last.decode())
            await tab.opened()
        except OSError:
            continue
        return time.monotonic() - begin


async def _publish_bare(stage: Stage, execution: str, enough: asyncio.Event) -> list[float]:
    """PUBLISH a bare message every 5 ms; when each was."""
    times: list[float] = []
    while not enough.is_set():
        document = {"type": "step:completed", "data": {"number": len(times)}}
        times.append(time.monotonic())
        await stage.redis.publish(f"execution:{execution}", json.dumps(document))
        await asyncio.sleep(0.005)
    return times


async def _unrecorded(stage: Stage, execution: str, published: list[float]) -> float:
    """Seconds from the last bare message that the old gateway recorded to the new one's first."""
    entries: Any = await stage.redis.xrange(events_key(execution), "-", "+")
    found = [json.loads(fields[b"event"])["data"].get("number") for _, fields in entries]
    kept = [number for number in found if number is not None]
    holes = [pair for pair in pairwise(kept) if pair[1] - pair[0] > 1]
    return max((published[after] - published[before] for before, after in holes), default=0.0)


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


async def _stop(running: "asyncio.Future[list[float]]") -> list[float]:
    running.cancel()
    return await running
