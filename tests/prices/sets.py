"""Streams of several executions: invented ids, cursors of any kind, long lines, large histories."""

from collections.abc import Callable

import orjson

from gateway.events.ids import EventId
from gateway.events.set_cursor import MOST_EXECUTIONS, digest_of, entry, join
from tests.prices.row import MIB, Attack, Row
from tests.prices.stage import Stage
from tests.sets.support import path

_OPENS = "max_opens_per_second, MOST_EXECUTIONS in gateway/events/set_cursor.py"
_LINE = "MOST_LINE_BYTES in gateway/http/set_request.py"
_BODY = "BODY_BYTES in gateway/http/screen.py"
_HISTORIES = "max_opens_per_second, queue_bytes, history_max_bytes"

_LARGE = (2, 125_000)
"""Events and bytes of each history of a set."""


def request(ids: list[str], headers: str) -> str:
    return f"GET {path(ids)} HTTP/1.1\r\nHost: x\r\n{headers}\r\n"


async def _invented(stage: Stage, size: int, times: int) -> None:
    """Fifty ids that nobody has registered, others each time."""

    async def one(_number: int) -> None:
        ids = [stage.fresh("invented") for _ in range(MOST_EXECUTIONS)]
        await stage.ask(request(ids, stage.headers()))

    await stage.each(times, one)


def cursors(filler: Callable[[int], str]) -> Attack:
    """Open a set of one of the attacker's executions with a cursor of so many bytes, and leave."""

    async def attack(stage: Stage, size: int, times: int) -> None:
        execution_id = await stage.history(*_LARGE)
        last = f"Last-Event-ID: {filler(size)}\r\n"
        await stage.each(
            times, lambda _: stage.ask(request([execution_id], stage.headers() + last))
        )

    return attack


def forged(size: int) -> str:
    """A cursor of as many positions as its size allows, all of the same execution."""
    one = entry(digest_of("history-1"), EventId(2**48 - 1, 2**32 - 1))
    return join([one] * (size // len(one))).decode()


async def _long_lines(stage: Stage, size: int, times: int) -> None:
    ids = [f"{number:0100}" for number in range(size // 114)]
    data = request(ids, stage.headers())
    await stage.each(times, lambda _: stage.ask(data))


def tickets(where: str, body: Callable[[int], bytes]) -> Attack:
    async def attack(stage: Stage, size: int, times: int) -> None:
        data = body(size)
        head = f"POST {where} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(data)}\r\n"
        await stage.each(times, lambda _: stage.ask(f"{head}{stage.headers()}\r\n".encode() + data))

    return attack


def _named(size: int) -> bytes:
    return orjson.dumps({"execution_ids": [f"{number:0100}" for number in range(size // 104)]})


async def _large(stage: Stage, _size: int, _times: int) -> None:
    """Write fifty histories, once."""
    if not stage.of_a_set:
        stage.of_a_set += [await stage.another_history(*_LARGE) for _ in range(MOST_EXECUTIONS)]


def large(whole: bool) -> Attack:
    """Open a set of fifty histories, and read all of it or leave at once."""

    async def attack(stage: Stage, size: int, times: int) -> None:
        most = MOST_EXECUTIONS * _LARGE[0] * _LARGE[1] * 0.9

        async def one(_number: int) -> None:
            data = request(stage.of_a_set, stage.headers())
            await (stage.read_all(data, most) if whole else stage.ask(data))

        await stage.each(times, one)

    return attack


_SET_TICKET = "/api/v1/sse/executions/ticket"
_LIST_TICKET = "/api/v1/sse/organizations/mallory-inc/executions/ticket"

ROWS = [
    Row("sets of fifty invented ids", _invented, _OPENS, times=5, cpu=0.15),
    Row("sets with cursors of z", cursors(lambda size: "s1" + "z" * size), _OPENS, size=3900,
        times=15, cpu=0.03, keeps=20 * MIB),
    Row("sets with forged cursors", cursors(forged), _OPENS, size=3900, times=15, cpu=0.03,
        keeps=20 * MIB),
    Row("sets by long lines", _long_lines, _LINE, size=7000, times=20),
    Row("tickets of sets, with bodies of many ids", tickets(_SET_TICKET, _named), _BODY,
        size=3900, times=10, cpu=0.1),
    Row("tickets of lists", tickets(_LIST_TICKET, lambda _: b""), "max_tickets_per_second",
        times=20),
    Row("sets of fifty histories, read through", large(True), _HISTORIES, times=2, cpu=1.0,
        keeps=20 * MIB, prepare=_large),
    Row("sets of fifty histories, left after the first bytes", large(False), _HISTORIES,
        times=4, cpu=0.3, keeps=20 * MIB, prepare=_large),
]  # fmt: skip
