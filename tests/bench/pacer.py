"""Publishes events with ids at an even pace, from a process of its own.

Where the tabs are read, a timer of a millisecond would publish ten at once, and waiting without one
would take the core from Redis; both would be taken for the gateway's latency.
"""

import json
import select
import socket
import sys
import time

from tests.bench.stage import Envelopes, command

_PAUSE = 0.0002
"""Seconds that are slept when nothing is due: short of what the kernel makes of it anyway."""


def main() -> None:
    """What to do is read from standard input, as JSON."""
    asked = json.loads(sys.stdin.readline())
    names = [name.encode() for name, _ in asked["executions"]]
    envelopes = Envelopes([epoch.encode() for _, epoch in asked["executions"]])
    with socket.create_connection(("127.0.0.1", asked["port"])) as redis:
        begin, done = time.monotonic(), 0
        while done < asked["events"]:
            due = min(int((time.monotonic() - begin) * asked["rate"]) + 1, asked["events"])
            first = asked["first"] + done
            for number, message in enumerate(envelopes.make(first, first + due - done), first):
                channel = b"execution:" + names[number % len(names)]
                redis.sendall(command(b"PUBLISH", channel, message))
            done = due
            if select.select([redis], [], [], 0)[0]:
                redis.recv(2**16)
            time.sleep(_PAUSE)


if __name__ == "__main__":
    main()
