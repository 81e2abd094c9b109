"""sseclient-py reads one response of requests; its caller comes back with the last id."""

import time

import requests
from given import HEADERS, TYPES, URL, again, over, say
from sseclient import Event, SSEClient


def follow() -> None:
    last: Event | None = None
    while True:
        headers = {**HEADERS, **({"Last-Event-ID": last.id} if last else {})}
        try:
            with requests.get(URL, headers=headers, stream=True, timeout=(5, 40)) as response:
                response.raise_for_status()
                for event in SSEClient(response).events():
                    if event.id:
                        last = event
                    if event.event in TYPES:
                        say(event.data)
        except requests.RequestException:
            pass
        if last is not None and last.event == "execution:completed":
            return
        again()
        time.sleep(1)


follow()
over("program")
