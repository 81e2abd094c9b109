"""The bare handler: an aiohttp server that answers each request with the same head and page, and
keeps the stream open. No server on aiohttp opens a stream for less without leaving something out.
Usage: python -m tests.bench.bare CORE < PAGE; prints its port.
"""

import asyncio
import os
import sys

import uvloop
from aiohttp import web

from gateway.http.responses import STREAM_HEADERS
from gateway.process import raise_file_limit, tune_gc


async def main(page: bytes) -> None:
    """Serve until cancelled."""

    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers=STREAM_HEADERS)
        await response.prepare(request)
        await response.write(page)
        await asyncio.get_running_loop().create_future()
        return response

    application = web.Application()
    application.router.add_get("/{path:.*}", handle)
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, backlog=4096).start()
    print(runner.addresses[0][1], flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    os.sched_setaffinity(0, {int(sys.argv[1])})
    given = sys.stdin.buffer.read()
    raise_file_limit()
    tune_gc()
    uvloop.run(main(given))
