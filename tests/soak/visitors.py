"""Clients that do not just watch: they poll, use tickets, are refused, revoked, or open too much.

A visit that ends early because a gateway or Redis is away at that moment is one of those that are
`interrupted`; any other answer than the one that is due fails the soak.
"""

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

import aiohttp

from gateway.bus.revocations import revoke
from tests.conftest import credentials
from tests.harness.sse import Seen, SseReader
from tests.soak.plan import STREAMS_PER_SUBJECT
from tests.soak.stage import ORGANIZATION, SoakStage, wait_for
from tests.support import DEADLINE

_AWAY = ("drain", "unavailable")
"""Reasons of `stream:closing` that the faults of the stage may give any stream."""


class Interrupted(Exception):
    """The gateway or Redis is away, by a fault of the soak."""


@dataclass
class Visit:
    """One visit of one visitor to one gateway."""

    stage: SoakStage
    session: aiohttp.ClientSession
    who: str
    """Nobody else has this name."""
    execution_id: str
    url: str
    admin_url: str
    open: list[aiohttp.ClientResponse] = field(default_factory=list)

    def stream_url(self, execution_id: str | None = None) -> str:
        return f"{self.url}/api/v1/sse/executions/{execution_id or self.execution_id}/stream"

    async def answer(
        self, method: str, url: str, *expected: int, headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        """The answer to a request, whose status is one of *expected*.

        Raises:
            Interrupted: nobody can answer now.
        """
        response = await self.session.request(method, url, headers=headers)
        self.open.append(response)
        if response.status == 503:
            raise Interrupted
        assert response.status in expected, f"{method} {url}: HTTP {response.status}"
        return response

    async def stream(self, headers: dict[str, str], query: str = "") -> SseReader:
        """An open stream, which has shown `connected`.

        Raises:
            Interrupted: it could not be opened now.
        """
        accept = {"Accept": "text/event-stream"}
        url = self.stream_url() + query
        reader = SseReader(await self.answer("GET", url, 200, headers=headers | accept))
        first = await reader.next()
        assert first is not None, "a stream without an event"
        if first.event != "connected":
            assert _is_away(first), first
            raise Interrupted
        return reader

    async def ends(self, reader: SseReader, reason: str) -> None:
        """Wait until a stream ends, which it must do for *reason*.

        Raises:
            Interrupted: it has ended for another reason, which the stage has given it.
        """
        try:
            async with asyncio.timeout(DEADLINE):
                last = (await reader.rest())[-1]
        except TimeoutError:
            raise AssertionError(f"a stream that should end for {reason} goes on") from None
        if last.event != "stream:closing" or _is_away(last):
            raise Interrupted
        assert last.json()["reason"] == reason, last


def _is_away(seen: Seen) -> bool:
    return seen.event == "stream:closing" and seen.json()["reason"] in _AWAY


async def poll(visit: Visit) -> None:
    """A run is asked for, then asked for again with what was got."""
    url = f"{visit.url}/api/v1/workflows/-/runs/{visit.execution_id}?include_logs=true"
    headers = credentials(subject=f"poller-{visit.who}")
    answer = await visit.answer("GET", url, 200, headers=headers)
    assert (await answer.json())["id"] == visit.execution_id
    tagged = headers | {"If-None-Match": answer.headers["ETag"]}
    await visit.answer("GET", url, 200, 304, headers=tagged)


async def ticket(visit: Visit) -> None:
    """A ticket opens one stream, and no second one."""
    url = f"{visit.url}/api/v1/sse/executions/{visit.execution_id}/ticket"
    headers = credentials(subject=f"ticket-{visit.who}")
    # A ticket is not kept through a failover, and spent if the answer is lost.
    async with visit.stage.redis_lock:
        given = (await (await visit.answer("POST", url, 200, headers=headers)).json())["ticket"]
        await visit.stream({}, f"?ticket={given}")
        await visit.answer("GET", f"{visit.stream_url()}?ticket={given}", 401, headers={})


async def refused(visit: Visit) -> None:
    """Requests that nothing can come of."""
    known, url = credentials(subject=f"refused-{visit.who}"), visit.stream_url()
    stranger = credentials("strangers", subject=f"stranger-{visit.who}")
    elsewhere = known | {"X-Organization-ID": "strangers"}
    for method, to, expected, headers in (
        ("GET", url, 401, {"X-Organization-ID": ORGANIZATION}),
        ("GET", url, 401, known | {"Authorization": "Bearer no.token.atall"}),
        ("GET", url, 403, elsewhere),
        ("GET", url, 404, stranger),
        ("GET", visit.stream_url("of-nobody"), 404, known),
        ("GET", visit.stream_url("no!id"), 400, known),
        ("HEAD", url, 405, known),
    ):
        await visit.answer(method, to, expected, headers=headers)


async def revoked(visit: Visit) -> None:
    """A subject is revoked while its stream is open."""
    subject = f"leaver-{visit.who}"
    reader = await visit.stream(credentials(subject=subject))
    async with visit.stage.redis_lock:
        await revoke(visit.stage.redis, "subject", subject, 60)
    await visit.ends(reader, "revoked")


async def expiring(visit: Visit) -> None:
    """A token expires while its stream is open."""
    brief = credentials(subject=f"brief-{visit.who}", ttl_seconds=2)
    await visit.ends(await visit.stream(brief), "token_expired")


async def greedy(visit: Visit) -> None:
    """A subject opens as many streams as it may, which must always be as many, and one more."""
    subject = f"greedy-{visit.who}"
    headers = credentials(subject=subject)
    for _ in range(STREAMS_PER_SUBJECT):
        await visit.stream(headers)
    await visit.answer("GET", visit.stream_url(), 200, 429, headers=headers)
    mine = await visit.answer(
        "GET", f"{visit.admin_url}/streams?subject={subject}", 200, headers={}
    )
    assert (await mine.json())["matching"] <= STREAMS_PER_SUBJECT, "one stream too many"


KINDS: tuple[Callable[[Visit], Awaitable[None]], ...] = (
    poll, poll, ticket, refused, revoked, expiring, greedy
)  # fmt: skip


async def visitor(stage: SoakStage, name: str) -> None:
    """Visit after visit, until the round is over."""
    for number in itertools.count(stage.chance.randrange(len(KINDS))):
        await wait_for(stage.round_is_over, stage.chance.uniform(0.05, 0.5))
        if stage.round_is_over.is_set():
            return
        if stage.executions:
            await _visit(stage, f"{name}-{number}", KINDS[number % len(KINDS)])


async def _visit(stage: SoakStage, who: str, kind: Callable[[Visit], Awaitable[None]]) -> None:
    gateway = stage.chance.choice(stage.gateways)
    execution = stage.chance.choice(stage.executions)
    url = f"http://127.0.0.1:{gateway.port}"
    timeout = aiohttp.ClientTimeout(total=None, sock_read=DEADLINE)
    async with aiohttp.ClientSession(timeout=timeout) as session:
        visit = Visit(stage, session, who, execution.id, url, gateway.admin_url)
        try:
            await kind(visit)
        except (Interrupted, aiohttp.ClientError):
            stage.counted["visits interrupted"] += 1
        else:
            stage.counted[f"visit: {kind.__name__}"] += 1
        finally:
            for response in visit.open:
                response.close()
