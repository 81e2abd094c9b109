"""What it costs to open a stream, beside a bare aiohttp handler, and to refuse one.

As after a restart: 20 events of history are replayed to each. Each stream brings its own token, but
for the last part, where one token is known.
"""

import asyncio
import logging
import subprocess
import time
import timeit
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from functools import partial
from itertools import count, repeat
from statistics import median

from gateway.access.tokens import issue
from gateway.log import Fields, JsonFormatter, TextFormatter
from tests.bench.figures import Figure
from tests.bench.processes import ROOT, python
from tests.bench.stage import ORGANIZATION, Gateway, Stage
from tests.bench.tabs import AT_ONCE, Crowd
from tests.harness.proc import cpu_seconds
from tests.support import SECRET

_EVENTS = 20
_ROUNDS = 5
"""Each is measured in turn with the others: a machine changes its speed within a minute."""


def own_tokens(
    subject: str, secret: str = SECRET, organization: str = ORGANIZATION, ttl: int = 3600
) -> Iterator[str]:
    """The headers of requests, each with a token of its own."""
    for number in count():
        token = issue(
            secret, organization_id=organization, subject=f"{subject}-{number}", ttl_seconds=ttl
        )
        yield f"Authorization: Bearer {token}\r\nX-Organization-ID: {ORGANIZATION}\r\n"


async def play(stage: Stage) -> None:
    """Streams of one execution and of 500, and the bare handler; refusals; then 12,000 streams of
    1,500 executions with a known token."""
    each = stage.size(1000, 40)
    one = await stage.executions(1, _EVENTS)
    many = await stage.executions(stage.size(500, 5), _EVENTS)
    async with stage.gateway() as gateway:
        known = gateway.crowd.headers
        async with bare(stage, await page_of(gateway, one[0])) as (crowd, cpu):
            costs: dict[str, list[float]] = {"bare": [], "one": [], "many": []}
            for number in range(_ROUNDS):
                crowd.headers = own_tokens(f"bare-{number}")
                costs["bare"].append(await opening(crowd, one, each, cpu))
                gateway.crowd.headers = own_tokens(f"one-{number}")
                cpu_of = lambda: gateway.cpu  # noqa: E731
                costs["one"].append(await opening(gateway.crowd, one, each, cpu_of))
                gateway.crowd.headers = own_tokens(f"many-{number}")
                costs["many"].append(await opening(gateway.crowd, many, each, cpu_of))
            crowd.close()
        show_openings(stage, costs)
        closing_line(stage)
        await refusals(stage, gateway, one, each)
        gateway.crowd.headers = known
        await known_token(stage, gateway)


def show_openings(stage: Stage, costs: dict[str, list[float]]) -> None:
    """The ratios of each round, of which the middle one counts."""
    to_bare = median(a / b for a, b in zip(costs["one"], costs["bare"], strict=True))
    to_one = median(a / b for a, b in zip(costs["many"], costs["one"], strict=True))
    stage.add(
        Figure("opening, a bare handler", median(costs["bare"]) * 1e6, "us"),
        Figure("opening, own token", median(costs["one"]) * 1e6, "us"),
        Figure("opening, own token / a bare handler", to_bare, "x", most=1.6),
        Figure("opening, 500 executions / one", to_one, "x", most=1.1),
    )


async def opening(
    crowd: Crowd, executions: list[str], streams: int, cpu: Callable[[], float]
) -> float:
    """CPU seconds of the server for each of *streams*."""
    begin = cpu()
    names = (executions[n % len(executions)] for n in range(streams))
    await crowd.open(names, replayed=_EVENTS)
    return (cpu() - begin) / streams


async def page_of(gateway: Gateway, execution: str) -> bytes:
    """What the gateway writes to a new stream of *execution*, without the head."""
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(gateway.crowd.request(execution))
    await reader.readuntil(b"\r\n\r\n")
    size = int(await reader.readline(), 16)
    page = await reader.readexactly(size)
    assert page.count(b"\nid: ") == _EVENTS
    writer.close()
    return page


@asynccontextmanager
async def bare(stage: Stage, page: bytes) -> AsyncIterator[tuple[Crowd, Callable[[], float]]]:
    """The bare handler on the gateway's core: its tabs, and its CPU seconds."""
    process = await asyncio.create_subprocess_exec(
        *python("-m", "tests.bench.bare", str(stage.core)),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=ROOT,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(page)
    process.stdin.close()
    port = int(await process.stdout.readline())
    try:
        yield Crowd("127.0.0.1", port, repeat("")), lambda: cpu_seconds(process.pid)
    finally:
        process.terminate()
        await process.wait()


async def refusals(stage: Stage, gateway: Gateway, one: list[str], each: int) -> None:
    """CPU of each refusal; the last one asks again for as long as a registration is waited for."""
    kinds = {
        "bad signature": (own_tokens("a", secret="x" * 40), one[0], 401),
        "expired token": (own_tokens("b", ttl=-60), one[0], 401),
        "foreign organization": (own_tokens("c", organization="another"), one[0], 403),
        "unknown execution": (own_tokens("d"), "nobody-has-this", 404),
    }
    for name, (headers, execution, status) in kinds.items():
        gateway.crowd.headers = headers
        # Those that wait for a registration wait together.
        requests = min(each, AT_ONCE) if status == 404 else each
        begin = gateway.cpu
        await refused(gateway, execution, status, requests)
        stage.add(Figure(f"refusing, {name}", (gateway.cpu - begin) / requests * 1e6, "us"))


async def refused(gateway: Gateway, execution: str, status: int, requests: int) -> None:
    """*requests* on a connection each, all of which are answered by *status*."""
    left = iter(range(requests))

    async def one_by_one() -> None:
        for _ in left:
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(gateway.crowd.request(execution))
            head = await reader.readuntil(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 %d " % status), head
            writer.close()

    await asyncio.gather(*(one_by_one() for _ in range(AT_ONCE)))


def closing_line(stage: Stage) -> None:
    """Redaction and formatting of the line in the log with which each stream ends."""
    fields = Fields(
        execution_id="bench-7c498860-0",
        organization_id=ORGANIZATION,
        reason="gone",
        events=_EVENTS,
        bytes=7494,
        seconds=1.234,
        request_id="7c49886077284a178252af1914113175",
    )
    line = logging.makeLogRecord({"msg": "%s %s", "args": ("stream ended", fields)})
    for name, formatter in (("text", TextFormatter()), ("JSON", JsonFormatter())):
        seconds = min(timeit.repeat(partial(formatter.format, line), number=2000, repeat=5)) / 2000
        stage.add(Figure(f"the line of a stream's end, {name}", seconds * 1e6, "us", most=3))


async def known_token(stage: Stage, gateway: Gateway) -> None:
    """12,000 tabs of 1,500 executions."""
    gateway.crowd.close()
    streams, executions = stage.size(12_000, 200), stage.size(1500, 20)
    names = await stage.executions(executions, _EVENTS)
    await gateway.crowd.open(names[:10], replayed=_EVENTS)
    begin, used = time.monotonic(), gateway.cpu
    await gateway.crowd.open((names[n % executions] for n in range(streams)), replayed=_EVENTS)
    seconds, cost = time.monotonic() - begin, gateway.cpu - used
    stage.add(
        Figure("opening", streams / seconds, "streams/s", least=4000),
        Figure("opening, of the gateway's core", streams / cost, "streams/CPU-s"),
    )
