"""Every client in every browser, away from the gateway as people and networks are."""

import asyncio
import re
import signal
from pathlib import Path

import pytest

from tests.browser.engines.clients import NAMES, Clients
from tests.browser.engines.page import Engine
from tests.browser.engines.room import Room
from tests.browser.test_sidecar import behind_nginx
from tests.support import eventually

pytestmark = [pytest.mark.long, pytest.mark.timeout(180)]

TABS = 20


async def follow(engine: Engine, origin: str, room: Room, *, name: str) -> Clients:
    """A page whose clients have seen the event 1."""
    clients = Clients(await engine.new_page(), origin)
    await clients.follow(room.url, room.swallowing)
    await room.publish(1)
    await clients.see(1)
    await clients.are("live")
    await clients.keep(f"{engine.name}-{name}")
    return clients


async def ends(room: Room, clients: Clients, last: int) -> None:
    """The executions end with the event *last*, and each client has seen each event once."""
    await room.publish(last, ends=True)
    await clients.see(*range(1, last + 1))
    await clients.are("closed")


async def test_nine_seconds_without_a_gateway(
    engine: Engine, react_origin: str, room: Room
) -> None:
    async with room.gateway() as gateway:
        clients = await follow(engine, react_origin, room, name="before-nine-seconds")
        gateway.signal(signal.SIGKILL)
        await gateway.ended()
    await clients.are("reconnecting")
    await room.publish(2)
    # Long enough for several tries, which are all refused.
    await asyncio.sleep(9)
    await clients.see(1)
    await clients.keep(f"{engine.name}-after-nine-seconds")
    async with room.gateway():
        await clients.see(1, 2)
        await clients.are("live")
        await ends(room, clients, 3)


async def test_a_page_that_is_loaded_again_sees_all_of_it_again_once(
    engine: Engine, react_origin: str, room: Room
) -> None:
    async with room.gateway():
        clients = await follow(engine, react_origin, room, name="before-reload")
        await clients.page.reload()
        await clients.run(room.url, room.swallowing)
        await clients.see(1)
        await clients.are("live")
        await ends(room, clients, 2)


async def test_a_page_that_somebody_comes_back_to_goes_on(
    engine: Engine, react_origin: str, room: Room
) -> None:
    """Whether the browser has kept the page as it was or loads it again."""
    async with room.gateway():
        clients = await follow(engine, react_origin, room, name="before-back")
        await clients.page.goto(f"{react_origin}/?elsewhere")
        await room.publish(2)
        await engine.go_back(clients.page)
        ready = "location.search === '' && 'show' in window"
        await eventually(lambda: clients.page.evaluate(ready))
        if not await clients.page.evaluate("'look' in window"):
            await clients.run(room.url, room.swallowing)
        await clients.see(1, 2)
        await clients.are("live")
        await clients.keep(f"{engine.name}-after-back")
        await ends(room, clients, 3)


async def test_a_hidden_page_sees_each_event_and_is_live_when_it_is_shown(
    engine: Engine, react_origin: str, room: Room
) -> None:
    clients = Clients(await engine.hidden_page(), react_origin)
    async with room.gateway() as gateway:
        await clients.follow(room.url, room.swallowing)
        await room.publish(1)
        await clients.see(1)
        gateway.signal(signal.SIGKILL)
        await gateway.ended()
    await room.publish(2)
    async with room.gateway():
        await clients.see(1, 2)
        assert await clients.page.evaluate("wasHidden") == [True]
        await engine.bring_to_front(clients.page)
        await eventually(lambda: clients.page.evaluate("!document.hidden"))
        await clients.are("live")
        await ends(room, clients, 3)


async def test_a_page_without_a_network_says_so_and_goes_on_when_it_is_back(
    engine: Engine, react_origin: str, room: Room
) -> None:
    async with room.gateway():
        clients = await follow(engine, react_origin, room, name="online")
        room.network.switch(None)
        await engine.set_offline(clients.page, True)
        await clients.are("reconnecting")
        await room.publish(2)
        await clients.keep(f"{engine.name}-offline")
        room.network.switch(room.port)
        await engine.set_offline(clients.page, False)
        await clients.see(1, 2)
        await clients.are("live")
        await ends(room, clients, 3)


async def test_a_gateway_that_is_killed_behind_nginx_is_noticed_over_http2(
    engine: Engine, react_origin: str, room: Room, tmp_path: Path
) -> None:
    """By the silence, where the browser says nothing: WebKitGTK 2.50 keeps an EventSource open
    whose stream HTTP/2 has reset."""
    clients = Clients(await engine.new_page(), react_origin, "native", "fetch")
    async with behind_nginx(tmp_path / "nginx", room.url, react_origin) as nginx:
        async with room.gateway() as gateway:
            await clients.follow(nginx.url, room.swallowing)
            await room.publish(1)
            await clients.see(1)
            gateway.signal(signal.SIGKILL)
            await gateway.ended()
        await room.publish(2)
        async with room.gateway():
            await clients.see(1, 2)
            await ends(room, clients, 3)


async def test_twenty_tabs_over_http2(
    engine: Engine, react_origin: str, room: Room, tmp_path: Path
) -> None:
    """Behind nginx and through a restart, four with each client; most of the tabs are hidden."""
    tabs = [
        Clients(await engine.new_page(), react_origin, NAMES[number % len(NAMES)])
        for number in range(TABS)
    ]
    async with behind_nginx(tmp_path / "nginx", room.url, react_origin) as nginx:
        async with room.gateway() as gateway:
            for clients in tabs:
                await clients.follow(nginx.url, room.swallowing)
            await room.publish(1)
            for clients in tabs:
                await clients.see(1)
                await clients.are("live")
            gateway.signal(signal.SIGTERM)
            await gateway.ended()
        await room.publish(2)
        async with room.gateway():
            for clients in tabs:
                await clients.see(1, 2)
                await clients.are("live")
            await room.publish(3, ends=True)
            for clients in tabs:
                await clients.see(1, 2, 3)
                await clients.are("closed")
        # Before and after the restart: of each native tab, and the package's one of all tabs.
        native = TABS // len(NAMES)
        for name, streams in (("native", native), ("fetch", 1), ("event-source", 1), ("react", 1)):
            opened = re.findall(rf'run-{name}/stream\S* HTTP/2.0" 200', nginx.logged())
            assert len(opened) >= 2 * streams, name
        assert "eyJ" not in nginx.logged()


async def test_nine_tabs_over_http1(engine: Engine, react_origin: str, room: Room) -> None:
    """A browser opens six connections: the tabs share a stream, also when the first one, whose
    stream it was, goes away."""
    tabs = [Clients(await engine.new_page(), react_origin, "fetch") for _ in range(9)]
    async with room.gateway():
        for clients in tabs:
            await clients.follow(room.url, room.swallowing)
        await room.publish(1)
        for clients in tabs:
            await clients.see(1)
            await clients.are("live")
        await tabs[0].page.goto(f"{react_origin}/?elsewhere")
        await room.publish(2)
        for clients in tabs[1:]:
            await clients.see(1, 2)
            await clients.are("live")
        await room.publish(3, ends=True)
        for clients in tabs[1:]:
            await clients.see(1, 2, 3)
            await clients.are("closed")
