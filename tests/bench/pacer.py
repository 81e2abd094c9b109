"""Publishes events with ids at an even pace, from a process of its own.

Where the tabs are read, a timer of a millisecond would publish ten at once, and waiting without one
would take the core from Redis; both would be taken for the gateway's latency.
"""

import json
import select
import socket
import sys
import time

from gateway.contract.keys import PublishTo, channels_of
from gateway.contract.scripts import PUBLISH, HistoryLimits, publish_call
from tests.bench.messages import Envelopes, command, message

_PAUSE = 0.0002
"""Seconds that are slept when nothing is due: short of what the kernel makes of it anyway."""


def script(name: bytes, number: int, to: PublishTo, *, in_cluster: bool) -> bytes:
    """An event as `Publisher` appends and publishes it."""
    call = publish_call(
        name.decode(),
        message(),
        **channels_of(to, "execution:", name.decode(), in_cluster=in_cluster)._asdict(),
        terminal_type="",
        idempotency_key=str(number),
        limits=HistoryLimits(),
    )
    words = [call.script.sha, len(call.keys), *call.keys, *call.arguments]
    given = [one if isinstance(one, bytes) else str(one).encode() for one in words]
    return command(b"EVALSHA", *given)


def main() -> None:
    """What to do is read from standard input, as JSON."""
    asked = json.loads(sys.stdin.readline())
    names = [name.encode() for name, _ in asked["executions"]]
    envelopes = Envelopes([epoch.encode() for _, epoch in asked["executions"]])
    with socket.create_connection(("127.0.0.1", asked["port"])) as redis:
        redis.sendall(command(b"SCRIPT", b"LOAD", PUBLISH.text.encode()))
        begin, done = time.monotonic(), 0
        while done < asked["events"]:
            due = min(int((time.monotonic() - begin) * asked["rate"]) + 1, asked["events"])
            first = asked["first"] + done
            for number, published in enumerate(envelopes.make(first, first + due - done), first):
                name = names[number % len(names)]
                redis.sendall(
                    script(name, number, asked["to"], in_cluster=asked["in_cluster"])
                    if asked.get("script")
                    else command(b"PUBLISH", b"execution:" + name, published)
                )
            done = due
            if select.select([redis], [], [], 0)[0]:
                redis.recv(2**16)
            time.sleep(_PAUSE)
        # Closed with answers unread, it would lose what Redis has not come to yet.
        redis.shutdown(socket.SHUT_WR)
        while redis.recv(2**16):
            pass


if __name__ == "__main__":
    main()
