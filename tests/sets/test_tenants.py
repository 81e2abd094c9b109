"""No event crosses from one organization to another by a set, in whatever way it is asked for."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any, Literal

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from gateway.bus.registry import register
from gateway.events.ids import parse_id
from gateway.events.set_cursor import digest_of, entry, join
from tests.access.test_tenants import Token
from tests.conftest import RunningGateway, StartGateway
from tests.harness.history import append, ids
from tests.harness.sse import Seen, SseReader
from tests.sets.support import PATH
from tests.support import eventually

_number = count()
MOST = 5


@dataclass(frozen=True)
class Request:
    """Who asks for which executions, as which organization, and how."""

    token: Token
    organization: str
    asked: tuple[int, ...]
    how: Literal["header", "query", "ticket"]
    cursor_of: tuple[int, ...]
    """Executions whose first event this reader claims to have seen."""


# Few, so that many a request may see something.
organization = st.sampled_from(("acme", "acme,globex"))
token = st.builds(
    Token,
    st.one_of(organization, st.lists(organization, max_size=2).map(tuple)),
    st.sampled_from([True] * 7 + [False]),
    st.sampled_from([False] * 7 + [True]),
)
requests = st.builds(
    Request,
    token,
    organization,
    st.lists(st.integers(0, MOST - 1), min_size=1, max_size=7).map(tuple),
    st.sampled_from(("header", "query", "ticket")),
    st.lists(st.integers(0, MOST - 1), max_size=3).map(tuple),
)


class Tenants:
    """Executions with their owners, and requests for sets of them, all at once."""

    def __init__(self, gateway: RunningGateway, redis: Redis, owners: Sequence[str | None]) -> None:
        self._gateway = gateway
        self._redis = redis
        self._owners = owners
        run = next(_number)
        self._ids = [f"sets-{run}-{number}" for number in range(MOST)]

    async def play(self, requests: Sequence[Request]) -> None:
        for name, owner in zip(self._ids, self._owners, strict=True):
            if owner is not None:
                await register(self._redis, name, owner)
            for event_type in ("step:started", "step:completed", "execution:completed"):
                await append(self._redis, name, event_type, owner=owner)
        await asyncio.gather(*map(self._check, requests))

    async def _check(self, request: Request) -> None:
        asked = dict.fromkeys(request.asked)
        seen_ones = [one for one in asked if self._owners[one] == request.organization]
        expected = 200 if seen_ones else 404
        if not request.token.covers(request.organization):
            expected = 403
        if not request.token.genuine or request.token.expired:
            expected = 401
        status, seen = await self._ask(request, [self._ids[one] for one in asked])
        assert status == expected, request
        if status != 200:
            return
        for one in asked:
            shown = [
                event
                for event in seen
                if event.event != "connected" and event.json()["execution_id"] == self._ids[one]
            ]
            if one not in seen_ones:
                assert [event.event for event in shown] == ["stream:absent"], request
                continue
            events = [event.json()["data"]["owner"] for event in shown if event.id is not None]
            first = 1 if one in request.cursor_of else 0
            assert events == [request.organization] * (3 - first), request
            assert shown[-1].event == "stream:ended"

    async def _ask(self, request: Request, names: list[str]) -> tuple[int, list[Seen]]:
        bearer = f"Bearer {request.token.encode()}"
        given = {"Authorization": bearer, "X-Organization-ID": request.organization}
        query: list[tuple[str, Any]] = [("execution_id", one) for one in names]
        headers = {}
        if request.how == "query":
            query += [("Authorization", bearer), ("organization_id", request.organization)]
        elif request.how == "header":
            headers = given
        else:
            url = f"{self._gateway.url}/api/v1/sse/executions/ticket"
            async with self._gateway.session.post(
                url, headers=given, json={"execution_ids": names}
            ) as response:
                if response.status != 200:
                    return response.status, []
                query = [("ticket", (await response.json())["ticket"])]
        if request.cursor_of:
            query.append(("last_event_id", await self._cursor(request.cursor_of)))
        async with self._gateway.session.get(
            self._gateway.url + PATH, params=query, headers=headers
        ) as response:
            if response.status != 200:
                return response.status, []
            return 200, await SseReader(response).rest()

    async def _cursor(self, of: Sequence[int]) -> str:
        """One that claims to have seen the first event of each."""
        entries = []
        for one in of:
            first = parse_id((await ids(self._redis, self._ids[one]))[0])
            assert first is not None
            entries.append(entry(digest_of(self._ids[one]), first))
        return join(entries).decode()


@given(
    owners=st.lists(st.none() | organization, min_size=MOST, max_size=MOST),
    asking=st.lists(requests, min_size=1, max_size=8),
)
@settings(
    deadline=None,
    max_examples=12,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
async def test_no_event_reaches_another_organization(
    start_gateway: StartGateway,
    redis: Redis,
    owners: list[str | None],
    asking: list[Request],
) -> None:
    """Every request gets the status of the model, and of each execution all or that it is absent;
    a cursor opens nothing."""
    gateway = await start_gateway(ownership_wait_seconds=0.5)
    await Tenants(gateway, redis, owners).play(asking)
    await eventually(lambda: len(gateway.components.hub) == 0)
