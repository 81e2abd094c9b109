"""Every client in every browser, through a gateway that is stopped and one that is killed."""

import signal

from tests.browser.engines.clients import Clients
from tests.browser.engines.page import Engine
from tests.browser.engines.room import Room


async def test_each_client_sees_each_event_once_through_restarts(
    engine: Engine, react_origin: str, room: Room
) -> None:
    """They see the whole run, and none says that it is live while the gateway is away."""
    clients = Clients(await engine.new_page(), react_origin)
    for end, first in ((signal.SIGTERM, 1), (signal.SIGKILL, 3)):
        async with room.gateway() as gateway:
            if end is signal.SIGTERM:
                await clients.follow(room.url, room.swallowing)
            await clients.are("live")
            await room.publish(first)
            await clients.see(*range(1, first + 1))
            gateway.signal(end)
            await gateway.ended()
        await clients.are("reconnecting")
        await room.publish(first + 1)
    async with room.gateway():
        await clients.see(1, 2, 3, 4)
        await clients.are("live")
        await room.publish(5, ends=True)
        await clients.see(1, 2, 3, 4, 5)
        await clients.are("closed")
