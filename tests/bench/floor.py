"""The floor: a program that does nothing but `send()` the same bytes to the same number of sockets.

No server can deliver for less, in this language on this machine, without fewer system calls.
Usage: python floor.py SOCKETS ROUNDS ROUNDS_PER_SECOND BYTES [CORE]; prints its port, then, when
all have connected and all rounds are over, its CPU seconds per send.
"""

import os
import socket
import sys
import time


def main() -> None:
    sockets, rounds, rate, size = (
        int(sys.argv[1]),
        int(sys.argv[2]),
        float(sys.argv[3]),
        int(sys.argv[4]),
    )
    listener = socket.create_server(("127.0.0.1", 0), backlog=4096)
    print(listener.getsockname()[1], flush=True)
    accepted = []
    for _ in range(sockets):
        connection, _ = listener.accept()
        connection.setblocking(False)
        accepted.append(connection)
    data = b"x" * size
    time.sleep(0.5)
    begin, used = time.monotonic(), time.process_time()
    for number in range(rounds):
        for connection in accepted:
            connection.send(data)
        time.sleep(max(0.0, begin + (number + 1) / rate - time.monotonic()))
    print((time.process_time() - used) / (rounds * sockets), flush=True)


if __name__ == "__main__":
    if len(sys.argv) > 5:
        os.sched_setaffinity(0, {int(sys.argv[5])})
    main()
