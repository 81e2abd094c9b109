"""Large histories, asked for by each way of reading, by one who may read them."""

from collections.abc import Awaitable, Callable
from typing import Any

from tests.prices.row import MIB, Attack, Row
from tests.prices.stage import Stage

FEW = (17, 940_000)
"""Events and bytes of each: as large as an event may be, as many as a history holds."""
MANY = (990, 16_000)
"""The same number of bytes in as many events as a history holds."""

_OPENS = "max_opens_per_second, history_max_bytes"
_POLLS = "poll_bytes, max_polls_per_second"

Kept = tuple[int, int]


def streams(kept: Kept, cursor: Callable[[int], str] = lambda _: "") -> Attack:
    """Open a stream of the history, with a cursor by the number of the opening, and leave once the
    first bytes have come."""

    async def attack(stage: Stage, size: int, times: int) -> None:
        execution_id = await stage.history(*kept)
        headers = stage.headers()

        async def one(number: int) -> object:
            last = f"Last-Event-ID: {found}\r\n" if (found := cursor(number)) else ""
            return await stage.ask(stream(execution_id, headers + last))

        await stage.each(times, one)

    return attack


def read_through(kept: Kept) -> Attack:
    """Read the whole history from a stream."""

    async def attack(stage: Stage, size: int, times: int) -> None:
        execution_id = await stage.history(*kept)
        data = stream(execution_id, stage.headers())
        # A little less than there is: the oldest may have been trimmed.
        most = kept[0] * kept[1] * 0.9
        await stage.each(times, lambda _: stage.read_all(data, most))

    return attack


def polls(kept: Kept, query: str = "", header: str = "", whole: bool = True) -> Attack:
    """Poll the history; *whole*: and read the answer to its end."""

    async def attack(stage: Stage, size: int, times: int) -> None:
        execution_id = await stage.history(*kept)
        data = poll(execution_id, stage.headers() + header, query)
        read: Callable[[str], Awaitable[object]] = stage.read_all if whole else stage.ask
        await stage.each(times, lambda _: read(data))

    return attack


async def _many(stage: Stage, size: int, times: int) -> None:
    """Poll many executions, none of them twice."""
    headers = stage.headers()
    ids = [await stage.register(stage.fresh("polled")) for _ in range(times)]
    await stage.each(times, lambda number: stage.read_all(poll(ids[number], headers)))


async def _moving(stage: Stage, size: int, times: int) -> None:
    """Poll a history that has moved since the last poll."""
    execution_id = await stage.history(*MANY)
    headers = stage.headers()
    for _ in range(times):
        await stage.append(execution_id)
        await stage.read_all(poll(execution_id, headers))


async def _tags(stage: Stage, size: int, times: int) -> None:
    """Poll with as many entity tags as a header holds."""
    execution_id = await stage.history(*FEW)
    lines = "If-None-Match: " + 'W/"1-1.2-1..",' * (size // 14) + 'W/"x"\r\n'
    data = poll(execution_id, stage.headers() + lines)
    await stage.each(times, lambda _: stage.read_all(data))


async def _left_at_once(stage: Stage, size: int, times: int) -> None:
    """Open a stream and leave before it has answered."""
    execution_id = await stage.history(*FEW)
    data = stream(execution_id, stage.headers())

    async def one(_number: int) -> None:
        connection = await stage.connect()
        connection.send(data)
        await connection.closed()

    await stage.each(times, one)


def stream(execution_id: str, headers: str) -> str:
    return f"GET /api/v1/sse/executions/{execution_id}/stream HTTP/1.1\r\nHost: x\r\n{headers}\r\n"


def poll(execution_id: str, headers: str, query: str = "", method: str = "GET") -> str:
    return (
        f"{method} /api/v1/workflows/-/runs/{execution_id}{query} HTTP/1.1\r\nHost: x\r\n"
        f"Connection: close\r\n{headers}\r\n"
    )


async def _heads(stage: Stage, size: int, times: int) -> None:
    execution_id = await stage.history(*FEW)
    data = poll(execution_id, stage.headers(), "?include_logs=true", "HEAD")
    await stage.each(times, lambda _: stage.read_all(data))


def deep(_number: int) -> str:
    return "9" * 19 + "-1"


async def written(stage: Stage, _size: int, _times: int) -> None:
    """Write the histories that the rows ask for."""
    await stage.history(*FEW)
    await stage.history(*MANY)


_TAIL = 20 * MIB
"""What may be kept of a history for those who open its streams next."""


def _row(name: str, attack: Attack, bound_by: str, **bounds: Any) -> Row:
    return Row(name, attack, bound_by, prepare=written, **{"keeps": _TAIL, **bounds})


ROWS = [
    _row("streams of few large events, left after the first bytes", streams(FEW), _OPENS,
         times=15, cpu=0.05),
    _row("streams of few large events, read through", read_through(FEW), _OPENS, times=4, cpu=0.3),
    _row("streams of many events, left after the first bytes", streams(MANY), _OPENS,
         times=15, cpu=0.05),
    _row("streams of many events, read through", read_through(MANY), _OPENS, times=4, cpu=0.3),
    _row("streams with invented cursors, each of its own", streams(FEW, lambda n: f"{n + 5}-{n}"),
         _OPENS, times=15, cpu=0.05),
    _row("streams with cursors that nobody was given, each of its own",
         streams(MANY, lambda n: f"1-{n}"), _OPENS,
         times=15, cpu=0.05),
    _row("streams with the largest cursor", streams(FEW, deep), _OPENS, times=15, cpu=0.05),
    _row("streams left before they are answered", _left_at_once, _OPENS, times=30, cpu=0.05),
    _row("polls of few large events", polls(FEW), _POLLS, times=8, cpu=0.2),
    _row("polls of many events", polls(MANY), _POLLS, times=8, cpu=0.2),
    _row("polls of a history that moves", _moving, _POLLS, times=4, cpu=0.3),
    _row("polls with logs of few large events", polls(FEW, "?include_logs=true"), _POLLS,
         times=4, cpu=0.3, peak=128 * MIB),
    _row("polls with logs of many events", polls(MANY, "?include_logs=true"), _POLLS,
         times=4, cpu=0.3, peak=128 * MIB),
    _row("polls with logs after an invented cursor", polls(MANY, "?include_logs=true&after=5-1"),
         _POLLS, times=4, cpu=0.3, peak=128 * MIB),
    _row("polls with many entity tags", _tags, _POLLS, size=3900, times=8, cpu=0.2),
    _row("polls by HEAD", _heads, _POLLS, times=4, cpu=0.3, peak=128 * MIB),
    _row("polls of many executions", _many, _POLLS, times=30, cpu=0.01),
    Row("polls through nginx", polls(MANY), _POLLS, times=8, cpu=0.2, prepare=written,
        through_nginx=True),
]  # fmt: skip
