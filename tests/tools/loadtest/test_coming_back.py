"""One tab against a raw server that answers as told: what ends the tab, and what does not."""

import asyncio
import socket
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import pytest

from gateway.tools.loadtest.ledger import Account, Ledger, compose
from gateway.tools.loadtest.opening import Opening
from gateway.tools.loadtest.plan import Habit, Target
from gateway.tools.loadtest.tab import Tab
from tests.support import DEADLINE, eventually

HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"
RETRY = 0.3
CONNECTED = b'retry: 300\nevent: connected\ndata: {"execution_id":"own"}\n\n'
RESET = b'event: stream:reset\ndata: {"reason":"history_lost"}\n\n'
GAP = b'event: stream:gap\ndata: {"from":"1-2","to":"1-3","missed":2}\n\n'


def events(*numbers: int, epoch: int = 1) -> bytes:
    """These of four events, as frames with ids; the last one ends the execution."""
    frames = []
    for n in numbers:
        event = compose("own", n, 4, 0)
        event_type = event.split(b'"')[3]
        frames.append(b"id: %d-%d\nevent: %b\ndata: %b\n\n" % (epoch, n, event_type, event))
    return b"".join(frames)


class Server:
    """Gives each connection the next of *answers*, then closes; keeps the requests and when."""

    def __init__(self, answers: Sequence[bytes]) -> None:
        self._answers = iter(answers)
        self.requests: list[bytes] = []
        self.moments: list[float] = []

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.requests.append(await reader.readuntil(b"\r\n\r\n"))
        self.moments.append(asyncio.get_running_loop().time())
        writer.write(next(self._answers))
        writer.close()


@asynccontextmanager
async def opened(port: int, habit: Habit = "reads") -> AsyncIterator[tuple[Tab, Account, Ledger]]:
    """A tab of the server at *port*, once it has opened or failed."""
    target = Target(
        url=f"http://127.0.0.1:{port}", publish_url="redis://x", organization="acme", token="t"
    )
    account = Account("own", 4, frozen=habit == "frozen")
    ledger, opening = Ledger([account]), Opening(target, DEADLINE)
    tab = Tab(target.request, account, ledger, opening.later, habit)
    connecting = asyncio.create_task(opening.run())
    try:
        await opening.open_all([tab], 0.0)
        yield tab, account, ledger
    finally:
        tab.give_up()
        connecting.cancel()
        await asyncio.wait([connecting])


async def play(*answers: bytes) -> tuple[Server, Account, Ledger]:
    """One tab, until it has ended or failed."""
    raw = Server(answers)
    async with (
        await asyncio.start_server(raw.serve, "127.0.0.1", 0) as server,
        opened(server.sockets[0].getsockname()[1]) as (tab, account, ledger),
    ):
        await asyncio.wait_for(asyncio.shield(tab.ended), DEADLINE)
    return raw, account, ledger


async def test_a_close_without_an_answer_is_come_back_from() -> None:
    """A connection that is closed unanswered, as by a gateway that restarts, is passing trouble to
    a tab that was open, as it is to an EventSource: it waits `retry:` and asks with its cursor."""
    server, account, ledger = await play(
        HEAD + CONNECTED + events(1, 2), b"", HEAD + CONNECTED + events(3, 4)
    )
    assert (account.problem, account.lost, account.ended) == (None, 0, True)
    assert ledger.interruptions["the connection was closed without an answer"] == 1
    assert b"Last-Event-ID" not in server.requests[0]
    assert [b"Last-Event-ID: 1-2\r\n" in request for request in server.requests[1:]] == [True] * 2
    assert all(
        b - a > 0.9 * RETRY for a, b in zip(server.moments, server.moments[1:], strict=False)
    )


@pytest.mark.parametrize("refusal", [b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n"])
async def test_a_refusal_is_the_end(refusal: bytes) -> None:
    """An answer that is no stream ends an EventSource for good, so it ends the tab."""
    server, account, _ = await play(HEAD + CONNECTED + events(1, 2), refusal)
    assert (account.problem, account.lost, len(server.requests)) == ("HTTP 503", 2, 2)


async def test_nobody_listening_is_waited_out() -> None:
    """A tab that was open honours `retry:` when it cannot connect either, and comes back."""
    raw = Server([HEAD + CONNECTED + events(1, 2)])
    server = await asyncio.start_server(raw.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with opened(port) as (tab, account, ledger):
        server.close()
        await eventually(lambda: any("no connection" in why for why in ledger.interruptions))
        back = Server([HEAD + CONNECTED + events(3, 4)])
        async with await asyncio.start_server(back.serve, "127.0.0.1", port):
            await asyncio.wait_for(asyncio.shield(tab.ended), DEADLINE)
    assert (account.problem, account.lost, account.ended) == (None, 0, True)
    assert b"Last-Event-ID: 1-2\r\n" in back.requests[0]


async def test_after_a_reset_all_events_are_expected_again() -> None:
    """After `stream:reset` the whole history comes again under other ids: nothing of it counts as a
    duplicate, and what it does not hold is lost."""
    first = HEAD + CONNECTED + events(1, 2)
    _, account, ledger = await play(first, HEAD + CONNECTED + RESET + events(1, 2, 3, 4, epoch=9))
    assert (account.lost, account.duplicated, account.misnumbered) == (0, 0, 0)
    assert (account.ended, ledger.resets) == (True, 1)
    _, account, _ = await play(first, HEAD + CONNECTED + RESET + events(3, 4, epoch=9))
    assert (account.lost, account.duplicated) == (2, 0)
    _, account, _ = await play(first, HEAD + CONNECTED + events(1, 2, 3, 4, epoch=9))
    assert account.duplicated == 2


async def test_a_gap_that_was_told_is_lost_once() -> None:
    """Events that a reader with a cursor was told of are lost; the id after them follows."""
    first = HEAD + CONNECTED + events(1)
    _, account, _ = await play(first, HEAD + CONNECTED + GAP + events(4))
    assert (account.lost, account.misnumbered) == (2, 0)
    _, account, _ = await play(first, HEAD + CONNECTED + events(4))
    assert (account.lost, account.misnumbered) == (2, 1)


MEGABYTE = b": padding\n" * 100_000
LITTLE = 64 * 1024


@pytest.mark.parametrize("habit", ["frozen", "slow", "reads"])
async def test_what_is_not_read_waits_at_the_server(habit: Habit) -> None:
    """A slow or frozen tab leaves nearly all in the server's hands, or it would put nobody to the
    test; others take what they are given."""
    writers: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        # Little room on this side, so that nearly all that was accepted lies on the other.
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        writer.write(HEAD + CONNECTED)
        writers.append(writer)

    def taken() -> int:
        return len(MEGABYTE) - writers[0].transport.get_write_buffer_size()

    async with (
        await asyncio.start_server(serve, "127.0.0.1", 0) as server,
        opened(server.sockets[0].getsockname()[1], habit),
    ):
        writers[0].write(MEGABYTE)
        if habit == "reads":
            await eventually(lambda: taken() == len(MEGABYTE))
        else:
            await settled(taken)
            assert 0 < taken() < LITTLE
        writers[0].transport.abort()


async def settled(figure: Callable[[], int]) -> None:
    """Wait until *figure* has been the same for twenty looks."""
    seen = deque([-1], maxlen=20)

    def is_settled() -> bool:
        seen.append(figure())
        return len(seen) == 20 and len(set(seen)) == 1

    await eventually(is_settled)
