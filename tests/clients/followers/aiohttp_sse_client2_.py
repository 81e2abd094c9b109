"""aiohttp-sse-client2 comes back when a stream has ended, and raises when it was broken off."""

import asyncio

import aiohttp
from aiohttp_sse_client2.client import EventSource
from given import HEADERS, TYPES, URL, again, over, say


async def follow() -> str:
    last = ""
    while True:
        headers = {**HEADERS, **({"Last-Event-ID": last} if last else {})}
        try:
            async with EventSource(URL, headers=headers, max_connect_retry=10) as source:
                async for event in source:
                    last = event.last_event_id or last
                    if event.type in TYPES:
                        say(event.data)
        except ConnectionAbortedError:
            # So it takes any answer but 200.
            return "error"
        except aiohttp.ClientError:
            again()
            await asyncio.sleep(1)


over(asyncio.run(follow()))
