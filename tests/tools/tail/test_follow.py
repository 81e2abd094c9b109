"""How long following from a terminal waits, and for what, at a server that answers as told."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from gateway.tools.tail import stream as streams
from gateway.tools.tail.follow import Connected, Follower, Happened
from gateway.tools.tail.stream import Ended, Lost, Waiting
from tests.support import served

CONNECTED = b'retry: 10\nevent: connected\ndata: {"heartbeat_seconds": 0.5}\n\n'
HEARTBEAT = b"event: heartbeat\ndata: {}\n\n"
END = b'id: 1-1\nevent: execution:completed\ndata: {"type": "execution:completed"}\n\n'

Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]


CLOSING = b'id: 7-1\nevent: stream:closing\ndata: {"reason": "unavailable"}\n\n'


@asynccontextmanager
async def answering(*answers: Answer, give_up_after: float = 60) -> AsyncIterator[Follower]:
    """A follower at a server that gives these answers, the last one again and again."""
    left = list(answers)

    async def answer(request: web.Request) -> web.StreamResponse:
        return await (left.pop(0) if len(left) > 1 else left[0])(request)

    application = web.Application()
    application.router.add_get("/{path:.*}", answer)
    async with served(application) as url:
        yield Follower(url, dict, execution_id="run-1", give_up_after=give_up_after)


def stream(*pieces: bytes | float) -> Answer:
    """An event stream of these pieces; a number is a pause in seconds."""

    async def answer(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
        await response.prepare(request)
        for piece in pieces:
            await (response.write(piece) if isinstance(piece, bytes) else asyncio.sleep(piece))
        return response

    return answer


async def refused(request: web.Request) -> web.Response:
    return web.json_response({"message": "Too many."}, status=429, headers={"Retry-After": "40"})


async def swallowed(request: web.Request) -> web.Response:
    await asyncio.sleep(3600)
    return web.Response()


async def test_silence_is_no_absence() -> None:
    """A stream in which nothing happens for longer than it is sought, but heartbeats, may end and
    is looked for again."""
    silent = stream(CONNECTED, *(0.2, HEARTBEAT) * 8)
    async with answering(silent, stream(CONNECTED, END), give_up_after=1.0) as follower:
        updates = [type(update) async for update in follower.follow()]
    assert updates == [Connected, Waiting, Connected, Happened, Ended]


async def test_the_gateways_frames_are_no_events() -> None:
    """An answer that is one `stream:closing` with the reader's own id, as nginx gives it, is no
    event of the execution; an id without an event is the position at the next request."""
    sent = []

    async def second(request: web.Request) -> web.StreamResponse:
        sent.append(request.headers.get("Last-Event-ID"))
        return await stream(CONNECTED, END)(request)

    async with answering(stream(CONNECTED, b"id: 7-2\n\n", CLOSING), second) as follower:
        updates = [type(update) async for update in follower.follow()]
    assert updates == [Connected, Waiting, Connected, Happened, Ended]
    assert sent == ["7-2"]


async def test_mute_counts_as_lost() -> None:
    """Where nothing connects for so long it is lost, also when streams are opened and closed."""
    async with answering(stream(HEARTBEAT, 0.1), give_up_after=0.5) as follower:
        with pytest.raises(Lost, match=r"No stream for 0\.5 s"):
            assert {type(update) async for update in follower.follow()} == {Waiting}


async def test_swallowed(monkeypatch: pytest.MonkeyPatch) -> None:
    """A request that is taken and never answered is given up, and made again."""
    monkeypatch.setattr(streams, "CONNECTED_WITHIN", 0.3)
    async with answering(swallowed, stream(CONNECTED, END)) as follower:
        updates = [type(update) async for update in follower.follow()]
    assert updates == [Waiting, Connected, Happened, Ended]


@pytest.mark.parametrize(
    ("answer", "least"), [(refused, 40), (stream(b"retry: 30000\ndata: {}\n\n"), 30)]
)
async def test_no_sooner_than_asked(answer: Answer, least: float) -> None:
    """It waits at least as long as the gateway asks, by `retry:` or by `Retry-After`."""
    async with answering(answer) as follower:
        async for update in follower.follow():
            if isinstance(update, Waiting):
                assert least <= update.seconds <= 2 * least
                break


async def test_retry_after_is_for_once() -> None:
    """`Retry-After` asks for one wait, and not for all that follow."""

    async def soon(request: web.Request) -> web.Response:
        return web.json_response({}, status=503, headers={"Retry-After": "1"})

    async def lost(request: web.Request) -> web.Response:
        return web.json_response({}, status=502)

    waits: list[float] = []
    async with answering(stream(CONNECTED), soon, lost) as follower:
        async for update in follower.follow():
            if isinstance(update, Waiting):
                waits.append(update.seconds)
            if len(waits) == 3:
                break
    assert waits[1] >= 1
    assert waits[2] < 1
