"""The floor: a program that does nothing but `send()` the same bytes to the same number of sockets.

No server can deliver for less, in this language on this machine, without fewer system calls.
Usage: python floor.py SOCKETS ROUNDS ROUNDS_PER_SECOND BYTES CORE [uvloop]; prints its port, then,
when all have connected and all rounds are over, its CPU seconds per send. With `uvloop` it is the
`write` of that loop's transports, which is what any server on it pays.
"""

import asyncio
import os
import socket
import sys
import time
from typing import cast

import uvloop


def plain(sockets: int, rounds: int, rate: float, data: bytes) -> None:
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    accepted = []
    for _ in range(sockets):
        connection, _ = listener.accept()
        connection.setblocking(False)
        accepted.append(connection)
    time.sleep(0.5)
    begin, used = time.monotonic(), time.process_time()
    for number in range(rounds):
        for connection in accepted:
            connection.send(data)
        time.sleep(max(0.0, begin + (number + 1) / rate - time.monotonic()))
    print((time.process_time() - used) / (rounds * sockets), flush=True)


async def transports(sockets: int, rounds: int, rate: float, data: bytes) -> None:
    accepted: list[asyncio.Transport] = []
    all_are_there = asyncio.Event()

    class Accepted(asyncio.Protocol):
        def connection_made(self, transport: asyncio.BaseTransport) -> None:
            # uvloop's transports are no subclass of it.
            accepted.append(cast(asyncio.Transport, transport))
            accepted[-1].set_write_buffer_limits(high=0)
            if len(accepted) == sockets:
                all_are_there.set()

    loop = asyncio.get_running_loop()
    server = await loop.create_server(Accepted, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await all_are_there.wait()
    await asyncio.sleep(0.5)
    begin, used = time.monotonic(), time.process_time()
    for number in range(rounds):
        for transport in accepted:
            transport.write(data)
        await asyncio.sleep(max(0.0, begin + (number + 1) / rate - time.monotonic()))
    print((time.process_time() - used) / (rounds * sockets), flush=True)


def main() -> None:
    sockets, rounds, rate, size, core = sys.argv[1:6]
    os.sched_setaffinity(0, {int(core)})
    asked = int(sockets), int(rounds), float(rate), b"x" * int(size)
    if sys.argv[6:] == ["uvloop"]:
        uvloop.run(transports(*asked))
    else:
        plain(*asked)


if __name__ == "__main__":
    main()
