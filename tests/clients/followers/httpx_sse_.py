"""httpx-sse reads one stream; its caller comes back, with the last id that it knows."""

import time

import httpx
from given import HEADERS, TYPES, URL, again, over, say
from httpx_sse import ServerSentEvent, connect_sse


def follow() -> None:
    last: ServerSentEvent | None = None
    with httpx.Client(timeout=httpx.Timeout(5, read=40)) as client:
        while True:
            headers = {**HEADERS, **({"Last-Event-ID": last.id} if last else {})}
            try:
                with connect_sse(client, "GET", URL, headers=headers) as source:
                    for event in source.iter_sse():
                        if event.id:
                            last = event
                        if event.event in TYPES:
                            say(event.data)
            except httpx.TransportError:
                pass
            if last is not None and last.event == "execution:completed":
                return
            again()
            time.sleep(1)


follow()
over("program")
