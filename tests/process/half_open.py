"""A program: opens connections that never bring a request, and counts those that are cut.

`python -m tests.process.half_open HOST PORT COUNT` prints `open` once all are, and `cut` once the
server has ended every one. Every second connection sends one byte a second; the others nothing.
"""

import asyncio
import sys

from gateway.process import raise_file_limit

_AT_ONCE = 200
_REQUEST = b"GET /api/v1/sse/health HTTP/1.1\r\nHost: gateway\r\nX-Slow: " + b"y" * 1000


async def _hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, drips: bool) -> None:
    """Until the server ends it."""
    ended = asyncio.ensure_future(reader.read(1))
    for byte in _REQUEST if drips else b"":
        writer.write(bytes([byte]))
        done, _ = await asyncio.wait({ended}, timeout=1)
        if done:
            break
    await asyncio.wait({ended})
    ended.exception()
    writer.close()


async def main(host: str, port: int, count: int) -> None:
    connections: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    while len(connections) < count:
        some = min(_AT_ONCE, count - len(connections))
        openings = [asyncio.open_connection(host, port) for _ in range(some)]
        connections += await asyncio.gather(*openings)
    holds = [_hold(*connection, bool(n % 2)) for n, connection in enumerate(connections)]
    print("open", flush=True)
    await asyncio.gather(*holds)
    print("cut", flush=True)


if __name__ == "__main__":
    raise_file_limit()
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
